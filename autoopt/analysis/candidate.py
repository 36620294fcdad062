"""A recipe that was trained on several seeds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import mean

from autoopt.goal import Goal
from autoopt.recipe import Recipe
from autoopt.records.record import Record


@dataclass(frozen=True)
class Candidate:
    """A recipe with a record of the validation part for each fresh seed, and of the test part where that was measured."""

    key: str
    recipe: Recipe
    records: list[Record] = field(default_factory=list)
    tests: list[Record] = field(default_factory=list)

    @property
    def score(self) -> float:
        return mean(r.score for r in self.records if r.score is not None)

    def place(self, goal: Goal) -> tuple[float, float]:
        """What orders candidates, the best first: how far the mean of its seeds misses the bounds of a goal, then the score."""
        return goal.violation(mean_metrics([r.metrics for r in self.records])), -goal.first.sign * self.score

    def scores(self, part: str) -> list[float]:
        """The objective on each seed."""
        return [r.score for r in (self.tests if part == "test" else self.records) if r.score is not None]


def mean_metrics(values: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The mean of each metric that all of them have."""
    return {name: mean(v[name] for v in values) for name in (values[0] if values else ()) if all(name in v for v in values)}
