"""An executor that plays scripts instead of training, and what else a study needs around it."""

import hashlib
import json
from collections import deque
from functools import cache
from types import SimpleNamespace

from autoopt.config import compose
from autoopt.executor import Event
from autoopt.space import Space
from autoopt.study.explore import explore
from autoopt.study.journal import Journal
from autoopt.study.objective import Objective
from autoopt.study.runner import Nobody, Runner

ACCURACY = Objective("val_accuracy", "maximize")
AGAIN = "again"
LOSS = Objective("val_loss", "minimize")
SPACE = ("data=digits", "optimizer=adamw,sgd", "schedule=constant,cosine", "regularizer=l1,gradient_clip", "augmentation=none")
PLAIN = ("initializer=keep", "loss=cross_entropy", "device=cpu")


class Fails(Exception):
    """Ends a script as a failed trial."""

    def __init__(self, reason, detail=""):
        super().__init__(reason)
        self.data = {"reason": reason, "detail": detail}


class Killed(Exception):
    """The supervisor dies here."""


def outcome(stopped=False, **metrics):
    return {"metrics": metrics, "stopped": stopped, "epochs": 1, "seconds": 0.0, "resamples": []}


class Scripted:
    """Runs each job as the generator that `play(job)` makes: it yields reports, is sent the answers, returns an outcome.

    Where it yields AGAIN, its template has died and the trial starts once more.

    Every turn takes the oldest trials a step on; at a rung a trial waits for the answer to its report. `on_turn(turn)` is
    called before each one, and may raise.
    """

    def __init__(self, play, on_turn=lambda turn: None):
        self.play, self.on_turn = play, on_turn
        self.scripts, self.epochs, self.answers, self.rungs, self.jobs = {}, {}, {}, {}, []
        self.news, self.unanswered, self.turns, self.most = deque(), set(), 0, 0
        self.workers = 1

    @property
    def running(self):
        return self.scripts.keys()

    def submit(self, number, job):
        assert number not in self.scripts
        self.scripts[number], self.epochs[number], self.answers[number] = self.play(job), 0, None
        self.rungs[number] = job.get("rungs", ())
        self.jobs.append(job)
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
            said = self.scripts[number].send(self.answers[number])
        except StopIteration as end:
            self.end(number, Event(number, "finished", end.value))
        except Fails as failure:
            self.end(number, Event(number, "failed", failure.data))
        else:
            self.answers[number] = None
            if said == AGAIN:
                self.epochs[number] = 0
                self.news.append(Event(number, "started", {"pid": number}))
            else:
                self.epochs[number] += 1
                if self.epochs[number] in self.rungs[number]:
                    self.unanswered.add(number)
                self.news.append(Event(number, "report", {"epoch": self.epochs[number], "metrics": said}))

    def end(self, number, event):
        del self.scripts[number]
        self.news.append(event)

    def reply(self, number, stop):
        self.unanswered.remove(number)  # KeyError: answered twice
        self.answers[number] = stop

    def now(self):
        return float(self.turns)

    def close(self):
        self.scripts.clear()


class Quiet:
    """A screen that remembers what it was told."""

    objective = None

    def __init__(self):
        self.said, self.results, self.stages = [], [], []

    def earlier(self, records):
        pass

    def say(self, text):
        self.said.append(str(text))

    def stage(self, name, total, done):
        self.stages.append((name, total, done))

    def running(self, count):
        pass

    def result(self, result):
        self.results.append(result)


def runner(path, play, workers=1, objective=ACCURACY, on_turn=lambda turn: None):
    shelf = SimpleNamespace(
        name="s",
        words="s",
        path=path,
        trial=lambda key: path / "trials" / key,
        weights=lambda key: path / "trials" / key / "model.safetensors",
        forget=lambda key: [kept.unlink() for kept in (path / "trials" / key).glob("model*.safetensors")],
    )
    return Runner(Scripted(play, on_turn), shelf, Quiet(), Nobody(), workers, objective)


@cache
def composed(*overrides):
    """Composing takes long; nobody changes a tree."""
    return compose(overrides)


def space(*overrides):
    return Space(composed(*SPACE, *PLAIN, *overrides))


def learn(job):
    """Trains for three epochs to a score that the recipe and the seed decide."""
    tree = job["recipe"]
    digest = hashlib.sha256(json.dumps([tree, job["seed"]], sort_keys=True).encode()).digest()
    final = round(0.5 + 0.3 * ("adamw" in tree["optimizer"]) + digest[0] / 1280, 4)
    for epoch in range(3):
        value = round(final * (epoch + 1) / 3, 4)
        if (yield {"val_accuracy": value}):
            return outcome(stopped=True, val_accuracy=value)
    return outcome(val_accuracy=final)


def searched(path, play=learn, *, trials=25, seed=0, workers=1, on_turn=lambda turn: None, until=float("inf"), baseline=None):
    """Explore, and the stage's trials: number, parameters, seed, state and score."""
    journal = Journal(path, "s")
    run = runner(path.parent, play, workers, on_turn=on_turn)
    try:
        explore(run, journal, space(f"study.trials={trials}", "study.epochs=3"), ACCURACY, baseline, seed, until, True)
    finally:
        journal.close()
    return told(path)


def told(path):
    """Of each trial: number, parameters, state, and what its record says but how long it took."""
    journal = Journal(path, "s", write=False)
    trials = journal.stage("search").get_trials(deepcopy=False)
    rows = [(t.number, t.params, t.state.name, {**t.user_attrs.get("autoopt", {}), "seconds": 0}) for t in trials]
    return rows
