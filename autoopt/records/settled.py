"""The space and the goal that are settled before trial 0 and never change."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from autoopt.goal import Bound, Goal, Objective
from autoopt.space import Space


@dataclass(frozen=True)
class Settled:
    """What a study searches, and how it is judged.

    Args:
        space: of the techniques that work here.
        part: on which the verdict compares: test, training or validation.
        untested: why the test part cannot be measured.
    """

    space: Space
    goal: Goal
    part: str
    untested: str = ""


def recall(space: Space, locked: Mapping[str, Any]) -> Settled:
    """The settled space and goal of a study that was begun before, from its space.yaml."""
    for key, reason in locked["left_out"].items():
        slot, _, rest = key.partition("/")
        name, _, argument = rest.partition(".")
        if argument:
            space = space.with_default(slot, name, argument, reason)
        elif name in space.options.get(slot, {}):
            space = space.without(slot, name, reason, broken=key in locked["quarantined"])
    goal = settled_goal(locked, space.baseline().best_epoch)
    return Settled(replace(space, unfit=locked["unfit"]), goal, locked["part"], locked.get("untested", ""))


def settled_goal(locked: Mapping[str, Any], best_epoch: bool) -> Goal:
    """The goal of a study that was begun before, from its space.yaml."""
    objectives = tuple(map(Objective, locked["objective"].split(), locked["direction"].split()))
    bounds = (Bound(Objective(name, direction), limit) for name, (direction, limit) in locked.get("constraints", {}).items())
    return Goal(objectives, tuple(bounds), best_epoch)
