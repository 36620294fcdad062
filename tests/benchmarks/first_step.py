"""`autoopt.trial.run` as an executor's target, with notes on the way to the first training step; for isolation.py."""

import sys
import time
from typing import Any

from autoopt.module.net import Net
from autoopt.trial import Report
from autoopt.trial import run as trial
from autoopt.trial.run import prepare
from autoopt.trial.world import World

__all__ = ["prepare", "run"]


def run(world: World, order: dict[str, Any], report: Report) -> dict[str, Any]:
    """The trial's outcome, and the clock at its entry and its first step, which all processes share."""
    notes: dict[str, Any] = {"entered": time.monotonic()}
    before = set(sys.modules)

    def first(net: Net, *arguments: Any) -> None:
        notes.setdefault("first_step", time.monotonic())
        plain(net, *arguments)

    plain, Net.training_step = Net.training_step, first  # type: ignore[method-assign]
    outcome = trial.run(world, order, report)
    return outcome | {"notes": notes | {"ran": time.monotonic(), "imported": sorted(set(sys.modules) - before)}}
