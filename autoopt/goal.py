"""What a study optimises: objectives with their directions, and bounds that a model has to keep."""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise
from math import inf, isnan
from typing import Protocol, TypeVar

from autoopt.data.parts import on_test


@dataclass(frozen=True)
class Cost:
    """A metric that autoopt measures and that is a cost, not a quality.

    Args:
        direction: which way is better.
        measured: while `training`, on the `model` as it is stored, or by a `stopwatch`, beside which nothing else may run.
        exact: the same for every seed of a recipe.
    """

    direction: str
    measured: str
    exact: bool = False


COSTS: Mapping[str, Cost] = {
    "latency_ms": Cost("minimize", "stopwatch"),
    "latency_p95_ms": Cost("minimize", "stopwatch"),
    "inference_samples_per_second": Cost("maximize", "stopwatch"),
    "flops": Cost("minimize", "stopwatch", exact=True),
    "parameters": Cost("minimize", "model", exact=True),
    "size_mb": Cost("minimize", "model", exact=True),
    "seconds": Cost("minimize", "training"),
    "samples_per_second": Cost("maximize", "training"),
    "epochs_trained": Cost("minimize", "training"),
    "peak_memory_mb": Cost("minimize", "training"),
    "peak_gpu_memory_mb": Cost("minimize", "training"),
}
AT_LEAST_0 = (
    "error", "err", "mse", "rmse", "mae", "mape", "smape", "mase", "msle", "rmsle", "brier", "wer", "cer", "eer", "fid", "crps",
    "pinball", "lpips",
)  # fmt: skip
SMALLER = (*AT_LEAST_0, "loss", "nll", "perplexity", "ece", "bpd")
GREATER = (
    "acc", "accuracy", "f1", "auc", "auroc", "auprc", "recall", "precision", "r2", "dice", "iou", "miou", "map", "psnr", "ssim", "bleu",
    "sensitivity", "specificity", "jaccard", "ndcg", "mrr", "cindex", "concordance", "kappa", "mcc",
    "reward", "rewards", "sisdr", "sisnr", "pesq", "stoi",
)  # fmt: skip
SPREADS = ("std", "var", "variance", "gap", "drop", "diff", "difference", "delta")
"""Behind the name of a metric: how it varies or changes, of which nothing is known."""
NEGATED = ("neg", "negative", "minus")
"""Before the name of a metric: which way is better may be turned round, as in scikit-learn's `neg_mean_squared_error`."""

SHARES = (
    "acc", "accuracy", "f1", "auc", "auroc", "auprc", "recall", "precision", "dice", "iou", "miou", "map", "sensitivity", "specificity",
    "bleu", "ece", "jaccard", "ndcg", "mrr", "cindex", "concordance",
)  # fmt: skip
RANGES: Mapping[str, tuple[float, float]] = {
    **dict.fromkeys(SHARES, (0.0, 1.0)),
    **dict.fromkeys(AT_LEAST_0, (0.0, inf)),
    **dict.fromkeys(("ssim", "kappa", "mcc"), (-1.0, 1.0)),
    "r2": (-inf, 1.0),
    "perplexity": (1.0, inf),
}
"""The values that a metric can have, by the word that tells its direction. A loss is not here: a log density may be negative."""


class Scored(Protocol):
    """A trial that has ended, as a goal compares it."""

    @property
    def state(self) -> str: ...
    @property
    def score(self) -> float | None: ...
    @property
    def metrics(self) -> Mapping[str, float]: ...


AnyScored = TypeVar("AnyScored", bound=Scored)


