"""What is measured when a model stands: its quality on a part of the data, and its costs."""

from collections.abc import Iterable
from dataclasses import dataclass, field

import lightning.pytorch as L
import torch
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from torch import Tensor

from autoopt.data.feed import Feed, overridden
from autoopt.data.parts import on_test
from autoopt.deployment.compress import deployed_network
from autoopt.errors import TechniqueError, machine_fault, out_of_memory
from autoopt.module.applied import applied_to
from autoopt.module.net import Net
from autoopt.module.tuned import Tuned
from autoopt.orders import Order
from autoopt.trial import metrics
from autoopt.trial.by_batch import ByBatch

TAKES_OTHERS = (TypeError, ValueError, LookupError, AttributeError, AssertionError, RuntimeError, MisconfigurationException)
"""What a module may raise whose `forward` takes anything else than the inputs of a batch, or works within a training alone."""


@dataclass(frozen=True)
class Measured:
    """Metrics by name; of a test part also the objective on resamples of it, and of how many units (examples, groups, batches)."""

    metrics: dict[str, float]
    resamples: list[float] = field(default_factory=list)
    units: int = 0


def measured(trainer: L.Trainer, module: Tuned, feed: Feed, order: Order, part: str = "validation", fresh: bool = False) -> Measured:
    """What would be deployed now, on a part of the data.

    Args:
        fresh: this very module was trained just now, so that the validation of its last epoch holds.
    """
    if isinstance(module, Net):
        found = measure_quality(trainer, module, feed, part, order.objective)
    else:
        found = Measured({}) if fresh and part == "validation" else own_quality(trainer, module, feed, part, order.objective)
    model, timed = deployed_network(module), {}
    if order.latency and (inputs := inputs_to_time(module, feed)) is not None:
        timed = metrics.latency(model, inputs) | metrics.operations(model, inputs)
    return Measured(found.metrics | timed | metrics.size(model), found.resamples, found.units)


def inputs_to_time(module: Tuned, feed: Feed) -> Tensor | None:
    """Inputs by which a model is timed; none, and a line in the log, where a user's `forward` does not take those of a batch."""
    if isinstance(module, Net):
        return feed.example("validation").to(module.device)
    name = type(module).__name__
    if not overridden("forward", module, L.LightningModule):
        print(f"{name} is not timed: it has no forward")
        return None
    try:
        inputs = feed.example("validation").to(module.device)
        with torch.no_grad():
            deployed_network(module).eval()(inputs[:1])
    except TAKES_OTHERS as error:
        if isinstance(error, torch.AcceleratorError) or out_of_memory(error) or machine_fault(error):
            raise
        print(f"{name} is not timed: its forward does not work on the inputs of a batch alone ({type(error).__name__}: {error})")
        return None
    return inputs


def measure_quality(trainer: L.Trainer, net: Net, feed: Feed, part: str, objective: str | None) -> Measured:
    """All of our own metrics of a plain network on a part."""
    if (batches := feed.held_out(part)) is None:
        return Measured({})
    outputs, targets = net.predict(batches, trainer)
    prefix = {"validation": "val", "test": "test"}[part]
    found = {f"{prefix}_{k}": v for k, v in judged(net, outputs, targets, metric_names(net)).items()}
    name = metric_name(objective)
    if part != "test" or name not in metric_names(net):
        return Measured(found)
    groups = feed.task.groups
    if groups is not None:  # of a try-out those of the first examples
        groups = groups[: len(targets)].unique(return_inverse=True)[1]
    return Measured(found, *metrics.resampled(lambda some, theirs: judged(net, some, theirs, [name])[name], outputs, targets, groups))


def metric_names(net: Net) -> tuple[str, ...]:
    """The metrics that a plain network is judged by: ours, and the user's."""
    ours = metrics.CLASSIFICATION if net.kind == "classification" else metrics.REGRESSION
    return (*ours, *net.metrics)


def judged(net: Net, outputs: Tensor, targets: Tensor, names: Iterable[str]) -> dict[str, float]:
    """The named metrics of outputs and targets; one of the user's own stands before ours of that name.

    The loss is that of the scaled targets, as the loss that was trained on is; all others are in the units of the data.
    """
    theirs = {name: metrics.by(name, net.metrics[name], outputs, targets) for name in names if name in net.metrics}
    ours = [name for name in names if name not in theirs]
    scaled = (outputs, targets) if net.scale is None else (net.scale.apply(outputs), net.scale.apply(targets))
    loss = metrics.quality_metrics(net.kind, *scaled, ["loss"] if "loss" in ours else [])
    return metrics.quality_metrics(net.kind, outputs, targets, [name for name in ours if name != "loss"]) | loss | theirs


def own_quality(trainer: L.Trainer, module: Tuned, feed: Feed, part: str, objective: str | None) -> Measured:
    """What a user's module logs in its validation steps on a part.

    Raises:
        TechniqueError: a compressed network stands for its `forward`, which its validation does not go through.
    """
    if (loader := feed.held_out(part)) is None:
        return Measured({})
    model, calls = deployed_network(module), list[None]()
    handle = model.register_forward_pre_hook(lambda *_: calls.append(None))
    by_batch = ByBatch(objective if part == "test" else None)
    trainer.callbacks.append(by_batch)  # type: ignore[attr-defined]
    found = trainer.validate(module, **feed.to_validate(loader), verbose=False)
    trainer.callbacks.remove(by_batch)  # type: ignore[attr-defined]
    handle.remove()
    if model is not module and not calls:
        technique, _ = applied_to(module).chosen.of("compression")[-1]
        reason = "the module's validation_step does not call its forward, in whose place a compressed network stands"
        raise TechniqueError("compression", technique.name, reason, unavailable=True)
    values = {on_test(k) if part == "test" else k: float(v) for logged in found for k, v in logged.items()}
    return Measured(values, *by_batch.resamples())


def metric_name(objective: str | None) -> str:
    """Our own name for the metric that the objective names."""
    return (objective or "").removeprefix("val_")
