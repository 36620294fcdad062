"""A running study: the parts that its stages share."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from autoopt.config import Tree
from autoopt.goal import Goal
from autoopt.points import plug
from autoopt.recipe import Recipe
from autoopt.space import Space
from autoopt.strategy import Strategy
from autoopt.study.budget import Budget
from autoopt.study.folder import Folder
from autoopt.study.journal import Journal
from autoopt.study.runner import Runner


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
    """The strategy that a config names, for a space and a goal."""
    return plug(tree, "strategy", space=space, goal=goal, epochs=tree["study"]["epochs"])
