"""A study before its trials: its folder is locked, its executor has loaded the data and the techniques, and its space is settled."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from autoopt.config import FROM, Tree, asked_for, broken_of_all
from autoopt.errors import BadInput
from autoopt.executor import Executor
from autoopt.executor.resources import Limits
from autoopt.goal import Goal, Objective
from autoopt.points import plug
from autoopt.recipe import Recipe
from autoopt.records.folder import Folder
from autoopt.records.settled import Settled, recall
from autoopt.space import Space
from autoopt.store import Store
from autoopt.study.baseline import own_baseline, untouched
from autoopt.study.compress import compress_goal
from autoopt.study.interrupts import Interrupts
from autoopt.study.preflight import preflight, rehearse
from autoopt.study.runner import Runner, Screen
from autoopt.study.study import strategy_of
from autoopt.tracking import store_uri


@dataclass(frozen=True)
class Warm:
    """A study's locked folder and its executor, which has loaded the data and the techniques.

    Args:
        baseline: the recipe of `baseline=FILE`, or a LightningModule as it is written; `None` where it is the space's own.
        runner: without a goal.
        start: when this session began, in seconds on the executor's clock.
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
        """The config's space without the techniques that ask for something absent here."""
        return Space.of(self.tree).around(self.facts["batch_size"]).fitting(self.facts["absent"])

    def begin(self) -> Settled:
        """Read the settled space and goal of the study, or settle them by a preflight of every technique and write them down.

        Raises:
            BadInput: nothing can be searched with this config.
        """
        space = self.space
        check_strategy(self.tree, space)
        locked = self.folder.locked
        settled = recall(space, locked) if locked else preflight(space, self.runner, self.advised, self.baseline)
        announce(settled, self.tree, self.facts, self.runner.screen)
        self.runner.screen.say(f"baseline: {baseline_words(self, settled.space)}")
        self.folder.settle(settled, self.facts)
        return settled

    def begin_training(self) -> Settled:
        """Settle the space and goal of one training: only the baseline is tried.

        Raises:
            BadInput: the baseline cannot be trained.
        """
        settled = rehearse(self.space, self.runner, self.advised)
        if settled.untested:
            self.runner.screen.say(f"the test split cannot be measured: {settled.untested}")
        self.folder.settle(settled, self.facts)
        return settled


def check_strategy(tree: Tree, space: Space) -> None:
    """Build the strategy for what it is to search, the trainings and then their compressions: only their goal is not known yet.

    Raises:
        BadInput: it cannot search them.
    """
    goal = Goal((Objective("val_loss", "minimize"),))
    strategy_of(tree, space.without_compression(), goal)
    if space.options["compression"]:
        strategy_of(tree, space.compressing(next(iter(space.options["model"]))), compress_goal(goal))


@contextmanager
def warm(tree: Tree, screen: Screen, executor: Executor | None = None, left: str | None = None, searched: bool = True) -> Iterator[Warm]:
    """Lock the study's folder and warm up the executor; both are released at the end.

    Args:
        executor: where the trials run; else the one that the config names.
        left: what the command leaves if it is interrupted; `None`: a search, whose running trials then finish.
        searched: the folder is for a search, and not for a single training.

    Raises:
        BadInput: the folder is in use or holds another study, or the data or a technique cannot be used.
        Interrupted: a signal came.
    """
    baseline = own_baseline(tree)  # bad settings are reported before anything starts
    if tree["tracking"]["enabled"]:
        store_uri(tree["tracking"]["uri"])
    folder = Folder(tree, searched)
    interrupts = Interrupts(folder.ways_on if left is None else lambda: left, screen.say, patient=left is None)
    with interrupts.counted():
        try:
            screen.say(f"{folder.name}: warming up (log: {folder.path / 'template.log'})")
            try:
                executor = executor or engine(tree, folder)
                screen.clock, start = executor.now, executor.now()
                facts = executor.facts
            except BadInput:  # the message is complete, so the log is not needed
                folder.vanish()
                raise
            for line in facts["told"]:
                screen.say(line)
            for note in facts["notes"]:
                screen.say(f"data: {note}")
            folder.same_data(facts["examples"])
            tell_changed_code(folder, facts, screen)
            if baseline is None and facts["lightning"]:
                baseline = untouched(tree, facts["absent"])
            retries, keeps_rungs = tree["executor"]["retries"], tree["executor"]["keep"] == "rung"
            runner = Runner(executor, screen, interrupts, executor.now, retries=retries, keeps_rungs=keeps_rungs)
            yield Warm(tree, folder, runner, facts, baseline, start)
        finally:
            try:
                if executor is not None:
                    executor.close()
            finally:
                folder.close()


def engine(tree: Tree, folder: Folder) -> Executor:
    """The executor that the config names."""
    return plug(tree, "executor", setup={"tree": tree}, store=Store(folder.path), limits=Limits.of(tree))


def tell_changed_code(folder: Folder, facts: dict[str, Any], screen: Screen) -> None:
    if changed := folder.changed_code(facts["sources"]):
        words = f"{', '.join(changed)}: its file has changed since {folder.name} was begun"
        screen.say(f"{words}; trials before and after may not be comparable; name= begins another study")


def announce(settled: Settled, tree: Tree, facts: dict[str, Any], screen: Screen) -> None:
    """Print the objective, the part that the verdict compares on, and the techniques that were named but left out, or are broken."""
    first, space = settled.goal.first, settled.space
    several = ", ".join(f"{objective.direction} {objective.name}" for objective in settled.goal.objectives)
    screen.say(f"objective{'s' if len(settled.goal.objectives) > 1 else ''}: {several}")
    if settled.untested:
        screen.say(f"the test split cannot be measured: {settled.untested}")
    if settled.part == "training":
        screen.say(f"{first.name} is measured while training: the verdict compares trainings on fresh seeds")
    elif settled.part == "validation":
        missing = "" if settled.untested else f"the test split {f'does not measure {first.name}' if facts['test'] else 'is missing'}: "
        screen.say(f"{missing}the verdict compares on the validation split, which also chooses the winner")
    for line in broken_of_all(tree):
        screen.say(f"left out: {line}; autoopt doctor tells all that is broken")
    for key in space.dropped:
        if key not in space.broken and asked_for(tree, key):
            screen.say(f"left out: {key}: {space.dropped[key]}")
    for key in sorted(space.broken):
        slot, _, name = key.partition("/")
        path = tree[slot].get(name, {}).get(FROM)
        screen.say(f"quarantined: {key}: {space.dropped[key]}{f'; autoopt plugins check {path} tells more' if path else ''}")


def baseline_words(ready: Warm, space: Space) -> str:
    """What trial 0 trains, in a few words."""
    if ready.tree["baseline"] is not None:
        return f"the recipe in {ready.tree['baseline']}"
    recipe = ready.baseline or space.without_compression().baseline()
    model = next(iter(recipe.tree["model"]))
    own = "".join(f", trainer.{name}={value}" for name, value in recipe.trainer.items())
    if "own" in ready.facts["absent"].get("optimizer", {}):
        own += f", with {recipe.title()}"
    return f"{model} as it is written{own}" if ready.facts["lightning"] else f"{model}, {recipe.title()}"
