"""The verdict: what a study came to, as plain data. `autoopt.report` turns it into sentences, tables and pages."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from statistics import mean
from typing import Any

import yaml

from autoopt.recipe import Recipe

LEVEL = 0.95


class Repeating(yaml.SafeDumper):
    """Writes what stands in two places twice, for people to read."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


@dataclass(frozen=True)
class Side:
    """The baseline or the winner, as it was compared.

    Args:
        trial: its key in the search.
        title: its recipe in a few words.
        score: the mean of `scores`, the objective on each seed in the part that the verdict compares.
        validation: the mean of the objective on the validation part, on the same seeds.
        metrics: the means of all that was measured on every seed.
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
    weights: str = ""

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
    """What a study came to.

    Args:
        part: where the two were compared: `test`, `training` (what a training costs), or `validation`, which chose the winner.
        gain: winner minus baseline, positive where the winner is better.
        interval: holds the gain with 95 % confidence; infinite where it cannot be told.
        sampled: the units of the test part whose finite number the interval counts beside the seeds: examples (or groups of
            them), or batches; empty where a module logs what cannot be split, so that the interval counts seeds alone.
        counts: how many trials ended in each state.
        reasons: how many failed for each reason.
        trainings: whole trainings, of the search and of confirm.
        seconds: the time of all trials, added up.
        elapsed: the time of the study, on its executor's clock.
        dropped: the techniques that were left out, by `slot/name`, each with the reason.
        quarantined: those among them that failed.
        front: the compressed models that no other one equals in score, latency and size at once.
        test_opened_for: for how many recipes the test part was ever measured.
        seeds_planned: on how many seeds the two were to be compared, where the time ended before.
        folder: of the study.
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
    elapsed: float = 0.0
    dropped: Mapping[str, str] = field(default_factory=dict)
    quarantined: tuple[str, ...] = ()
    front: tuple[Point, ...] = ()
    test_opened_for: int = 0
    seeds_planned: int = 0
    sampled: str = "examples"
    folder: str = ""

    @property
    def better(self) -> bool:
        """Whether the winner is better beyond doubt: the whole interval lies above 0, in a part that did not choose it."""
        return self.winner.trial != self.baseline.trial and self.interval[0] > 0 and self.part != "validation"

    @property
    def best(self) -> Side:
        """The side whose recipe is advised and exported: the winner where its gain lies above 0 beyond doubt, else the baseline."""
        return self.winner if self.winner.trial != self.baseline.trial and self.interval[0] > 0 else self.baseline

    def tree(self) -> dict[str, Any]:
        """As plain values, for `verdict.yaml`; `read` turns them back."""
        return {
            **asdict(self),
            "interval": list(self.interval),
            "quarantined": list(self.quarantined),
            "front": [asdict(p) for p in self.front],
        }

    def yaml(self, **more: Any) -> str:
        """verdict.yaml; `more` is for its reader alone."""
        return yaml.dump({**more, **self.tree(), "level": LEVEL, "better": self.better}, Dumper=Repeating, sort_keys=False)


def read_verdict(tree: Mapping[str, Any]) -> Verdict:
    """The verdict that `Verdict.tree` wrote.

    Raises:
        KeyError, TypeError: the tree is no verdict.
    """
    values = {f.name: tree[f.name] for f in fields(Verdict)}
    sides = {side: Side(**tree[side]) for side in ("baseline", "winner")}
    front = tuple(Point(**point) for point in tree["front"])
    return Verdict(**{**values, **sides, "interval": tuple(tree["interval"]), "quarantined": tuple(tree["quarantined"]), "front": front})


def mean_metrics(values: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The mean of each metric that all of them have."""
    return {name: mean(v[name] for v in values) for name in (values[0] if values else ()) if all(name in v for v in values)}
