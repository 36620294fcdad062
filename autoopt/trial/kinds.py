"""What is done for each kind of order, on one fold of the data."""

import traceback
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from functools import partial
from math import isclose, nan
from typing import Any

from safetensors import SafetensorError

from autoopt.deployment.compress import apply_compressions, deploy, save, take_up
from autoopt.errors import StoreFault
from autoopt.module.applied import applied_to
from autoopt.module.groups import own_optimizers
from autoopt.module.hooks import overridden
from autoopt.module.net import Net
from autoopt.orders import BEFORE, Compress, Contrast, Measure, Outcome, Train, TryOut
from autoopt.process.endings import classify
from autoopt.recipe import Recipe
from autoopt.trial import metrics
from autoopt.trial.checkpoints import Checkpoints
from autoopt.trial.environment import environment_of
from autoopt.trial.fitting import begin, finetuned
from autoopt.trial.keeper import keeping
from autoopt.trial.measuring import Measured, check_finite, measured
from autoopt.trial.rehearsal import LOADING_TOLERANCE, difference, loaded, seeded_outputs, stored_and_loaded, with_untrained_module
from autoopt.trial.reporter import check_metrics
from autoopt.trial.training import Training, check_outputs, fitted


def run_try_out(training: Training, order: TryOut) -> Outcome | None:
    """Train on two batches, or take up stored weights, and rehearse the later stages on two batches of each part.

    They are: store, load, compress, measure.

    Returns:
        the outcome; nothing in a process whose outcome another rank reports.
    """
    if isinstance(training.module, Net):
        check_outputs(training.module, training.feed, training.trainer.strategy.root_device)
    whole: Training | None = training
    if order.weights:
        take_up_stored(training, order.weights)
    else:
        whole = fitted(training)
    if whole is None:
        return None
    measurement = measure_part(whole, fresh=whole.validated)
    whole = replace(stored_and_loaded(whole), order=replace(order, latency=False))
    validated = list(measure_part(whole).metrics)
    if applied_to(whole.module).chosen.of("compression"):
        measurement = compressed(whole, measurement)
        whole = stored_and_loaded(whole)
    tested, untested = measure_test_part(whole)
    whole = replace(whole, notes=tuple(dict.fromkeys((*whole.notes, *applied_to(whole.module).notes))))
    return replace(concluded(whole, measurement), tested=tested, validated=validated, untested=untested)


def run_contrast(training: Training, order: Contrast) -> Outcome:
    """Measure the same untrained weights by two modules.

    Raises:
        RuntimeError: the weights of one do not fit the other.
    """
    other = with_untrained_module(replace(training, order=replace(order, recipe=Recipe(order.other))))
    for each in (training, other):
        each.world.store.clear(order.key)
        begin(each.trainer, each.module, each.feed)
    other.module.load_state_dict(training.module.state_dict())
    outputs = [seeded_outputs(each) for each in (training, other)]
    if any(each is None for each in outputs) or difference(*outputs) > LOADING_TOLERANCE:  # type: ignore[arg-type]
        return Outcome()
    first, second = (measure_part(each).metrics for each in (training, other))
    differing = [name for name in first if not isclose(first[name], second.get(name, nan), rel_tol=LOADING_TOLERANCE)]
    return Outcome(validated=differing, scaled=scaled(training, other))


def scaled(ours: Training, theirs: Training) -> list[str]:
    """What differs by one factor in all groups of the authors' optimizers, `lr` or `weight_decay`; nothing if they cannot be made here."""
    if not applied_to(ours.module).chosen.asks("optimizer", "own"):
        return []
    try:
        optimizers = [own_optimizers(each.module.configure_optimizers()) for each in (ours, theirs)]
    except Exception:  # it may ask for what only a training has
        return []
    ones, others = ([group for optimizer in made for group in optimizer.param_groups] for made in optimizers)
    values = {key: [[float(group.get(key) or 0) for group in each] for each in (ones, others)] for key in ("lr", "weight_decay")}
    return [key for key, (before, after) in values.items() if differ_by_a_factor(before, after)]


def differ_by_a_factor(ones: list[float], others: list[float]) -> bool:
    """Whether the second values are the first ones times one number that is not 1."""
    factor = next((b / a for a, b in zip(ones, others, strict=False) if a), 1.0)
    alike = len(ones) == len(others) and all(isclose(a * factor, b) for a, b in zip(ones, others, strict=False))
    return alike and not isclose(factor, 1.0)


