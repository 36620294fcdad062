"""What a trial has to say when its model stands: the quality on a part, and the costs, before and after compression."""

from collections.abc import Iterable, Mapping
from contextlib import nullcontext, suppress
from typing import Any

import lightning.pytorch as L
from torch import Tensor

from autoopt.data.feed import Feed, overridden
from autoopt.data.parts import on_test
from autoopt.deployment.compress import network
from autoopt.errors import TechniqueError
from autoopt.module.net import Net
from autoopt.module.tuned import Tuned
from autoopt.trial import metrics

BEFORE = "uncompressed_"


Resamples = tuple[list[float], int]
"""Of the objective on the test part, and of how many independent units that has; none where it was not measured."""
NONE: Resamples = ([], 0)


def measured(trainer: L.Trainer, module: Tuned, feed: Feed, job: Mapping[str, Any], fitted: bool) -> tuple[dict[str, float], Resamples]:
    """The metrics of what would be deployed now, and resamples of the objective where a test split was measured.

    Args:
        fitted: this very module was trained just now, so that the validation of its last epoch holds.
    """
    model, part = network(module), job.get("part", "validation")
    if isinstance(module, Net):
        found, resamples = quality(trainer, module, feed, part, job.get("objective"))
    else:
        found, resamples = {} if fitted and part == "validation" else own_quality(trainer, module, feed, part), NONE
    if job.get("latency") and (isinstance(module, Net) or overridden("forward", module, L.LightningModule)):
        with nullcontext() if isinstance(module, Net) else suppress(Exception):  # what a user's forward takes is its own affair
            inputs = feed.example("validation").to(module.device)
            found |= metrics.latency(model, inputs) | metrics.operations(model, inputs)
    return found | metrics.size(model), resamples


def quality(trainer: L.Trainer, net: Net, feed: Feed, part: str, objective: str | None) -> tuple[dict[str, float], Resamples]:
    """All of our own metrics of a plain network on a part."""
    if (batches := feed.held_out(part)) is None:
        return {}, NONE
    outputs, targets = net.predict(batches, trainer)
    prefix = {"validation": "val", "test": "test"}[part]
    found = {f"{prefix}_{k}": v for k, v in judged(net, outputs, targets, known(net)).items()}
    name = followed(objective)
    if part != "test" or name not in known(net):
        return found, NONE
    return found, metrics.resampled(lambda some, theirs: judged(net, some, theirs, [name])[name], outputs, targets, feed.task.groups)


def known(net: Net) -> tuple[str, ...]:
    """The metrics that a plain network is judged by: ours, and the user's."""
    ours = metrics.CLASSIFICATION if net.kind == "classification" else metrics.REGRESSION
    return (*ours, *net.metrics)


def judged(net: Net, outputs: Tensor, targets: Tensor, names: Iterable[str]) -> dict[str, float]:
    """The named metrics of outputs and targets; one of the user's own stands before ours of that name.

    The loss is that of the scaled targets, as the loss that was trained on is; all others are in the units of the data.
    """
    theirs = {name: metrics.by(name, net.metrics[name], outputs, targets) for name in names if name in net.metrics}
    ours = [name for name in names if name not in theirs]
    scaled = (outputs, targets) if net.scale is None else (net.scale.apply(outputs.double()), net.scale.apply(targets.double()))
    loss = metrics.quality(net.kind, *scaled, ["loss"] if "loss" in ours else [])
    return metrics.quality(net.kind, outputs, targets, [name for name in ours if name != "loss"]) | loss | theirs


def own_quality(trainer: L.Trainer, module: Tuned, feed: Feed, part: str) -> dict[str, float]:
    """What a user's module logs in its validation steps on a part.

    Raises:
        TechniqueError: a compressed network stands for its `forward`, which its validation does not go through.
    """
    if (loader := feed.held_out(part)) is None:
        return {}
    model, calls = network(module), list[None]()
    handle = model.register_forward_pre_hook(lambda *_: calls.append(None))
    found = trainer.validate(module, **feed.to_validate(loader), verbose=False)
    handle.remove()
    if model is not module and not calls:
        technique, _ = module.chosen.of("compression")[-1]
        reason = "the module's validation_step does not call its forward, in whose place a compressed network stands"
        raise TechniqueError("compression", technique.name, reason, unavailable=True)
    return {on_test(k) if part == "test" else k: float(v) for logged in found for k, v in logged.items()}


def followed(objective: str | None) -> str:
    """Our own name for the metric that the objective names."""
    return (objective or "").removeprefix("val_")
