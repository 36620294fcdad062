"""Measures a trained model: its quality on a part of the data, and its costs."""

import traceback
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from inspect import signature
from math import isclose
from typing import Any

import lightning.pytorch as L
import torch
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from torch.nn.parameter import is_lazy
from torch.utils._pytree import tree_leaves

from autoopt.data.feed import Feed
from autoopt.data.loaders import drawn_alike
from autoopt.data.parts import named_on_test, on_test
from autoopt.deployment.compress import deployed_network
from autoopt.domain import Unavailable
from autoopt.errors import NonFinite, TechniqueError, machine_fault, out_of_memory, summary
from autoopt.module.applied import applied_to
from autoopt.module.hooks import overridden
from autoopt.module.net import Net
from autoopt.module.tuned import Tuned, made_before, on_device_in_float32
from autoopt.module.weights import as_they_are
from autoopt.orders import Order
from autoopt.process.endings import classify
from autoopt.trial import metrics
from autoopt.trial.by_batch import ByBatch

TAKES_OTHERS = (TypeError, ValueError, LookupError, AttributeError, AssertionError, RuntimeError, MisconfigurationException)
"""What a module may raise whose `forward` takes something else than the inputs of a batch, or works only within a training."""

MEASURING_SEED = 0
"""The seed of a shuffled loader: all models are measured on the same batches, so that resamples of them can be compared."""
ALIKE = 0.1
"""By which share two values of a metric may differ that a module's validation and its test give for the same batches."""


@dataclass(frozen=True)
class Measured:
    """Metrics by name; of a test part also the objective on resamples of it, and of how many units (examples, groups, batches)."""

    metrics: dict[str, float]
    resamples: list[float] = field(default_factory=list)
    units: int = 0


def measured(trainer: L.Trainer, module: Tuned, feed: Feed, order: Order, part: str = "validation", fresh: bool = False) -> Measured:
    """Measure the network that would be deployed now on a part of the data.

    Args:
        fresh: the module has just been trained and validated, so that the metrics of its last epoch hold.
    """
    with drawn_alike(MEASURING_SEED):
        if isinstance(module, Net):
            quality = measure_quality(trainer, module, feed, part, order.objective)
        else:
            quality = Measured({}) if fresh and part == "validation" else own_quality(trainer, module, feed, part, order.objective)
    model, timed = deployed_network(module), {}
    if order.latency and (inputs := inputs_to_time(module, feed)) is not None:
        timed = metrics.latency(model, *inputs) | metrics.operations(model, *inputs)
    return Measured(quality.metrics | timed | metrics.size(model), quality.resamples, quality.units)


def inputs_to_time(module: Tuned, feed: Feed) -> tuple[Tensor, ...] | None:
    """Inputs by which a model is timed; none, and a line in the log, where a user's `forward` does not take those of a batch."""
    try:
        return inputs_of(module, feed, 1)
    except Unavailable as error:
        print(f"{type(module).__name__} is not timed: {error}")
        return None


def inputs_of(module: Tuned, feed: Feed, count: int | None = None) -> tuple[Tensor, ...]:
    """What the network takes, one tensor or several, of a batch of the validation part.

    Args:
        count: of examples to try it on.

    Raises:
        Unavailable: a user's `forward` does not take the inputs of a batch.
    """
    if isinstance(module, Net):
        return (feed.example("validation").to(module.device),)
    if not overridden("forward", module):
        raise Unavailable("it has no forward")
    try:
        inputs = tuple(value.to(module.device) for value in taken(module, feed.batch("validation")))
        with torch.no_grad():
            deployed_network(module).eval()(*(value[:count] for value in inputs))
    except TAKES_OTHERS as error:
        if isinstance(error, torch.AcceleratorError) or out_of_memory(error) or machine_fault(error):
            raise
        raise Unavailable(f"its forward does not work on the inputs of a batch alone ({summary(error)})") from error
    return inputs


def taken(module: L.LightningModule, batch: Any) -> Sequence[Any]:
    """The values of a batch that a user's `forward` takes: those of its names in a mapping, else as many of the first as it requires.

    All of a sequence are not taken, since it ends with the targets. A batch that is a tensor is taken as a whole.
    """
    if isinstance(batch, Tensor):
        return [batch]
    _, *parameters = signature(type(module).forward).parameters.values()  # the author's: a compressed network stands for it on the object
    names = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) and p.default is p.empty]
    if isinstance(batch, Mapping):
        return [batch[name] for name in names]
    return [batch[place] for place in range(len(names) if 0 < len(names) < len(batch) else 1)]


@torch.no_grad()
def outputs_of(module: Tuned, feed: Feed) -> list[Tensor] | None:
    """The tensors that the network gives for a batch of the validation part; none where it does not take the inputs of one."""
    try:
        outputs = deployed_network(module).eval()(*inputs_of(module, feed))
    except Unavailable:
        return None
    return [leaf for leaf in tree_leaves(outputs) if isinstance(leaf, Tensor)]


def check_finite(module: Tuned, feed: Feed) -> None:
    """Raise NonFinite where a weight is NaN or infinite, or an output NaN."""
    check_weights(module)
    if any(output.isnan().any() for output in outputs_of(module, feed) or ()):
        raise NonFinite("the model's outputs are nan")


def check_weights(module: nn.Module) -> None:
    """Raise NonFinite where a parameter is NaN or infinite."""
    for name, parameter in module.named_parameters():
        local = parameter.to_local() if isinstance(parameter, DTensor) else parameter
        if not is_lazy(local) and not local.isfinite().all():
            raise NonFinite(f"the weights {name} are not finite")


