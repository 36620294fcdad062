"""A running study: the parts that its stages share."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from autoopt.config import Tree, plugged
from autoopt.goal import Goal
from autoopt.points import faults_named, plug
from autoopt.recipe import Recipe
from autoopt.records.folder import Folder
from autoopt.records.journal import Journal
from autoopt.space import Space, Walkable, traced
from autoopt.strategy import Observation, Strategy
from autoopt.study.budget import Budget
from autoopt.study.runner import Runner
from autoopt.technique import Technique


@dataclass(frozen=True)
class Study:
    """A study whose space and goal are settled.

    Args:
        tree: the composed config.
        baseline: the recipe of trial 0, where it is not the space's own.
        facts: the executor's facts about the data and the models.
        part: the part on which the verdict compares winner and baseline: test, training or validation.
        tests: there is a test part that can be measured.
    """

    tree: Tree
    folder: Folder
    runner: Runner
    journal: Journal
    budget: Budget
    space: Space
    goal: Goal
    baseline: Recipe | None
    facts: Mapping[str, Any]
    part: str
    tests: bool

    @property
    def settings(self) -> Mapping[str, Any]:
        """The node `study` of the config."""
        return self.tree["study"]

    @property
    def seed(self) -> int:
        return int(self.tree["seed"])

    def strategy(self, space: Any, goal: Goal) -> Strategy:
        """The strategy that the config names, for a space and a goal."""
        return strategy_of(self.tree, space, goal)


def strategy_of(tree: Tree, space: Any, goal: Goal) -> Strategy:
    """The strategy that a config names, for a space and a goal; what it raises names it.

    Raises:
        BadInput: it cannot be used.
    """
    strategy = plug(tree, "strategy", space=space, goal=goal, epochs=tree["study"]["epochs"])
    return Named(strategy, plugged(tree, "strategy")[0], space)


class Named(Strategy):
    """Another's strategy: its exceptions, and values outside of their domains, are told as its own faults.

    The trials so far stay in the journal, and the same command goes on from them.
    """

    def __init__(self, strategy: Strategy, technique: Technique, space: Walkable):
        self.strategy, self.space, self.faults = strategy, space, partial(faults_named, "strategy", technique)
        self.rungs, self.promotes = strategy.rungs, strategy.promotes

    def propose(self, history: Sequence[Observation], number: int, seed: int) -> Mapping[str, Any] | None:
        with self.faults():
            values = self.strategy.propose(history, number, seed)
            if values is not None:
                traced(self.space, lambda domain: domain.accept(values.get(domain.path, domain.default)))
        return values

    def stop(self, history: Sequence[Observation], number: int, epoch: int) -> bool:
        with self.faults():
            return self.strategy.stop(history, number, epoch)

    def promote(self, history: Sequence[Observation], kept: Collection[int]) -> int | None:
        with self.faults():
            return self.strategy.promote(history, kept)

    def ranking(self, history: Sequence[Observation]) -> Sequence[int]:
        with self.faults():
            return self.strategy.ranking(history)
