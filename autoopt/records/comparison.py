"""A comparison of the options of a slot as plain data. `autoopt.report.comparison` makes tables of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import inf
from typing import Any


@dataclass(frozen=True)
class OptionResult:
    """What an option gave: the best recipe with it, trained again on fresh seeds, beside that of the first option.

    Args:
        option: its name; `none` where no technique of the slot is used.
        trials: of the search.
        failed: of these, by the fault of their recipes.
        best: the best validation score after each trial of the search; `None` before one was complete within the bounds.
        trial: the key of its best trial; empty where none could be confirmed, and the rest is then empty, too.
        scores: the objective on each fresh seed, in the part that is compared.
        mean: of the scores, with its 95 % interval.
        epochs: until the mean validation score on the fresh seeds reaches that of the first option at its end; `None`: never,
            or for the first option and all others, unknown.
        seconds: of training in these epochs.
        difference: to the first option on the same seeds, positive where this one is better, with its 95 % interval.
        p: of the difference, after Holm's correction; `None` where the variance is unknown.
    """

    option: str
    trials: int
    failed: int
    best: Sequence[float | None]
    trial: str = ""
    title: str = ""
    recipe: Mapping[str, Any] = field(default_factory=dict)
    scores: Sequence[float] = ()
    mean: float | None = None
    interval: tuple[float, float] = (-inf, inf)
    epochs: int | None = None
    seconds: float | None = None
    difference: float | None = None
    difference_interval: tuple[float, float] = (-inf, inf)
    p: float | None = None


@dataclass(frozen=True)
class Comparison:
    """The options of a slot, each with as many trials on the same trial seeds, and its best on the same fresh seeds.

    Args:
        part: on which they are compared: test, training or validation.
        seeds: how many fresh seeds each option's best was trained on.
        options: the first is that of the baseline.
    """

    slot: str
    objective: str
    direction: str
    part: str
    seeds: int
    options: tuple[OptionResult, ...]

    @property
    def trials(self) -> int:
        """Of each option."""
        return self.options[0].trials


def read_comparison(tree: Mapping[str, Any]) -> Comparison:
    """The comparison in a verdict.yaml."""
    pairs = ("interval", "difference_interval")
    rows = [OptionResult(**{**row, **{name: tuple(row[name]) for name in pairs}}) for row in tree["options"]]
    return Comparison(**{**tree, "options": tuple(rows)})
