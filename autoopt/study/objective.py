"""What a study optimises."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from autoopt.data.parts import on_test

COST = {
    "latency_ms": "minimize",
    "latency_p95_ms": "minimize",
    "inference_samples_per_second": "maximize",
    "parameters": "minimize",
    "flops": "minimize",
    "size_mb": "minimize",
    "seconds": "minimize",
    "samples_per_second": "maximize",
    "peak_memory_mb": "minimize",
    "peak_gpu_memory_mb": "minimize",
}
SMALLER = ("loss", "error", "mse", "mae", "nll", "brier", "perplexity")
GREATER = ("acc", "accuracy", "f1", "auc", "auroc", "recall", "precision", "r2", "dice", "iou")


@dataclass(frozen=True)
class Objective:
    """A metric by the name under which it is measured or logged, and which way is better."""

    name: str
    direction: str

    @property
    def sign(self) -> int:
        return 1 if self.direction == "maximize" else -1

    def of(self, metrics: Mapping[str, float], part: str = "validation") -> float | None:
        """Its value among the metrics of a part; on the test split it goes by that split's name."""
        return metrics.get(on_test(self.name) if part == "test" else self.name, metrics.get(self.name))

    def better(self, one: float, other: float) -> bool:
        return self.sign * one > self.sign * other

    def gain(self, score: float, baseline: float) -> float:
        """How much better a score is, positive where it is."""
        return self.sign * (score - baseline) + 0.0  # no -0.0


def timed(metric: str | None) -> bool:
    """Whether it takes a stopwatch on the trained model, which is not held otherwise."""
    return metric is not None and metric.startswith(("latency", "inference", "flops"))


def direction_of(metric: str) -> str | None:
    """maximize or minimize, where the metric's name tells beyond doubt (`val_Recall5` does, `val_score` does not)."""
    if metric in COST:
        return COST[metric]
    if any(part in metric.lower() for part in SMALLER):
        return "minimize"
    words = re.split(r"[^a-z0-9]+", metric.lower())
    return "maximize" if any(w in GREATER or w.rstrip("0123456789") in GREATER for w in words) else None