@dataclass(frozen=True)
class Objective:
    """A metric by the name under which it is measured or logged, and which way is better."""

    name: str
    direction: str

    @property
    def sign(self) -> int:
        return 1 if self.direction == "maximize" else -1

    @property
    def cost(self) -> Cost | None:
        return COSTS.get(self.name)

    def value(self, metrics: Mapping[str, float], part: str = "validation") -> float | None:
        """Its value among the metrics of a part; None where it was not measured there."""
        return metrics.get(on_test(self.name) if part == "test" else self.name, metrics.get(self.name))

    def better(self, value: float, other: float) -> bool:
        return self.sign * value > self.sign * other

    def gain(self, value: float, baseline: float) -> float:
        """How much better a value is than the baseline's; negative where it is worse."""
        return self.sign * (value - baseline) + 0.0  # no -0.0

    def limits(self, ours: bool = False) -> tuple[float, float]:
        """The least and the greatest value that it can have, infinite where that is unknown.

        Args:
            ours: autoopt measures it, so that a loss is a cross-entropy or a squared error.
        """
        if self.cost or (ours and self.name == "val_loss"):
            return 0.0, inf
        return RANGES.get(last_known(self.name) or "", (-inf, inf))

    def possible(self, value: float) -> bool:
        """Whether it can have a value; if not, the metric is another one than its name says, such as an accuracy in percent."""
        low, high = self.limits()
        return low <= value <= high

    def judged_by(self, tested: Mapping[str, float], validated: Collection[str] = ()) -> str:
        """The part on which a verdict compares two recipes: `test` where it measures the objective, else `training` or `validation`.

        Args:
            tested: the metrics of the test part, empty where there is no test part.
            validated: the names of the metrics that the validation part gives without a training; empty where they are unknown.
        """
        in_training = not self.cost and bool(validated) and self.name not in validated
        if in_training or (self.cost and self.cost.measured == "training") or self.name.partition("_")[0] == "train":
            return "training"
        return "test" if self.value(tested, "test") is not None else "validation"


@dataclass(frozen=True)
class Bound:
    """A limit of a metric: the most that it may be where less is better, else the least."""

    metric: Objective
    limit: float

    def excess(self, metrics: Mapping[str, float]) -> float:
        """By which share of the limit a model misses it: 0 where it is kept, infinite where the metric was not measured or is NaN."""
        value = self.metric.value(metrics)
        return inf if value is None or isnan(value) else max(0.0, self.metric.sign * (self.limit - value)) / (abs(self.limit) or 1.0)

    @property
    def impossible(self) -> str:
        """What the metric would have to be: `over 1`; empty where a model can keep the bound."""
        low, high = self.metric.limits()
        if self.metric.sign > 0:
            return f"over {high:g}" if self.limit > high else ""
        return f"under {low:g}" if self.limit < low else ""

    def __str__(self) -> str:
        return f"{self.metric.name} {'at least' if self.metric.sign > 0 else 'at most'} {self.limit:g}"


