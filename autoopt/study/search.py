"""A search from its config to its verdict: warm up, settle the space, and go through the stages."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from math import inf
from typing import Any

from autoopt.config import Tree, compose, seconds
from autoopt.errors import BadInput
from autoopt.executor import Executor
from autoopt.executor.resources import Limits
from autoopt.points import plug
from autoopt.recipe import Recipe
from autoopt.space import Space
from autoopt.store import Store
from autoopt.study.budget import Budget
from autoopt.study.compress import compress
from autoopt.study.confirm import planned, share_of
from autoopt.study.decide import decide
from autoopt.study.explore import explore
from autoopt.study.folder import Folder
from autoopt.study.journal import Journal
from autoopt.study.mirror import listener
from autoopt.study.preflight import preflight, rehearse
from autoopt.study.publish import publish
from autoopt.study.runner import Interrupts, Runner, Screen
from autoopt.study.settled import Settled, recall
from autoopt.study.stages import SEARCH, STORED
from autoopt.study.study import Study
from autoopt.study.verdict import Verdict
from autoopt.tracking import store_uri


@dataclass(frozen=True)
class Warm:
    """A study's locked folder and its executor, which has loaded the data and the techniques.

    Args:
        baseline: the recipe of `baseline=FILE`, if any.
        runner: without a goal.
        start: on the executor's clock.
    """

    tree: Tree
    folder: Folder
    runner: Runner
    facts: dict[str, Any]
    baseline: Recipe | None
    start: float

    @property
    def advised(self) -> Tree:
        """The config with the objective that the data call for, where it names none."""
        return {**self.tree, "objective": self.tree["objective"] or self.facts["objective"]}

    @property
    def space(self) -> Space:
        """What can be offered of the config's space."""
        return Space.of(self.tree).around(self.facts["batch_size"]).fitting(self.facts["absent"])

    def begin(self) -> Settled:
        """Recall what is settled, or settle it by a preflight of every technique, and write it down.

        Raises:
            BadInput: nothing can be searched this way.
        """
        space = self.space
        locked = self.folder.locked
        settled = recall(space, locked) if locked else preflight(space, self.runner, self.advised, self.baseline)
        announce(settled, self.facts, self.runner.screen)
        self.folder.settle(settled, self.facts)
        return settled

    def begin_training(self) -> Settled:
        """The same for one training: the baseline alone is tried.

        Raises:
            BadInput: it cannot be trained.
        """
        settled = rehearse(self.space, self.runner, self.advised, self.baseline)
        self.folder.settle(settled, self.facts)
        return settled


@contextmanager
def warm(tree: Tree, screen: Screen, executor: Executor | None = None) -> Iterator[Warm]:
    """Lock the study's folder and warm up the executor; both are let go at the end.

    Args:
        executor: where the trials run; else the one that the config names.

    Raises:
        BadInput: the folder is in use or holds another study, or the data or a technique cannot be used.
    """
    baseline = own_baseline(tree)  # bad settings are told before anything starts
    if tree["tracking"]["enabled"]:
        store_uri(tree["tracking"]["uri"])
    folder = Folder(tree)
    try:
        screen.say(f"{folder.name}: warming up (log: {folder.path / 'template.log'})")
        try:
            executor = executor or engine(tree, folder)
            screen.clock, start = executor.now, executor.now()
            facts = executor.facts
        except BadInput:  # told in whole; its log says no more
            folder.vanish()
            raise
        for note in facts["notes"]:
            screen.say(f"data: {note}")
        folder.same_data(facts["examples"])
        tell_changed_code(folder, facts, screen)
        interrupts = Interrupts(folder.reference, screen.say)
        with interrupts.counted():
            yield Warm(tree, folder, Runner(executor, screen, interrupts), facts, baseline, start)
    finally:
        if executor is not None:
            executor.close()
        folder.close()


def engine(tree: Tree, folder: Folder) -> Executor:
    """The executor that the config names."""
    return plug(tree, "executor", setup={"tree": tree}, store=Store(folder.path), limits=Limits.of(tree))


