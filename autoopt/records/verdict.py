"""The verdict of a study as plain data. `autoopt.report` turns it into sentences, tables and pages."""

from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, field, fields
from typing import Any

from autoopt.config.yaml_file import written
from autoopt.goal import Bound
from autoopt.recipe import Recipe
from autoopt.records.comparison import Comparison, read_comparison
from autoopt.records.explanation import Ablation, Edge, Importance, Rival, read_ablation, with_tuples

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
    """A model on the Pareto front, with its value in each objective, on the validation part where that measures it."""

    trial: str
    title: str
    values: Mapping[str, float]


@dataclass(frozen=True)
class Limit:
    """A bound that the study sets a metric, and the metric of both sides in the last comparison.

    Args:
        bound: in words: `latency_ms at most 2`.
        baseline, winner: `None` where it was not measured.
        missed: the sides that do not keep it.
    """

    bound: str
    baseline: float | None
    winner: float | None
    missed: tuple[str, ...]

    @classmethod
    def of(cls, bound: Bound, baseline: Mapping[str, float], winner: Mapping[str, float]) -> "Limit":
        sides = {"baseline": baseline, "winner": winner}
        missed = tuple(name for name, metrics in sides.items() if bound.excess(metrics))
        return cls(str(bound), bound.metric.value(baseline), bound.metric.value(winner), missed)


@dataclass(frozen=True)
class Verdict:
    """The result of a study.

    Args:
        part: where winner and baseline were compared: `test`, `training` (a cost of training), or `validation`, which chose the winner.
        gain: winner minus baseline, positive where the winner is better.
        interval: the 95 % confidence interval of the gain; infinite where it is unknown.
        sampled: the units of the test part whose finite number the interval counts beside the seeds: examples (or groups of
            them), or batches; empty where nothing was resampled, so that the interval counts seeds alone: on another part, or where a
            module logs what cannot be split.
        counts: how many trials ended in each state.
        reasons: how many failed for each reason.
        trainings: the number of whole trainings, of the search and of confirm.
        seconds: the time of all trials, added up.
        elapsed: the time of the study, in seconds on its executor's clock.
        dropped: the techniques that were left out, by `slot/name`, each with the reason.
        quarantined: the techniques among them that failed.
        unsound: the candidates that were left out since a training of theirs on a fresh seed failed, each with how it failed.
        front: the Pareto front of the compressed models in score, latency and size, or of all trials in several objectives.
        test_opened_for: the number of recipes that were measured on the test part.
        seeds_planned: the planned number of seeds, where the time ended before; else 0.
        seeds_needed: how many seeds would show a difference of this size where none could be shown; 0 where more seeds are no way.
        test_needed: how many times as large a test part would show it; 0 where neither this nor more seeds would.
        alone: why the baseline had no trial to be compared with; empty where it had.
        folder: the study's folder.
        trust: what a command needs to import the study's own code: ` trust=my_models:Net`; empty where there is no such code.
        searched: the winner's score in the search, which chose it.
        stopped_at: the epoch at which a rung stopped the winner in the search, where no other trial ran to its end; else 0.
        highest: the trial with the best score of the search, where that is not the winner; else empty.
        rival: the second best of the candidates; `None` where there was one candidate alone.
        importance: of the searched values, where enough trials reached a rung.
        rungs: by epoch, the rank correlation of the value at a rung with the final score, over the complete trials.
        edges: the winner's values at the ends of their ranges.
        ablation: what each change of the baseline gives; `None` where the winner did not win.
        comparison: of the options of a slot; `None` where none is compared.
        limits: the bounds of the study.
        untested: why the validation part compares, and not the test part; else empty.
        ended: after how many trials the search ended, and why, if not with its last one; else empty.
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
    trust: str = ""
    searched: float | None = None
    stopped_at: int = 0
    highest: str = ""
    rival: Rival | None = None
    importance: Importance | None = None
    rungs: Mapping[int, float] = field(default_factory=dict)
    edges: tuple[Edge, ...] = ()
    ablation: Ablation | None = None
    comparison: Comparison | None = None
    limits: tuple[Limit, ...] = ()
    untested: str = ""
    ended: str = ""
    unsound: Mapping[str, str] = field(default_factory=dict)

    @property
    def better(self) -> bool:
        """Whether the winner is significantly better: the whole interval lies above 0, on a part that did not choose it, and it keeps
        the bounds."""
        return self.interval[0] > 0 and self.part != "validation" and self.best is self.winner and self.keeps_bounds("winner")

    @property
    def best(self) -> Side:
        """The side whose recipe is advised and exported: the winner where the whole interval lies above 0, else the baseline; where only
        one of them keeps the bounds, that one."""
        if self.winner.trial == self.baseline.trial:
            return self.baseline
        keeps = self.keeps_bounds("winner")
        wins = self.interval[0] > 0 if keeps == self.keeps_bounds("baseline") else keeps
        return self.winner if wins else self.baseline

    @property
    def role(self) -> str:
        """What a reader calls the trial beside the baseline: the winner only where it is advised."""
        return "winner" if self.best is self.winner else "candidate"

    def keeps_bounds(self, side: str) -> bool:
        """Whether the `baseline` or the `winner` kept the bounds of the study in the last comparison."""
        return not any(side in limit.missed for limit in self.limits)

    def tree(self) -> dict[str, Any]:
        """The verdict as plain values, for `verdict.yaml`; `read_verdict` makes a verdict of them again."""
        return {name: with_lists(value) for name, value in asdict(self).items()}

    def yaml(self, **more: Any) -> str:
        """The text of verdict.yaml; `more` is for people, and `read_verdict` ignores it."""
        return written({**more, **self.tree(), "level": LEVEL, "better": self.better})


def read_verdict(tree: Mapping[str, Any]) -> Verdict:
    """The verdict that `Verdict.tree` wrote.

    Raises:
        KeyError, TypeError: the tree is not a verdict.
    """
    earlier: dict[str, Any] = {f.name: f.default for f in fields(Verdict) if f.default is not MISSING} | {"rungs": {}, "unsound": {}}
    if tree["part"] == "validation":
        earlier["untested"] = "the test split does not measure it" if tree["test_opened_for"] else "there is no test split"
    tree = {**earlier, **tree}
    values = {f.name: tree[f.name] for f in fields(Verdict)}
    nested = {
        **{side: Side(**tree[side]) for side in ("baseline", "winner")},
        "front": tuple(Point(**point) for point in tree["front"]),
        "limits": tuple(Limit(**with_tuples(limit)) for limit in tree["limits"]),
        "rival": Rival(**tree["rival"]) if tree["rival"] and "ahead" in tree["rival"] else None,  # an earlier version has the chance alone
        "importance": tree["importance"] and Importance(**tree["importance"]),
        "edges": tuple(Edge(**edge) for edge in tree["edges"]),
        "ablation": tree["ablation"] and read_ablation(tree["ablation"]),
        "comparison": tree["comparison"] and read_comparison(tree["comparison"]),
    }
    return Verdict(**{**values, **nested, "interval": tuple(tree["interval"]), "quarantined": tuple(tree["quarantined"])})


def with_lists(value: Any) -> Any:
    """A tree with lists for tuples, which YAML has not."""
    if isinstance(value, dict):
        return {key: with_lists(part) for key, part in value.items()}
    return [with_lists(part) for part in value] if isinstance(value, list | tuple) else value