def run_train(training: Training, order: Train, checkpoints: Checkpoints | None = None) -> Outcome | None:
    """Train to the end, or until a rung stops it; compress where the recipe says so; measure.

    Args:
        checkpoints: where the training is kept on the way, and goes on; by default it is not kept.

    Returns:
        the outcome; nothing in a process whose outcome another rank reports.
    """
    with nullcontext() if checkpoints is None else keeping(checkpoints, training):
        whole = fitted(training)
    if whole is None:
        return None
    measurement = compressed(whole, measure_part(whole, fresh=whole.validated))
    if order.keep and not whole.reporter.stopped:
        store_weights(whole)
    return concluded(whole, measurement)


def run_measure(training: Training, order: Measure) -> Outcome:
    """Measure stored weights, compressed ones too, on a part of the data."""
    take_up_stored(training, order.weights)
    return concluded(training, measure_part(training, order.part))


def run_compress(training: Training, order: Compress) -> Outcome:
    """Compress stored weights, store the result and measure it."""
    take_up_stored(training, order.weights)
    measurement = compressed(training, measure_part(training))
    store_weights(training)
    return concluded(training, measurement)


def measure_part(training: Training, part: str = "validation", fresh: bool = False) -> Measured:
    return measured(training.trainer, training.module, training.feed, training.order, part, fresh)


def compressed(training: Training, before: Measured) -> Measured:
    """Compress the trained network as the recipe says, and measure it again; without compressions the measurement stays."""
    world, module, feed = training.world, training.module, training.feed
    if not applied_to(module).chosen.of("compression"):
        return before
    more: dict[str, Any] = {"recipe": training.order.recipe, "limit": training.limit, "folder": training.folder}
    finetune = partial(finetuned, module=module, task=world.task, feed=feed, **more)
    deploy(module, apply_compressions(module, world.task, world.example, feed, finetune))
    check_finite(module, feed)
    earlier, after = training.reporter.metrics | before.metrics, measure_part(training)
    both = {f"{BEFORE}{name}": earlier[name] for name in after.metrics.keys() & earlier.keys()}
    return replace(after, metrics=after.metrics | both)


def measure_test_part(training: Training) -> tuple[dict[str, float], str]:
    """The metrics of the test part, if there is one; and the reason if it cannot be measured."""
    module = training.module
    try:
        if training.feed.held_out("test") is None:
            return {}, ""
        if not isinstance(module, Net) and not overridden("validation_step", module):
            return {}, f"{type(module).__name__} has no validation_step"
        return measure_part(training, "test").metrics, ""
    except Exception as error:
        traceback.print_exc()
        return {}, classify(error).line


def concluded(training: Training, measurement: Measured) -> Outcome:
    """The outcome of an order.

    Raises:
        NonFinite: the objective or a loss is not finite.
    """
    reporter, module = training.reporter, training.module
    whole = reporter.metrics | measurement.metrics | costs(training)
    check_metrics(whole, training.order.objective)
    manual = not isinstance(module, Net) and not module.automatic_optimization
    return Outcome(
        metrics=whole,
        epochs=reporter.epochs,
        seconds=reporter.seconds,
        stopped=reporter.stopped,
        resamples=measurement.resamples,
        units=measurement.units,
        manual=manual,
        optimizers=training.optimizers,
        decays=training.decays,
        by_step=reporter.by_step,
        notes=list(training.notes),
        environment=environment_of(training.trainer.strategy.root_device),
    )


def costs(training: Training) -> dict[str, float]:
    """What the training has cost, if there was one."""
    reporter, parts = training.reporter, training.feed.parts
    if not reporter.epochs:
        return {}
    figures = {**metrics.peak_memory(), "epochs_trained": float(reporter.epochs), "seconds": reporter.seconds}
    if parts and reporter.seconds:
        figures["samples_per_second"] = len(parts["train"][1]) * reporter.epochs / reporter.seconds
    return figures


def take_up_stored(training: Training, key: str) -> None:
    """Give the module the weights of a trial, of this fold.

    Raises:
        StoreFault: they are damaged or gone, or cannot be read.
    """
    begin(training.trainer, training.module, training.feed)
    with blaming_store(f"the weights of trial {key} cannot be read"):
        take_up(training.module, training.world.store.intact_weights(key, training.fold))
    training.module.to(training.trainer.strategy.root_device)


def store_weights(training: Training) -> None:
    """Keep the weights under the order's key.

    Raises:
        StoreFault: they cannot be written.
        TechniqueError: of a compressed network, the stored one gives other outputs.
    """
    key = training.order.key
    with blaming_store(f"the weights of trial {key} cannot be written"), training.world.store.writing(key, training.fold) as path:
        save(training.module, path)
        if applied_to(training.module).chosen.of("compression"):
            loaded(training, path)


@contextmanager
def blaming_store(failed: str) -> Iterator[None]:
    """Put the blame for what cannot be read or written on the store."""
    try:
        yield
    except (OSError, SafetensorError) as error:
        raise StoreFault(f"{failed}: {error}") from error
