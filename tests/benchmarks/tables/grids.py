"""The grids of the recorded tables: a space of autoopt's own config, and how many levels each of its ranges has in the table.

The split into tuning and judging tables was made before any strategy ran on them: variants of strategies are compared on the
tuning tables alone, and the judging tables are opened to report the result.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from autoopt.config import compose
from autoopt.domain import Range
from autoopt.space import Domain, Space

PLAIN = (
    "data=digits", "device=cpu", "device.cpu.precision=32-true", "initializer=he_normal", "initializer.he_normal.gain=1",
    "tracking.enabled=false",
)  # fmt: skip


@dataclass(frozen=True)
class Grid:
    """A table's space and its levels.

    Args:
        use: tuning or judging.
        rows: of the training part.
        epochs: of a full training.
        levels: of each range, by path; the options of a choice are its levels.
        overrides: of the config.
    """

    name: str
    use: str
    rows: int
    epochs: int
    levels: Mapping[str, int]
    overrides: tuple[str, ...]
    objective: str = "val_accuracy"

    @cached_property
    def ranges(self) -> Space:
        """The space whose ranges the levels cut."""
        return Space.of(compose((*PLAIN, *self.overrides)))

    @cached_property
    def config(self) -> tuple[str, ...]:
        """The overrides of the study that searches the table: each range is a choice of its levels, the baseline's first."""
        cut = {domain.path: levels(domain, self.levels[domain.path]) for domain in self.ranges.domains() if domain.path in self.levels}
        defaults = {domain.path: domain.default for domain in self.ranges.domains()}
        choices = {path: f"{path}=choice({','.join(map(str, nearest_first(defaults[path], some)))})" for path, some in cut.items()}
        kept = [override for override in self.overrides if override.partition("=")[0] not in choices]
        return (*PLAIN, *kept, *choices.values(), f"objective={self.objective}", f"study.epochs={self.epochs}")

    @cached_property
    def space(self) -> Space:
        return Space.of(compose(self.config))


def levels(domain: Domain, count: int) -> list[Any]:
    """So many values of a range, evenly on its scale, both ends included, to three digits."""
    assert isinstance(domain.values, Range)
    low, high, steps = domain.values.low, domain.values.high, [i / (count - 1) for i in range(count)]
    values = [low * (high / low) ** step if domain.values.log else low + (high - low) * step for step in steps]
    return [round(value) if domain.number is int else float(f"{value:.3g}") for value in values]


def nearest_first(default: float, values: Sequence[float]) -> list[float]:
    """The values, the nearest to a default before the others."""
    nearest = min(values, key=lambda value: abs(math.log(value / default)))
    return [nearest, *(value for value in values if value != nearest)]


def log(low: float, high: float) -> str:
    return f"tag(log, interval({low}, {high}))"


ADAMW = ("optimizer.adamw.beta1=0.9", f"optimizer.adamw.lr={log(3e-4, 3e-2)}", f"optimizer.adamw.weight_decay={log(1e-3, 0.3)}")
MOMENTUM = (
    "optimizer.momentum.weight_decay=0.0005",
    f"optimizer.momentum.lr={log(3e-3, 0.3)}",
    "optimizer.momentum.momentum=interval(0.5, 0.95)",
)
LION = ("optimizer.lion.beta1=0.9", f"optimizer.lion.lr={log(1e-4, 1e-2)}", f"optimizer.lion.weight_decay={log(1e-2, 3.0)}")
PLAIN_COSINE = ("schedule.cosine.warmup=0.05", "schedule.cosine.final=0")
ONE_CYCLE = ("schedule.one_cycle.rise=interval(0.1, 0.4)", "schedule.one_cycle.initial=0.04")
MIXUP = ("augmentation=mixup", "augmentation.mixup.use=choice(true,false)")
NOISE = ("augmentation=noise", "augmentation.noise.use=choice(true,false)", f"augmentation.noise.deviation={log(0.1, 0.5)}")
DROPOUT = ("regularizer=dropout", "regularizer.dropout.use=choice(true,false)", "regularizer.dropout.p=interval(0.1, 0.5)")
NO_SMOOTHING = ("loss.cross_entropy.class_weight=none", "loss.cross_entropy.label_smoothing=0")


def mlp(low: int, high: int) -> tuple[str, ...]:
    return ("model=mlp", "model.mlp.depth=1", "model.mlp.connection=plain", f"model.mlp.width={log(low, high)}")