@dataclass(frozen=True)
class Goal:
    """Objectives, the most important first, and bounds. The first objective decides at rungs and in the verdict.

    Args:
        best_epoch: a trial's best epoch counts, not its last.
    """

    objectives: tuple[Objective, ...]
    bounds: tuple[Bound, ...] = ()
    best_epoch: bool = False

    @property
    def first(self) -> Objective:
        return self.objectives[0]

    @property
    def directions(self) -> list[str]:
        return [objective.direction for objective in self.objectives]

    @property
    def timed(self) -> bool:
        """Whether an objective or a bound takes a stopwatch, so that trials run alone."""
        return any(takes_stopwatch(metric.name) for metric in (*self.objectives, *(bound.metric for bound in self.bounds)))

    @property
    def unbounded(self) -> "Goal":
        """The same objectives without the bounds."""
        return replace(self, bounds=())

    def curve(self, values: Mapping[int, float]) -> dict[int, float]:
        """What a trial is worth after each epoch, by the first objective's value at each: that value, or the best so far."""
        better = max if self.first.sign > 0 else min
        epochs = sorted(values)
        counted = accumulate((values[e] for e in epochs), better) if self.best_epoch else (values[e] for e in epochs)
        return dict(zip(epochs, counted, strict=True))

    def violation(self, metrics: Mapping[str, float]) -> float:
        """How far a model misses the bounds, as shares of their limits added up; 0 where it keeps all of them."""
        return sum(bound.excess(metrics) for bound in self.bounds)

    def nearest_to_bounds(self, trials: Sequence[AnyScored]) -> AnyScored | None:
        """The complete trial that misses the bounds least; None where none is complete, or one keeps them."""
        complete = [t for t in trials if t.state == "complete"]
        nearest = min(complete, key=lambda t: self.violation(t.metrics), default=None)
        return nearest if nearest is not None and self.violation(nearest.metrics) else None

    def missed(self, metrics: Mapping[str, float]) -> str:
        """The bounds that a model misses, with what it has: `latency_ms at most 2 (2.41)`."""
        values = ((bound, bound.metric.value(metrics)) for bound in self.bounds if bound.excess(metrics))
        return " and ".join(f"{bound} ({'not measured' if value is None else f'{value:.3g}'})" for bound, value in values)

    def scores(self, trial: Scored) -> tuple[float, ...] | None:
        """A value for each objective; None where one was not measured, or is NaN, which is better and worse than nothing."""
        others = [objective.value(trial.metrics) for objective in self.objectives[1:]]
        values = [value for value in (trial.score, *others) if value is not None and not isnan(value)]
        return tuple(values) if len(values) == len(self.objectives) else None

    def rank(self, trials: Sequence[AnyScored]) -> list[AnyScored]:
        """The complete trials within the bounds, the best first; of equal trials the smaller model, of these the faster."""
        ended = [t for t in trials if t.state == "complete" and t.score is not None and not self.violation(t.metrics)]
        costs = ("size_mb", "latency_ms")
        return sorted(ended, key=lambda t: (-self.first.sign * (t.score or 0.0), *(t.metrics.get(cost, 0.0) for cost in costs)))

    def front(self, trials: Sequence[AnyScored], noise: Mapping[str, float] | None = None) -> list[AnyScored]:
        """The Pareto front: the trials that no other one equals or beats in every objective, the best first.

        Args:
            noise: by objective, the share of its value by which two measurements of one thing may differ: values that differ by
                less are equal.
        """
        shares = [(noise or {}).get(objective.name, 0.0) for objective in self.objectives]
        points = [(self._costs(scores), t) for t in self.rank(trials) if (scores := self.scores(t)) is not None]
        front: list[tuple[tuple[float, ...], AnyScored]] = []
        for point, trial in sorted(points, key=lambda row: row[0]):
            if not any(nowhere_worse(other, point, shares) for other, _ in front):
                front = [row for row in front if not nowhere_worse(point, row[0], shares)] + [(point, trial)]
        return self.rank([trial for _, trial in front])

    def _costs(self, scores: Sequence[float]) -> tuple[float, ...]:
        """Scores turned so that smaller is better."""
        return tuple(-o.sign * value for o, value in zip(self.objectives, scores, strict=True))


def nowhere_worse(point: Sequence[float], other: Sequence[float], shares: Sequence[float]) -> bool:
    """Whether a point of costs is nowhere greater than another, by more than these shares."""
    return all(a <= b + share * abs(b) for a, b, share in zip(point, other, shares, strict=True))


def takes_stopwatch(metric: str | None) -> bool:
    """Whether a metric is measured on the trained model by a stopwatch or an operation counter, only on demand."""
    return metric is not None and metric in COSTS and COSTS[metric].measured == "stopwatch"


def direction_of(metric: str) -> str | None:
    """maximize or minimize, by the last known word of the metric's name; None where no word is known.

    `val_Recall5` and `val_error_recall` are maximized, `recall_error` is minimized, `val_score`, `val_gloss` and `val_acc_std` are unknown.
    So is `loss_dice`, which may be a term of a loss, or the dice of a class that is called so, and `neg_mse`.
    """
    if metric in COSTS:
        return COSTS[metric].direction
    word = last_known(metric)
    return None if word is None else "minimize" if word in SMALLER else "maximize"


def last_known(metric: str) -> str | None:
    """The last word of a metric's name that tells its direction."""
    parts = re.split(r"[^a-z0-9]+", metric.lower())
    # c_index is written cindex, too
    words = [(word, before) for before, part in pairwise(["", *parts]) for word in (before + part, part, part.rstrip("0123456789"))]
    last, before = next(((word, before) for word, before in reversed(words) if word in (*SMALLER, *GREATER, *SPREADS)), (None, ""))
    return None if last in SPREADS or any(word in NEGATED for word in parts) or (last in GREATER and before in ("loss", "losses")) else last
