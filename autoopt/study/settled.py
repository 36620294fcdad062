"""What is settled before trial 0, and stays for a study's life."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from autoopt.goal import Goal, Objective
from autoopt.space import Space


@dataclass(frozen=True)
class Settled:
    """The space of what works here, the goal, and the part that the verdict will compare: test, training or validation."""

    space: Space
    goal: Goal
    part: str


def recall(space: Space, locked: Mapping[str, Any]) -> Settled:
    """What space.yaml says of a study that was begun before."""
    for key, reason in locked["left_out"].items():
        slot, name = key.split("/")
        if name in space.options.get(slot, {}):
            space = space.without(slot, name, reason, broken=key in locked["quarantined"])
    goal = Goal((Objective(locked["objective"], locked["direction"]),))
    return Settled(replace(space, unfit=locked["unfit"]), goal, locked["part"])
