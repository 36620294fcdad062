"""The settings beside the slots: their types, and what they are for."""

import re
from typing import Any

from autoopt.domain import Bounds

BATCH_SIZE = 64
"""By default, and of data that bring none; `batches.scale_lr` takes it for that of the learning rates."""
SETTINGS: dict[str, tuple[Any, str]] = {
    "name": (str | None, "the study's name; by default made from the data, the model and the space"),
    "seed": (int, "every other seed is derived from it"),
    "objective": (
        str | None,
        "a metric that is measured or logged, such as val_accuracy, val_f1, val_rmse; by default that of the task. Several, as in "
        "objective=[val_accuracy,latency_ms], give a Pareto front; the first decides",
    ),
    "direction": (str | None, "maximize or minimize, for each objective; needed only where a metric's name does not tell it"),
    "metrics": (
        str | None,
        "your own metrics as import paths, separated by spaces: torchmetrics classes, or functions of (outputs, targets)",
    ),
    "baseline": (str | None, "a recipe file to compare with; by default the first option of every slot at its defaults"),
    "root": (str, "the folder that holds the studies' folders"),
    "split.validation": (float, "share of the examples for validation, by which the search chooses"),
    "split.test": (float, "share of the examples for the test, which only the verdict uses"),
    "split.seed": (int, "seed of the random split"),
    "split.stratify": (bool, "the same share of each class in every part"),
    "split.normalise": (bool, "scale tables and sequences by feature and images by channel: mean 0 and deviation 1 on the training part"),
    "split.column": (str | None, "a column with the part of each example: train, val or test"),
    "split.group": (str | None, "a column; examples with the same value stay in one part"),
    "split.time": (str | None, "a column; the latest examples are the test split, those before them the validation split"),
    "split.folds": (int | None, "cross-validation: a trial's score is the mean over so many folds of the examples outside the test split"),
    "batches.size": (int | None, "examples in a batch; null: as the user's data module sets it, else 64; half, double: relative to that"),
    "batches.scale_lr": (str, "none, sqrt or linear: learning rates are those of 64 examples a step, and grow with their number like this"),
    "batches.accumulate": (int, "batches whose gradients are summed up for one optimizer step"),
    "batches.sampler": (str | None, "balanced: each class is drawn equally often"),
    "batches.cache": (str, "where examples that were read from files are kept: memory (if they fit), disk, none"),
    "batches.workers": (int, "threads that read batches from files ahead of the training"),
    "batches.prefetch": (int, "batches that each of these threads keeps ready"),
    "trainer.gradient_clip_val": (float | None, "clip the gradients of each step at this value"),
    "trainer.gradient_clip_algorithm": (str | None, "norm: their norm together; value: each of them"),
    "trainer.accumulate_grad_batches": (int | None, "batches whose gradients are summed up for one optimizer step"),
    "trainer.callbacks": (str | None, "import path of a function or a list that gives callbacks; several with spaces between"),
    "trainer.precision": (str | None, "such as bf16-mixed, where the device technique has no precision of its own"),
    "trainer.val_check_interval": (int | float | None, "validate so often: batches, or a share (0.25) of an epoch"),
    "trainer.check_val_every_n_epoch": (int | None, "validate at the end of every so many epochs"),
    "trainer.limit_train_batches": (int | float | None, "training batches of an epoch, or their share"),
    "trainer.limit_val_batches": (int | float | None, "validation batches, or their share"),
    "trainer.limit_test_batches": (int | float | None, "test batches, or their share"),
    "trainer.overfit_batches": (int | float | None, "train and validate on so many batches, or on this share"),
    "trainer.min_epochs": (int | None, "epochs before a callback may stop the training"),
    "trainer.num_sanity_val_steps": (int | None, "validation batches before the training; null: none"),
    "trainer.reload_dataloaders_every_n_epochs": (int | None, "make the loaders anew after so many epochs"),
    "trainer.deterministic": (bool | str | None, "true, false or warn: use deterministic algorithms"),
    "trainer.benchmark": (bool | None, "let cuDNN choose the fastest algorithms"),
    "trainer.detect_anomaly": (bool | None, "look for the operation that makes a gradient nan"),
    "trainer.inference_mode": (bool | None, "true: measure in inference mode, in which no step can compute gradients"),
    "study.trials": (int, "trials of the search, the baseline among them"),
    "study.time": (str | None, "wall time, such as 8h or 30min; about a quarter of it is kept for confirm and the ablation"),
    "study.trainings": (float | None, "the search begins no trial after so many whole trainings' worth of epochs"),
    "study.patience": (int | None, "the search ends when so many trials in a row were no better than the best; null: it does not"),
    "study.epochs": (int, "epochs of a full training"),
    "study.value": (str, "last: the last epoch of a training counts; best: its best one, whose weights are kept"),
    "study.stopping": (bool, "stop bad trials at the strategy's rungs, by default at a ninth and at a third of their epochs"),
    "study.start": (str | None, "recipes to try first: files, studies (their winners) or NAME/17; what a file lacks is as in the baseline"),
    "study.compare": (
        str | None,
        "compare the options of a slot: equally many trials on the same seeds, the best of each on 5 or more fresh seeds",
    ),
    "study.from": (str | None, "a study of the same root whose trials this one takes over, as far as they lie in its space"),
    "study.memory": (bool, "first try the best recipes of the latest studies of the same root with the same objective"),
    "study.confirm": (int, "the greatest number of candidates that race on fresh seeds"),
    "study.seeds": (int, "fresh seeds for the comparison of the winner with the baseline"),
    "study.ablation": (bool, "train the winner without parts of it: a tenth of the trials, but at least ten trainings, if it wins"),
    "study.compress": (int, "trials of the compress stage, if a compression is selected"),
    "executor.workers": (int | None, "trials at a time; by default as many as processors and GPUs have room for"),
    "executor.gpus_per_trial": (float, "GPUs of each trial; 0.5: two trials share a GPU"),
    "executor.cpus_per_trial": (int, "torch threads of each process of a trial"),
    "executor.trial_time": (str | None, "time limit of a trial, such as 1h or 90s"),
    "executor.checkpoint": (str | None, "wall time between two checkpoints, from which a trial that is run again goes on; null: none"),
    "executor.retries": (int, "how often a trial is run again after a fault of the machine, unless it came further since the last one"),
    "executor.keep": (str | None, "rung: a trial that a rung stops keeps a checkpoint, so that a strategy can continue it; null: none"),
    "tracking.enabled": (bool, "mirror the runs to MLflow"),
    "tracking.uri": (str | None, "by default MLFLOW_TRACKING_URI, else sqlite:///mlflow.db here"),
    "tracking.experiment": (str | None, "by default MLFLOW_EXPERIMENT_NAME, else the study's name"),
}
CONSTRAINTS = "constraints"
"""Settings below this one bound a metric each: `constraints.latency_ms=2`."""
ABOUT = {key: about for key, (_, about) in SETTINGS.items()} | {
    f"{CONSTRAINTS}.METRIC": "the most that a metric may be where less is better, else the least: constraints.latency_ms=2"
}
WORDS = ("objective", "direction", "metrics", "trainer.callbacks", "study.start")
"""Settings of several words, which may be given as a list, too."""
SEARCHED = {
    "batches.size": BATCH_SIZE,
    "batches.scale_lr": "none",
    "batches.accumulate": 1,
    "batches.sampler": None,
    **dict.fromkeys(
        (
            "trainer.gradient_clip_val",
            "trainer.gradient_clip_algorithm",
            "trainer.accumulate_grad_batches",
            "trainer.precision",
            "trainer.val_check_interval",
            "trainer.check_val_every_n_epoch",
            "trainer.limit_train_batches",
            "trainer.min_epochs",
        )
    ),
}
"""Settings that a search may choose, with the value of the baseline."""
OWNED = {
    **dict.fromkeys(("max_epochs", "max_steps", "min_steps"), "study.epochs=…"),
    "max_time": "executor.trial_time=… or study.time=…",
    **dict.fromkeys(("logger", "log_every_n_steps", "enable_autolog_hparams", "model_registry"), "tracking.enabled=…, tracking.uri=…"),
    **dict.fromkeys(("devices", "accelerator", "strategy", "num_nodes", "plugins", "sync_batchnorm"), "device=…"),
    "use_distributed_sampler": "device=…",
    "enable_checkpointing": "trainer.callbacks=… with a ModelCheckpoint",
    **dict.fromkeys(("enable_progress_bar", "enable_model_summary", "profiler", "barebones", "fast_dev_run"), "autoopt plan …"),
    "limit_predict_batches": "trainer.limit_val_batches=… or trainer.limit_test_batches=…",
    "default_root_dir": "root=…",
}
"""Arguments of Lightning's Trainer that are autoopt's own, each with what to give instead."""
RELATIVE = {"batches.size": ("half", "double")}
"""Words that a setting takes beside values of its type."""
PRECISIONS = ("16", "32", "64", "bf16", "16-true", "32-true", "64-true", "bf16-true", "16-mixed", "bf16-mixed")
SCALE_LR = {"none": 0.0, "sqrt": 0.5, "linear": 1.0}
"""With which power of the number of examples in a step the learning rates grow."""
ONE_OF: dict[str, tuple[Any, ...]] = {
    "study.value": ("last", "best"),
    "executor.keep": (None, "rung"),
    "batches.scale_lr": (*SCALE_LR,),
    "batches.sampler": (None, "balanced"),
    "batches.cache": ("memory", "disk", "none"),
    "trainer.gradient_clip_algorithm": (None, "norm", "value"),
    "trainer.precision": (None, *PRECISIONS),
    "trainer.deterministic": (None, True, False, "warn"),
}
"""Settings that take certain words only."""
BOUNDS = {
    **dict.fromkeys(
        ("study.trials", "study.epochs", "study.confirm", "study.seeds", "executor.workers", "executor.cpus_per_trial", "batches.size"),
        Bounds(1),
    ),
    "study.patience": Bounds(1),
    "study.trainings": Bounds(1),
    "batches.accumulate": Bounds(1),
    "batches.prefetch": Bounds(1),
    "batches.workers": Bounds(0),
    "split.folds": Bounds(2),
    "study.compress": Bounds(0),
    "executor.retries": Bounds(0),
    **dict.fromkeys((f"trainer.limit_{part}_batches" for part in ("train", "val", "test")), Bounds(0)),
    **dict.fromkeys(("trainer.gradient_clip_val", "trainer.overfit_batches", "trainer.reload_dataloaders_every_n_epochs"), Bounds(0)),
    **dict.fromkeys(("trainer.accumulate_grad_batches", "trainer.check_val_every_n_epoch", "trainer.min_epochs"), Bounds(1)),
    "trainer.num_sanity_val_steps": Bounds(-1),
}
"""The numbers that settings can mean."""
DURATIONS = ("study.time", "executor.trial_time", "executor.checkpoint")
"""Settings that are lengths of time."""
DURATION = "expected a time above 0 in d, h, min or s, such as 5min, 2h, 90s or 1h30m"
UNITS = {"d": 86400, "h": 3600, "m(?:in)?": 60, "s": 1}


def seconds(text: str | None) -> float | None:
    """A duration such as `8h`, `30min`, `1h30m` or `90s` in seconds; a bare number has no unit, and so is none.

    Raises:
        ValueError: the text is not a duration.
    """
    if text is None:
        return None
    parts = re.fullmatch("".join(rf"(?:(\d+(?:\.\d+)?){unit})?" for unit in UNITS), text.replace(" ", ""))
    if not parts or not any(parts.groups()):
        raise ValueError(DURATION)
    return sum(float(n or 0) * unit for n, unit in zip(parts.groups(), UNITS.values(), strict=True))
