"""An executor that plays scripts instead of training, and what else a study needs around it."""

import hashlib
import json
from collections import deque
from dataclasses import replace
from functools import cache
from math import inf
from pathlib import Path

from autoopt.config import compose
from autoopt.executor import Event, Executor
from autoopt.goal import Goal, Objective
from autoopt.orders import Outcome, Problem, Train
from autoopt.records.folder import Folder
from autoopt.records.journal import Journal
from autoopt.records.record import Record
from autoopt.records.stages import SEARCH
from autoopt.space import Space
from autoopt.store import Store
from autoopt.study.budget import Budget
from autoopt.study.explore import explore
from autoopt.study.interrupts import Interrupts
from autoopt.study.runner import Runner
from autoopt.study.study import Study

ACCURACY = Objective("val_accuracy", "maximize")
LOSS = Objective("val_loss", "minimize")
AGAIN = "again"
SPACE = ("data=digits", "optimizer=adamw,sgd", "schedule=constant,cosine", "regularizer=l1,gradient_clip", "augmentation=none")
PLAIN = ("initializer=keep", "loss=cross_entropy", "device=cpu", "tracking.enabled=false")
FACTS = {
    "examples": "0", "sources": {}, "absent": {}, "objective": None, "notes": [], "told": [], "test": True, "lightning": False,
    "batch_size": None, "chance": {},
}  # fmt: skip


class Fails(Exception):
    """Ends a script as a failed trial."""

    def __init__(self, reason, detail="", slot="", name="", unavailable=False):
        super().__init__(reason)
        self.problem = Problem(reason, detail, slot, name, unavailable)


class Killed(Exception):
    """The supervisor dies here."""


def outcome(stopped=False, **metrics):
    return Outcome(metrics, epochs=1, stopped=stopped)


class Scripted(Executor):
    """Runs each order as the generator that `play(order)` makes: it yields reports, is sent the answers, returns an outcome.

    Where it yields AGAIN, its template has died and the trial starts once more.

    Every turn takes the oldest trials a step on, and is a second on the clock; at a rung a trial waits for the answer to its
    report. `on_turn(turn)` is called before each one, and may raise.
    """

    facts = FACTS

    def __init__(self, play, path, workers=1, on_turn=lambda turn: None, facts=FACTS):
        self.play, self.store, self.workers, self.on_turn, self.facts = play, Store(path), workers, on_turn, facts
        self.scripts, self.epochs, self.answers, self.rungs, self.orders = {}, {}, {}, {}, []
        self.news, self.unanswered, self.turns, self.most, self.closed = deque(), set(), 0, 0, False

    def submit(self, number, order):
        assert number not in self.scripts
        self.scripts[number], self.epochs[number], self.answers[number] = self.play(order), 0, None
        self.rungs[number] = order.rungs
        self.orders.append(order)
        self.news.append(Event(number, "started", {"pid": number}))
        self.most = max(self.most, len(self.scripts))

    def events(self, timeout=0.2):
        self.turns += 1
        self.on_turn(self.turns)
        assert not self.unanswered, f"reports without an answer: {self.unanswered}"
        for number in list(self.scripts):
            self.step(number)
        while self.news:
            yield self.news.popleft()

    def step(self, number):
        try:
            report = self.scripts[number].send(self.answers[number])
        except StopIteration as end:
            self.end(number, Event(number, "finished", json.loads(json.dumps(end.value.json()))))
        except Fails as failure:
            self.end(number, Event(number, "failed", failure.problem.json()))
        else:
            self.answers[number] = None
            if report == AGAIN:
                self.epochs[number] = 0
                self.news.append(Event(number, "started", {"pid": number}))
            else:
                self.epochs[number] += 1
                if self.epochs[number] in self.rungs[number]:
                    self.unanswered.add(number)
                self.news.append(Event(number, "report", {"epoch": self.epochs[number], "metrics": report}))

    def end(self, number, event):
        del self.scripts[number]
        self.news.append(event)

    def reply(self, number, stop):
        self.unanswered.remove(number)  # KeyError: answered twice
        self.answers[number] = stop

    def kill(self, number, reason="user"):
        self.end(number, Event(number, "failed", Problem(reason, "ended by the supervisor").json()))

    def now(self):
        return float(self.turns)

    def close(self):
        self.scripts.clear()
        self.closed = True

    @property
    def keys(self):
        """Of the orders, in their order."""
        return [order.key for order in self.orders]


