"""What a trial's run in MLflow is called, and its parameters and metrics, under the names that people look for there."""

from collections.abc import Iterator, Mapping
from math import log10
from typing import Any

from autoopt.recipe import Recipe
from autoopt.records.record import Record
from autoopt.records.stages import SEARCH, TEST
from autoopt.space import Space
from autoopt.space.condition import ALWAYS

SHORT = ("lr", "weight_decay")
"""Arguments that most optimizers have: a parameter and a figure show each as one value, whichever optimizer has it."""
MEASURED_IN_TRAINING = ("epochs_trained", "seconds", "samples_per_second", "peak_memory_mb", "peak_gpu_memory_mb", "parameters", "size_mb")
COLUMNS = 8
"""The greatest number of parameters in the leaderboard."""


def run_name(key: str, title: str) -> str:
    """A name that sorts by the trial's number, such as `012 adamw cosine mixup`."""
    return f"{key.zfill(3) if key.isdigit() else key} {title}"


def parameters(recipe: Recipe) -> dict[str, Any]:
    """The techniques by slot, short names to filter by, and every value under its dotted key."""
    flat = recipe.flat()
    short = {short_name(key): value for key, value in flat.items() if key.rpartition(".")[2] in SHORT and key.startswith("optimizer.")}
    return {**recipe.names(), **short, "batch_size": recipe.tree["batches"]["size"], **flat}


def short_name(key: str) -> str:
    """The parameter that shows a searched value: a slot's techniques, or a value under a short name if it has one."""
    head, _, last = key.partition(".")[0], *key.rpartition(".")[1:]
    if key == head or last == "use":
        return head
    if key == "batches.size":
        return "batch_size"
    return last if head == "optimizer" and last in SHORT else key


def searched_parameters(space: Space) -> list[str]:
    """The parameters that a search chooses: first techniques and what has a short name, then values that every trial has."""
    domains = space.without_compression().domains()
    names = dict.fromkeys(short_name(domain.key) for domain in domains)
    always = {domain.key for domain in domains if domain.condition == ALWAYS}
    return [name for name in sorted(names, key=lambda name: "." in name) if "." not in name or name in always][:COLUMNS]


def final_metrics(record: Record) -> dict[str, float]:
    """The metrics of a trial that are not measured in each epoch; none where it failed."""
    return {} if record.state == "failed" else {name: value for name, value in record.metrics.items() if name not in record.curves}


def epoch_rows(curves: Mapping[str, list[Any]]) -> Iterator[tuple[int, dict[str, float]]]:
    """The metrics of each epoch, from columns."""
    for place, epoch in enumerate(curves.get("epoch", ())):
        yield epoch, {name: values[place] for name, values in curves.items() if name != "epoch" and values[place] is not None}


def compressed_metrics(record: Record) -> dict[str, float]:
    """What a compression has changed in the metrics of the epochs. Without one they differ only where another epoch than the last counts,
    or the mean over folds: `objective` tells that."""
    curves = record.curves if record.recipe["compression"] and record.state != "failed" else {}
    ends = {name: curve[-1] for name, curve in curves.items() if curve[-1] is not None and name in record.metrics}
    return {name: record.metrics[name] for name, end in ends.items() if record.metrics[name] != end}


def measured_on_test(record: Record) -> dict[str, float]:
    """The metrics of a measurement that are not the training's own."""
    return {name: value for name, value in final_metrics(record).items() if name not in MEASURED_IN_TRAINING}


def training_of(record: Record) -> str:
    """The key of the training that a measurement on the test part belongs to."""
    return record.key.removesuffix(TEST.key.removeprefix("{}"))


def for_charts(record: Record) -> dict[str, float]:
    """The number of a trial of the search, and the logarithm of its learning rate: MLflow's charts have no such axes of their own."""
    if record.stage != SEARCH.name:
        return {}
    rate = parameters(record.point).get("lr")
    axis = {"log10_lr": log10(rate)} if isinstance(rate, int | float) and rate > 0 else {}
    return {"trial": float(record.key), **axis}
