"""The record that a study keeps of a trial."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from autoopt.orders import BLAME
from autoopt.recipe import Recipe

BASELINE = "0"
"""The key of the baseline in the search."""
Epochs = Mapping[int, Mapping[str, float]]
"""The metrics of each epoch, by its number, from 1."""


@dataclass(frozen=True)
class Record:
    """A trial that has ended.

    Args:
        key: its name within the study, such as `17` or `0-final-2`.
        stage: the name of its stage.
        recipe: as a tree.
        state: complete, stopped or failed.
        score: the value of the first objective.
        metrics: all metrics at the end.
        curves: the metrics of each epoch in columns: `epoch`, and one for each metric, `None` where an epoch lacks it.
        resamples: the objective on each resample of the test part.
        units: the number of independent examples or groups of the test part.
        epochs: how many were trained.
        seconds: how long it ran.
        elapsed: the seconds that the study had used, in all its sessions, when the trial ended.
        reason: why it failed: one of `orders.REASONS`.
        detail: the cause of the failure in one line.
        technique: `slot/name` of the technique that failed, where a technique is to blame.
        environment: the versions, the processor, the threads and the device of its process, by name; unknown if it failed.
        continues: the key of the stopped trial that it has continued, whose epochs and seconds are among its own; else empty.
        origin: the trial, as `STUDY/17`, from which it was taken over; empty where it ran in this study.
    """

    key: str
    stage: str
    recipe: Mapping[str, Any]
    seed: int
    state: str
    score: float | None
    metrics: Mapping[str, float]
    curves: Mapping[str, list[Any]]
    resamples: list[float]
    units: int
    epochs: int
    seconds: float
    elapsed: float
    reason: str | None = None
    detail: str = ""
    technique: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)
    continues: str = ""
    origin: str = ""

    @property
    def point(self) -> Recipe:
        return Recipe(self.recipe)

    @property
    def blame(self) -> str | None:
        """Who is to blame for a failure: recipe, machine or user."""
        return None if self.reason is None else BLAME[self.reason]

    def curve(self, metric: str) -> dict[int, float]:
        """A metric by epoch."""
        rows = zip(self.curves.get("epoch", ()), self.curves.get(metric, ()), strict=False)
        return {epoch: value for epoch, value in rows if value is not None}


def added(records: Sequence[Record], amount: Callable[[Record], float]) -> list[float]:
    """What each trial adds to an amount, such as the epochs: not what the trial that it continues has added already."""
    before = {record.key: amount(record) for record in records}
    return [max(amount(record) - before.get(record.continues, 0), 0) for record in records]


def taken_over(records: Sequence[Record]) -> int:
    """How many trials come from another study, beside the baseline: `study.trials` does not count them."""
    return sum(bool(r.origin) for r in records if r.key != BASELINE)


def columns(epochs: Epochs) -> dict[str, list[Any]]:
    """The metrics of each epoch as columns."""
    names = dict.fromkeys(name for metrics in epochs.values() for name in metrics)
    return {"epoch": list(epochs)} | {name: [metrics.get(name) for metrics in epochs.values()] for name in names} if epochs else {}