def tell_changed_code(folder: Folder, facts: dict[str, Any], screen: Screen) -> None:
    if changed := folder.changed_code(facts["sources"]):
        words = f"{', '.join(changed)}: its file has changed since {folder.name} was begun"
        screen.say(f"{words}; trials before and after may not compare, and name= begins another study")


def announce(settled: Settled, facts: dict[str, Any], screen: Screen) -> None:
    """What is optimised, what the verdict will compare, and which techniques were left out or are broken."""
    first, space = settled.goal.first, settled.space
    screen.say(f"objective: {first.direction} {first.name}")
    if settled.part == "training":
        screen.say(f"{first.name} is measured while training: the verdict compares trainings on fresh seeds")
    elif settled.part == "validation":
        missing = f"does not tell {first.name}" if facts["test"] else "is missing"
        screen.say(f"the test part {missing}: the verdict compares on the validation part, which also chooses the winner")
    if dropped := [key for key in space.dropped if key not in space.broken]:
        screen.say(f"left out: {', '.join(dropped)} (autoopt plan says why)")
    for key in sorted(space.broken):
        screen.say(f"quarantined: {key}: {space.dropped[key]}")


def own_baseline(tree: Tree) -> Recipe | None:
    """The recipe that `baseline=FILE` names, on the study's own data, split and epochs."""
    if tree["baseline"] is None:
        return None
    space = Space.of(compose([], tree["baseline"]))
    if domains := space.domains():
        raise BadInput(f"baseline={tree['baseline']}: a recipe leaves nothing to choose, but {domains[0].path} is open")
    study = Space.of(tree).baseline()
    return space.baseline().replace(**{key: study.tree[key] for key in ("data", "split", "study")})


@contextmanager
def open_study(warm: Warm, settled: Settled, asking: bool = True) -> Iterator[Study]:
    """The study with its journal, its clock and its mirror; the journal is closed and MLflow written at the end."""
    folder, screen, first = warm.folder, warm.runner.screen, settled.goal.first
    journal = Journal(folder.path / "journal.log", folder.name, first.direction)
    behind = 0
    try:
        budget = budget_of(warm, settled, journal, asking)
        mirror = listener(warm.tree, folder, settled.goal, journal, warm.facts)
        screen.goal = settled.goal
        runner = replace(warm.runner, goal=settled.goal, listener=mirror, elapsed=lambda: budget.elapsed)
        try:
            yield Study(warm.tree, folder, runner, journal, budget, settled.space, settled.goal, warm.baseline, warm.facts, settled.part)
        finally:
            behind = mirror.close()
    finally:
        journal.close()
        if behind:
            log = folder.path / "tracking.log"
            screen.say(f"MLflow lacks {behind} records so far; the next run of this command writes them (log: {log})")


def budget_of(warm: Warm, settled: Settled, journal: Journal, asking: bool) -> Budget:
    spent = max((r.elapsed for stage in STORED for r in journal.records(stage)), default=0.0)
    return Budget(
        limit=seconds(warm.tree["study"]["time"]) or inf,
        clock=warm.runner.executor.now,
        start=warm.start,
        spent=spent,
        compressing=bool(settled.space.options["compression"]),
        asking=asking,
    )


def search(tree: Tree, screen: Screen, executor: Executor | None = None, asking: bool = True) -> Verdict:
    """Run the study, or what is left of it, to its verdict.

    Args:
        executor: where the trials run; else the one that the config names.
        asking: ask for new trials; else conclude with those that there are.

    Raises:
        BadInput: nothing can be searched this way; nothing was started.
        NotConcluded: it ran, but there is nothing to conclude from; what was trained is kept.
        Interrupted: a signal came; the same call goes on.
    """
    with warm(tree, screen, executor) as ready, open_study(ready, ready.begin(), asking) as study:
        explore(study)
        compress(study, top=most_confirmed(study))
        verdict = decide(study)
        publish(study, verdict)
        return verdict


def most_confirmed(study: Study) -> int:
    """How many trials may be confirmed, if there is time for all."""
    seeds, trials = study.settings["seeds"], len(study.journal.records(SEARCH))
    return planned(share_of(trials, seeds), seeds, study.settings["confirm"]).candidates