class Quiet:
    """A screen that remembers what it was told."""

    goal = clock = None

    def __init__(self):
        self.lines, self.results, self.stages, self.counts = [], [], [], []

    def earlier(self, records):
        self.before = [record.key for record in records]

    def say(self, text):
        self.lines.append(str(text))

    def stage(self, stage, total, done):
        self.stages.append((stage.name, total, done))

    def running(self, count):
        self.counts.append(count)

    def result(self, result):
        self.results.append(result)


def runner(path, play, workers=1, objective=ACCURACY, on_turn=lambda turn: None):
    executor, screen = Scripted(play, path, workers, on_turn), Quiet()
    goal = None if objective is None else Goal((objective,))
    return Runner(executor, screen, Interrupts(lambda: "`autoopt finish s` concludes", screen.say), executor.now, goal)


@cache
def composed(*overrides):
    """Composing takes long; nobody changes a tree."""
    return compose(overrides)


def space(*overrides):
    return Space.of(composed(*SPACE, *PLAIN, *overrides))


def studied(path, play, *overrides, workers=1, objective=ACCURACY, on_turn=lambda turn: None, part="test", **changes):
    """A study by script in the folder `path`, with its journal open.

    Args:
        changes: of the study's fields; `time`: of its budget in seconds.
    """
    tree = {**composed(*SPACE, *PLAIN, *overrides), "root": str(path.parent), "name": path.name}
    folder, whole = Folder(tree), Space.of(tree)
    goal = Goal((objective,))
    run = runner(path, play, workers, objective, on_turn)
    journal = Journal(path / "journal.log", path.name, objective.direction)
    limit, spent = changes.pop("time", inf), changes.pop("spent", 0.0)
    budget = Budget(limit, run.executor.now, 0.0, spent, bool(whole.options["compression"]), asking=True)
    made = Study(
        tree, folder, replace(run, elapsed=lambda: budget.elapsed), journal, budget, whole, goal, None, FACTS, part, part == "test"
    )
    return replace(made, **changes)


def closed(study):
    """Let go of a study's files."""
    study.journal.close()
    study.folder.close()


def learn(order):
    """Trains for three epochs to a score that the recipe and the seed decide."""
    tree = order.recipe.tree
    digest = hashlib.sha256(json.dumps([dict(tree), order.seed], sort_keys=True).encode()).digest()
    final = round(0.5 + 0.3 * ("adamw" in tree["optimizer"]) + digest[0] / 1280, 4)
    for epoch in range(3):
        value = round(final * (epoch + 1) / 3, 4)
        if (yield {"val_accuracy": value}):
            return outcome(stopped=True, val_accuracy=value)
    return outcome(val_accuracy=final)


def searched(path, play=learn, *more, trials=25, seed=0, workers=1, on_turn=lambda turn: None, **changes):
    """Explore in the folder `path`, and the stage's trials as `rows` has them."""
    study = studied(
        path, play, f"study.trials={trials}", f"seed={seed}", "study.epochs=3", *more, workers=workers, on_turn=on_turn, **changes
    )
    try:
        explore(study)
    finally:
        closed(study)
    return rows(path)


def rows(path):
    """Of each trial: number, parameters, state, and what its record says but how long it took."""
    journal = Journal(path / "journal.log", path.name, write=False)
    untimed = {"seconds": 0, "elapsed": 0}
    return [(t.number, t.params, t.state.name, {**t.user_attrs.get("autoopt", {}), **untimed}) for t in journal.trials(SEARCH)]


@cache
def baseline():
    """The recipe of trials that need no other."""
    return space().baseline()


def record(key, score=None, state="complete", stage=SEARCH, recipe=None, **fields):
    """A record of a trial of the baseline's recipe, unless it has another one."""
    blank = {"metrics": {}, "curves": {}, "resamples": [], "units": 0, "epochs": 0, "seconds": 0.0, "elapsed": 0.0}
    return Record(key, stage.name, dict((recipe or baseline()).tree), 0, state, score, **{**blank, **fields})


def trained(key, recipe=None):
    """An order for a whole training."""
    return Train(key=key, recipe=recipe or baseline())


def stems(paths):
    return sorted(Path(path).parent.name for path in paths)