def measure_quality(trainer: L.Trainer, net: Net, feed: Feed, part: str, objective: str | None) -> Measured:
    """All of our own metrics of a plain network on a part."""
    if (batches := feed.held_out(part)) is None:
        return Measured({})
    outputs, targets = net.predict(batches, trainer)
    prefix = {"validation": "val", "test": "test"}[part]
    values = {f"{prefix}_{k}": v for k, v in judged(net, outputs, targets, metric_names(net)).items()}
    name = metric_name(objective)
    if part != "test" or name not in metric_names(net):
        return Measured(values)
    groups = None if feed.groups is None else feed.groups.unique(return_inverse=True)[1]
    return Measured(values, *metrics.on_resamples(lambda some, theirs: judged(net, some, theirs, [name])[name], outputs, targets, groups))


def metric_names(net: Net) -> tuple[str, ...]:
    """The metrics that a plain network is judged by: ours, and the user's."""
    return (*metrics.METRICS[net.kind], *net.metrics)


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
    """What a user's module logs in its validation steps on a part; nothing where it has none.

    On the test part, what its test steps log counts where that has the objective: an author may test in another way. Where it is seen
    that they do, by a metric that both steps log, a validation of the test part means nothing: its targets may be scaled otherwise.

    Raises:
        TechniqueError: a compressed network stands for its `forward`, which its validation does not go through.
    """
    model, calls, found = deployed_network(module), list[None](), Measured({})
    loader = feed.held_out(part)
    handle = model.register_forward_pre_hook(lambda *_: calls.append(None))
    try:
        if loader is not None and overridden("validation_step", module):
            data = feed.to_measure(loader)
            if part == "test":
                found = tested_by_author(trainer, module, data, objective)
            if model is not module and not calls:
                found = Measured({})  # of the network before its compression
            if on_test(objective or "") not in found.metrics:
                validated = logged(trainer, module, data, part, objective)
                if difference := another_way(found.metrics, validated.metrics):
                    applied_to(module).notes.append(f"{type(module).__name__} is tested in another way than it is validated: {difference}")
                else:
                    found = replace(validated, metrics=validated.metrics | found.metrics)
    finally:
        handle.remove()
    if model is not module and not calls:
        technique, _ = applied_to(module).chosen.of("compression")[-1]
        reason = "the module has no validation_step that calls its forward, in whose place a compressed network stands"
        raise TechniqueError("compression", technique.name, reason, unavailable=True)
    return found


def tested_by_author(trainer: L.Trainer, module: Tuned, data: dict[str, Any], objective: str | None) -> Measured:
    """What a user's module logs in its test steps; nothing where it has none, and with a note where they fail."""
    if not overridden("test_step", module):
        return Measured({})
    try:
        return logged(trainer, module, data, "test", objective, by_test=True)
    except Exception as error:
        if (problem := classify(error)).reason != "error":
            raise
        traceback.print_exc()
        failed = f"the test of {type(module).__name__} fails ({problem.detail})"
        applied_to(module).notes.append(f"{failed}: the test split is measured by its validation_step instead")
        return Measured({})


def another_way(tested: Mapping[str, float], validated: Mapping[str, float]) -> str:
    """How a module's test measures in another way than its validation of the same batches, and what then is not measured; or empty."""
    unlogged = ", ".join(name for name in validated if name not in tested)
    for name in tested.keys() & validated.keys():
        if unlogged and not isclose(tested[name], validated[name], rel_tol=ALIKE):
            seen = f"{name} is {tested[name]:.4g} by its test, and {validated[name]:.4g} by its validation of the same batches"
            return f"{seen}; so {unlogged}, which its test does not log, cannot be measured on the test split"
    return ""


def logged(trainer: L.Trainer, module: Tuned, data: dict[str, Any], part: str, objective: str | None, by_test: bool = False) -> Measured:
    """What a user's module logs in an epoch of its validation, or of its test.

    Args:
        data: the arguments of the Trainer that give the loader.
    """
    by_batch = ByBatch(objective if part == "test" else None)
    trainer.callbacks.append(by_batch)  # type: ignore[attr-defined]
    run, loop = (trainer.test, trainer.test_loop) if by_test else (trainer.validate, trainer.validate_loop)
    loop._results.clear()  # of another part, which may have another number of loaders
    try:
        with made_before(module, tested=by_test), limit_of(trainer, part), as_they_are(trainer, module), drawn_alike(MEASURING_SEED):
            run(module, **data, verbose=False)
    finally:
        on_device_in_float32(module, trainer)
        trainer.callbacks.remove(by_batch)  # type: ignore[attr-defined]
    values = {name: float(value) for name, value in trainer.callback_metrics.items() if value.numel() == 1}
    return Measured(named_on_test(values) if part == "test" else values, *by_batch.resamples())


@contextmanager
def limit_of(trainer: L.Trainer, part: str) -> Iterator[None]:
    """Let a validation that measures the test part go through as many batches as a test would."""
    limit = trainer.limit_val_batches
    trainer.limit_val_batches = trainer.limit_test_batches if part == "test" else limit
    try:
        yield
    finally:
        trainer.limit_val_batches = limit


def metric_name(objective: str | None) -> str:
    """Our own name for the metric that the objective names."""
    return (objective or "").removeprefix("val_")
