"""Cross-validation: a recipe is trained on each fold of the data in turn, and judged by the mean over them."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from autoopt.data.parts import on_test
from autoopt.trial import Report
from autoopt.trial.world import World

Train = Callable[[World, dict[str, Any], Report], dict[str, Any]]
ADDED = ("seconds", "epochs_trained")
GREATEST = ("peak_memory_mb", "peak_gpu_memory_mb")


def trained_in_folds(train: Train, world: World, job: dict[str, Any], report: Report) -> dict[str, Any]:
    """What `train` comes to on the folds of the task; where there is one only, what it comes to on that.

    The epochs of the first fold are reported, so that like is stopped by like; the others then run through. Each fold keeps
    its own weights, of which the first one's are exported; all of them are measured on the same test part.

    Returns:
        the outcome of the first fold, with the means over the folds as its metrics, and `<objective>_std`.
    """
    outcomes = [train(world, of_fold(job, 0), report)]
    for i, task in enumerate(world.task.folds, 1):
        if outcomes[0]["stopped"]:
            break
        outcomes.append(train(replace(world, task=task, example=task.example()), of_fold(job, i), lambda *_: False))
    return outcomes[0] if len(outcomes) == 1 else combined(outcomes, job)


def of_fold(job: dict[str, Any], number: int) -> dict[str, Any]:
    """The job of one fold: its own weights; the stopwatch is for the first."""
    if not number:
        return job
    files = {key: str(fold_file(Path(job[key]), number)) for key in ("load", "save") if job.get(key)}
    return {**job, **files, "latency": False}


def fold_file(weights: Path, number: int) -> Path:
    """Where the weights of a fold stand beside those of the first."""
    return weights.with_name(f"{weights.stem}.fold{number + 1}{weights.suffix}")


def combined(outcomes: list[dict[str, Any]], job: Mapping[str, Any]) -> dict[str, Any]:
    all_metrics = [outcome["metrics"] for outcome in outcomes]
    names = all_metrics[0].keys()
    metrics = {name: over_folds(name, [found[name] for found in all_metrics if name in found]) for name in names}
    for name in [job["objective"], on_test(job["objective"])] if job.get("objective") else []:
        values = [found[name] for found in all_metrics if name in found]
        if len(values) > 1:
            metrics[f"{name}_std"] = stdev(values)
    drawn = [outcome["resamples"] for outcome in outcomes]
    resamples = [fmean(draw) for draw in zip(*drawn, strict=True)]
    return {**outcomes[0], "metrics": metrics, "seconds": sum(o["seconds"] for o in outcomes), "resamples": resamples}


def over_folds(name: str, values: list[float]) -> float:
    return sum(values) if name in ADDED else max(values) if name in GREATEST else fmean(values)