GRIDS = (
    Grid(
        "digits_mlp", "tuning", rows=400, epochs=21,
        levels={
            "model.mlp.width": 2, "optimizer.adamw.lr": 5, "optimizer.adamw.weight_decay": 2, "optimizer.momentum.lr": 5,
            "optimizer.momentum.momentum": 2, "schedule.step.factor": 2, "schedule.one_cycle.rise": 2, "regularizer.dropout.p": 2,
            "augmentation.mixup.alpha": 2,
        },
        overrides=(
            *mlp(16, 64), "optimizer=adamw,momentum", *ADAMW, *MOMENTUM, "schedule=constant,cosine,step,one_cycle", *PLAIN_COSINE,
            "schedule.step.drops=3", f"schedule.step.factor={log(0.05, 0.5)}", *ONE_CYCLE, "batches.size=choice(64,16)", *DROPOUT,
            *MIXUP, f"augmentation.mixup.alpha={log(0.1, 1.0)}", "loss=cross_entropy", *NO_SMOOTHING,
        ),
    ),
    Grid(
        "cancer_mlp", "tuning", rows=120, epochs=18,
        levels={
            "model.mlp.width": 2, "optimizer.adamw.lr": 4, "optimizer.adamw.weight_decay": 2, "optimizer.lion.lr": 4,
            "optimizer.lion.weight_decay": 2, "optimizer.momentum.lr": 4, "optimizer.momentum.momentum": 2, "schedule.polynomial.power": 3,
            "regularizer.dropout.p": 2, "augmentation.noise.deviation": 2,
        },
        overrides=(
            *mlp(8, 64), "optimizer=adamw,lion,momentum", *ADAMW, *LION, *MOMENTUM, "schedule=constant,cosine,polynomial",
            *PLAIN_COSINE, "schedule.polynomial.power=interval(0.5, 3.0)", "batches.size=choice(32,8)", *DROPOUT, *NOISE,
            "loss=cross_entropy", *NO_SMOOTHING,
        ),
    ),
    Grid(
        "clusters_mlp", "tuning", rows=800, epochs=24,
        levels={
            "model.mlp.width": 2, "optimizer.adamw.lr": 5, "optimizer.adamw.weight_decay": 3, "optimizer.momentum.lr": 5,
            "optimizer.momentum.momentum": 3, "schedule.step.factor": 3, "schedule.one_cycle.rise": 2, "regularizer.dropout.p": 2,
        },
        overrides=(
            *mlp(16, 96), "optimizer=adamw,momentum", *ADAMW, *MOMENTUM, "schedule=constant,step,one_cycle", "schedule.step.drops=3",
            f"schedule.step.factor={log(0.05, 0.5)}", *ONE_CYCLE, "batches.size=choice(128,32,16)", *DROPOUT, "augmentation=none",
            "loss=cross_entropy", *NO_SMOOTHING,
        ),
    ),
    Grid(
        "noisy_digits_conv", "judging", rows=200, epochs=18,
        levels={
            "model.cnn.width": 2, "optimizer.adamw.lr": 4, "optimizer.adamw.weight_decay": 2, "optimizer.momentum.lr": 4,
            "optimizer.momentum.momentum": 2, "schedule.one_cycle.rise": 2, "schedule.warmup_stable_decay.decay": 2,
            "augmentation.translate.shift": 2, "augmentation.noise.deviation": 2,
        },
        overrides=(
            "model=cnn", "model.cnn.depth=2", "model.cnn.convolution=full", f"model.cnn.width={log(8, 16)}", "optimizer=adamw,momentum",
            *ADAMW, *MOMENTUM, "schedule=constant,cosine,one_cycle,warmup_stable_decay", *PLAIN_COSINE, *ONE_CYCLE,
            "schedule.warmup_stable_decay.warmup=0.05", "schedule.warmup_stable_decay.decay=interval(0.1, 0.5)",
            "batches.size=choice(32,8)", "augmentation=translate,noise", "augmentation.translate.shift=interval(0.125, 0.25)",
            f"augmentation.noise.deviation={log(0.1, 0.5)}", "regularizer=none", "loss=cross_entropy", *NO_SMOOTHING,
        ),
    ),
    Grid(
        "diabetes_mlp", "judging", rows=150, epochs=27, objective="val_loss",
        levels={
            "model.mlp.width": 2, "optimizer.adamw.lr": 5, "optimizer.adamw.weight_decay": 2, "optimizer.lion.lr": 5,
            "optimizer.lion.weight_decay": 2, "schedule.exponential.final": 2, "regularizer.dropout.p": 2, "loss.huber.delta": 2,
        },
        overrides=(
            *mlp(8, 64), "optimizer=adamw,lion", *ADAMW, *LION, "schedule=constant,cosine,exponential", *PLAIN_COSINE,
            f"schedule.exponential.final={log(1e-3, 0.1)}", "batches.size=choice(32,8)", *DROPOUT, "augmentation=none", "loss=mse,huber",
            f"loss.huber.delta={log(0.3, 1.0)}",
        ),
    ),
    Grid(
        "shells_mlp", "judging", rows=600, epochs=24,
        levels={
            "model.mlp.width": 3, "optimizer.adamw.lr": 4, "optimizer.adamw.weight_decay": 2, "optimizer.momentum.lr": 4,
            "optimizer.momentum.momentum": 2, "optimizer.sgd.lr": 4, "schedule.polynomial.power": 3, "schedule.one_cycle.rise": 2,
            "regularizer.dropout.p": 2,
        },
        overrides=(
            *mlp(16, 96), "optimizer=sgd,adamw,momentum", "optimizer.sgd.weight_decay=0.0005", f"optimizer.sgd.lr={log(0.01, 1.0)}",
            *ADAMW, *MOMENTUM, "schedule=constant,polynomial,one_cycle", "schedule.polynomial.power=interval(0.5, 3.0)", *ONE_CYCLE,
            "batches.size=choice(64,16)", *DROPOUT, *MIXUP, "augmentation.mixup.alpha=0.5", "loss=cross_entropy",
            *NO_SMOOTHING,
        ),
    ),
)  # fmt: skip
BY_NAME = {grid.name: grid for grid in GRIDS}
