"""The settings beside the slots: their types, and what they are for."""

import re
from typing import Any

SETTINGS: dict[str, tuple[Any, str]] = {
    "name": (str | None, "the study's name; by default made of the data, the model and the space"),
    "seed": (int, "every other seed is derived from it"),
    "objective": (str | None, "a metric that is measured or logged, such as val_accuracy, val_f1, val_rmse; by default after the task"),
    "direction": (str | None, "maximize or minimize; known for our own metrics"),
    "metrics": (
        str | None,
        "your own, by import paths with spaces between: torchmetrics classes, or functions of (outputs, targets)",
    ),
    "baseline": (str | None, "a recipe file to compare with; by default the first option of every slot at its defaults"),
    "root": (str, "where the studies' folders stand"),
    "split.validation": (float, "share of the examples that the search is judged on"),
    "split.test": (float, "share that is opened once, by the verdict"),
    "split.seed": (int, "which examples fall into which part"),
    "split.stratify": (bool, "the same share of each class in every part"),
    "split.normalise": (bool, "tables to mean 0 and variance 1, as measured on the training part"),
    "split.column": (str | None, "a column of the data that says train, val or test"),
    "split.group": (str | None, "a column of the data; examples with one value of it stay in one part"),
    "split.time": (str | None, "a column of the data; the latest examples test, those before them validate"),
    "split.folds": (int | None, "cross-validation: a trial's value is the mean over so many folds of what does not test"),
    "batches.size": (int | None, "examples a step; null: as the user's data module has it, else 64; half, double: relative to that"),
    "batches.accumulate": (int, "batches whose gradients make one step"),
    "batches.sampler": (str | None, "balanced: each class is drawn equally often"),
    "batches.cache": (str, "where examples are kept that are read from files: memory (where they fit), disk, none"),
    "batches.workers": (int, "threads that read batches ahead, where they are read from files"),
    "batches.prefetch": (int, "batches that each of them has ready"),
    "study.trials": (int, "trials of the search, the baseline among them"),
    "study.time": (str | None, "wall time, such as 8h or 30m; about a fifth of it is kept for confirm"),
    "study.epochs": (int, "epochs of a full training"),
    "study.stopping": (bool, "stop the worse half at a third of their epochs, and again at two thirds"),
    "study.confirm": (int, "at most so many of the best are trained anew, beside the baseline"),
    "study.seeds": (int, "fresh seeds for each of them"),
    "study.compress": (int, "compressions that are tried on the best, where any is selected"),
    "executor.workers": (int | None, "trials at a time; by default as many as the processors, and the GPUs, have room for"),
    "executor.gpus_per_trial": (float, "0.5: two trials share one"),
    "executor.cpus_per_trial": (int, "torch threads of each process of a trial"),
    "executor.trial_time": (str | None, "a trial that takes longer is stopped, such as 1h or 90s"),
    "tracking.enabled": (bool, "mirror the runs to MLflow"),
    "tracking.uri": (str | None, "by default MLFLOW_TRACKING_URI, else sqlite:///mlflow.db here"),
    "tracking.experiment": (str | None, "by default MLFLOW_EXPERIMENT_NAME, else the study's name"),
}
SEARCHED = {"batches.size": 64, "batches.accumulate": 1, "batches.sampler": None}
"""Settings that a search may choose, with the value of the baseline."""
RELATIVE = {"batches.size": ("half", "double")}
"""Words that a setting takes beside values of its type."""
ONE_OF = {"batches.sampler": (None, "balanced"), "batches.cache": ("memory", "disk", "none")}
"""Settings that take certain words only."""
AT_LEAST = {
    **dict.fromkeys(
        ("study.trials", "study.epochs", "study.confirm", "study.seeds", "executor.workers", "executor.cpus_per_trial", "batches.size"), 1
    ),
    "batches.accumulate": 1,
    "batches.prefetch": 1,
    "batches.workers": 0,
    "split.folds": 2,
    "study.compress": 0,
}
DURATION = "expected a duration such as 8h, 1h30m or 90s"


def seconds(text: str | float | None) -> float | None:
    """A duration such as `8h`, `30m`, `1h30m` or `90s` (a bare number: seconds) in seconds.

    Raises:
        ValueError: it is none.
    """
    if text is None:
        return None
    found = re.fullmatch("".join(rf"(?:(\d+(?:\.\d+)?){unit})?" for unit in ("d", "h", "m", "s?")), str(text).replace(" ", ""))
    if not found or not any(found.groups()):
        raise ValueError(DURATION)
    return sum(float(n or 0) * unit for n, unit in zip(found.groups(), (86400, 3600, 60, 1), strict=True))
