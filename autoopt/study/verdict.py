"""The verdict of a study as plain data. `autoopt.report` turns it into sentences, tables and pages."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from statistics import mean
from typing import Any

import yaml

from autoopt.recipe import Recipe

LEVEL = 0.95


@dataclass(frozen=True)
class Side:
    """The baseline or the winner, as it was compared.

    Args:
        trial: its key in the search.
        title: its recipe in a few words.
        score: the mean of `scores`, the objective on each seed in the part that the verdict compares.
        validation: the mean of the objective on the validation part, on the same seeds.
        metrics: the mean of each metric over the seeds.
        recipe: as a tree.
        weights: the key of the training whose weights are exported.
    """

    trial: str
    title: str
    score: float
    scores: list[float]
    validation: float
    metrics: Mapping[str, float]
    recipe: Mapping[str, Any]
    weights: str

    @property
    def point(self) -> Recipe:
        return Recipe(self.recipe)


@dataclass(frozen=True)
class Point:
    """A model on the Pareto front of the compress stage, in the validation's score, the latency and the size."""

    trial: str
    title: str
    validation: float
    latency_ms: float
    size_mb: float


@dataclass(frozen=True)
class Verdict:
    """The result of a study.

    Args:
        part: where winner and baseline were compared: `test`, `training` (a cost of training), or `validation`, which chose the winner.
        gain: winner minus baseline, positive where the winner is better.
        interval: the 95 % confidence interval of the gain; infinite where it is unknown.
        sampled: the units of the test part whose finite number the interval counts beside the seeds: examples (or groups of
            them), or batches; empty where a module logs what cannot be split, so that the interval counts seeds alone.
        counts: how many trials ended in each state.
        reasons: how many failed for each reason.
        trainings: the number of whole trainings, of the search and of confirm.
        seconds: the time of all trials, added up.
        elapsed: the time of the study, in seconds on its executor's clock.
        dropped: the techniques that were left out, by `slot/name`, each with the reason.
        quarantined: the techniques among them that failed.
        front: the Pareto front of the compressed models in score, latency and size.
        test_opened_for: the number of recipes that were measured on the test part.
        seeds_planned: the planned number of seeds, where the time ended before; else 0.
        seeds_needed: how many seeds would show a difference of this size where none could be shown; 0 where more seeds are no way.
        test_needed: how many times as large a test part would show it; 0 where neither this nor more seeds would.
        alone: why the baseline had no trial to be compared with; empty where it had.
        folder: the study's folder.
    """

    study: str
    objective: str
    direction: str
    part: str
    gain: float
    interval: tuple[float, float]
    baseline: Side
    winner: Side
    counts: Mapping[str, int]
    reasons: Mapping[str, int]
    trainings: int
    seconds: float
    elapsed: float
    dropped: Mapping[str, str]
    quarantined: tuple[str, ...]
    front: tuple[Point, ...]
    test_opened_for: int
    seeds_planned: int
    sampled: str
    seeds_needed: int
    test_needed: float
    alone: str
    folder: str

    @property
    def better(self) -> bool:
        """Whether the winner is significantly better: the whole interval lies above 0, on a part that did not choose it."""
        return self.winner.trial != self.baseline.trial and self.interval[0] > 0 and self.part != "validation"

    @property
    def best(self) -> Side:
        """The side whose recipe is advised and exported: the winner where the whole interval lies above 0, else the baseline."""
        return self.winner if self.winner.trial != self.baseline.trial and self.interval[0] > 0 else self.baseline

    def tree(self) -> dict[str, Any]:
        """The verdict as plain values, for `verdict.yaml`; `read_verdict` makes a verdict of them again."""
        return {
            **asdict(self),
            "interval": list(self.interval),
            "quarantined": list(self.quarantined),
            "front": [asdict(p) for p in self.front],
        }

    def yaml(self, **more: Any) -> str:
        """The text of verdict.yaml; `more` is for people, and `read_verdict` ignores it."""
        return yaml.safe_dump({**more, **self.tree(), "level": LEVEL, "better": self.better}, sort_keys=False)


def read_verdict(tree: Mapping[str, Any]) -> Verdict:
    """The verdict that `Verdict.tree` wrote.

    Raises:
        KeyError, TypeError: the tree is not a verdict.
    """
    values = {f.name: tree[f.name] for f in fields(Verdict)}
    sides = {side: Side(**tree[side]) for side in ("baseline", "winner")}
    front = tuple(Point(**point) for point in tree["front"])
    return Verdict(**{**values, **sides, "interval": tuple(tree["interval"]), "quarantined": tuple(tree["quarantined"]), "front": front})


def mean_metrics(values: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The mean of each metric that all of them have."""
    return {name: mean(v[name] for v in values) for name in (values[0] if values else ()) if all(name in v for v in values)}
