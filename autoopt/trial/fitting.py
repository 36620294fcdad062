"""Builds the Trainer, and trains a module with it."""

import shutil
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from math import ceil, inf
from pathlib import Path
from typing import Any

import lightning.pytorch as L
from lightning.pytorch.callbacks import Checkpoint, ModelCheckpoint, WeightAveraging
from lightning.pytorch.loggers.logger import DummyLogger
from lightning.pytorch.plugins.environments import LightningEnvironment
from torch import nn

from autoopt.data.feed import Feed
from autoopt.data.task import Task
from autoopt.deployment.compress import deployed_network
from autoopt.domain import Unavailable
from autoopt.errors import TechniqueError
from autoopt.module.applied import applied_to
from autoopt.module.batch_norm import Passed
from autoopt.module.best_epoch import BestEpoch
from autoopt.module.chosen import Chosen
from autoopt.module.groups import train_alike
from autoopt.module.hooks import overridden
from autoopt.module.net import Instead, Net
from autoopt.module.own_callbacks import callbacks_of, in_trial, refuse_second_mean
from autoopt.module.tuned import Tuned, made_before, on_device_in_float32
from autoopt.module.weights import same, set_tensors, tensor_norms, tensors_of
from autoopt.recipe import Recipe
from autoopt.store import CHECKPOINTS
from autoopt.trial.ranks import ALONE, Share
from autoopt.trial.reporter import Reporter


class Unlogged(DummyLogger):
    """Writes no log; a module that writes beside it gets the folder of its trial."""

    def __init__(self, folder: Path):
        super().__init__()
        self.folder = str(folder)

    @property
    def save_dir(self) -> str:
        return self.folder

    @property
    def log_dir(self) -> str:
        return self.folder


class Begun(Exception):
    """Raised when a training has begun, to end it there."""


class Begin(L.Callback):
    """Ends a training before its first batch."""

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        raise Begun


class BeforeEpoch(L.Callback):
    """Calls a function before each epoch, with its number."""

    def __init__(self, call: Callable[[int], None]):
        self.call = call

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.call(trainer.current_epoch)


NOT_TRIED_OUT = ("val_check_interval", "check_val_every_n_epoch", "overfit_batches", "min_epochs")
LIMITS = ("limit_train_batches", "limit_val_batches", "limit_test_batches")
BEGINNING = ("setup", "configure_model", "on_fit_start", "on_train_start")
"""The hooks in which a module may make what is not there when it is built."""


def make_trainer(
    recipe: Recipe,
    module: Tuned,
    reporter: Reporter,
    feed: Feed,
    limit: int | None,
    device: Mapping[str, Any],
    folder: Path,
    callbacks: list[L.Callback] | None = None,
) -> L.Trainer:
    """Build the Trainer of a trial. The recipe's arguments win over those of the device, and what a trial needs wins over both.

    Args:
        device: the arguments that the device technique gives.
        folder: of the trial, where a module may write.
        callbacks: those of an earlier Trainer of the same training; by default, those of the recipe are built.
    """
    if callbacks is None:
        applied = applied_to(module)
        regularizers = applied.chosen.callbacks(module, steps_asked_for(module, feed, recipe), applied.objective, applied.direction)
        own = callbacks_of(recipe)
        refuse_second_mean(applied.chosen, own)
        chosen = [*regularizers, *device.get("callbacks", []), *own]
        if recipe.best_epoch and not any(isinstance(c, ModelCheckpoint) and c.monitor for c in chosen):
            chosen.append(BestEpoch(applied.objective or "val_loss", applied.direction))
        callbacks = [*in_trial(chosen, folder), reporter]
    applied_to(module).folder = folder
    by_itself = module.automatic_optimization and feed.accumulate > 1
    written = {name: value for name, value in recipe.trainer.items() if name != "callbacks"}
    arguments: dict[str, Any] = {
        "num_sanity_val_steps": 0,
        "inference_mode": False,  # as in the validations of a training, in which a step may compute gradients
        **({"accumulate_grad_batches": feed.accumulate} if by_itself else {}),
        **device,
        **(written if limit is None else as_tried_out(written, limit)),
        "callbacks": callbacks,
    }
    return L.Trainer(
        max_epochs=1 if limit else recipe.epochs,
        logger=Unlogged(folder),
        enable_checkpointing=any(isinstance(callback, Checkpoint) for callback in callbacks),
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=feed.datamodule is not None and not isinstance(module, Net),
        default_root_dir=folder,
        **arguments,
    )


def as_tried_out(written: Mapping[str, Any], limit: int) -> dict[str, Any]:
    """The Trainer's settings in a try-out: `limit` batches of each part that the user does not leave out, and a validation at the end."""
    limits = {name: limit if written.get(name) != 0 else 0 for name in LIMITS}
    return {name: value for name, value in written.items() if name not in NOT_TRIED_OUT} | limits


def steps_asked_for(module: Tuned, feed: Feed, recipe: Recipe) -> int:
    """Optimizer steps of the whole training, where a regularizer asks for them.

    Raises:
        TechniqueError: they cannot be known.
    """
    asking = [technique.name for technique, _ in applied_to(module).chosen.of("regularizer") if "total_steps" in technique.asks]
    try:
        most = recipe.trainer.get("overfit_batches") or recipe.trainer.get("limit_train_batches")
        return feed.steps(most) * recipe.epochs if asking else 0
    except Unavailable as error:
        raise TechniqueError("regularizer", asking[0], str(error), unavailable=True) from error


def fit(trainer: L.Trainer, module: Tuned, feed: Feed, from_evaluation: bool = False, to_the_last: bool = False) -> None:
    """Train as the recipe and the author say: to the last epoch, or to the best where a ModelCheckpoint monitors a metric.

    Args:
        from_evaluation: the module is in evaluation mode; Lightning would not put it back into training mode.
        to_the_last: whatever callbacks choose or stop at, the last epoch is trained, and its weights are the result.
    """
    if to_the_last:
        trainer.fit_loop.min_epochs = trainer.max_epochs
    try:
        fit_once(trainer, module, feed, from_evaluation)
        if to_the_last or not take_up_best(trainer, module):
            take_up_exchanged(trainer, module)
        end_averaging(trainer)
        on_device_in_float32(module, trainer)
        trainer.strategy.barrier()
    finally:
        if trainer.is_global_zero:
            shutil.rmtree(Path(trainer.default_root_dir) / CHECKPOINTS, ignore_errors=True)


def take_up_best(trainer: L.Trainer, module: Tuned) -> bool:
    """Give the module the weights of its best epoch if its first ModelCheckpoint monitors a metric; return whether it did."""
    checkpoint = trainer.checkpoint_callback
    if not isinstance(checkpoint, ModelCheckpoint) or not (checkpoint.monitor and checkpoint.best_model_path):
        return False
    stored = trainer.strategy.load_checkpoint(checkpoint.best_model_path, weights_only=False)  # this training has just written it
    module.on_load_checkpoint(stored)
    trainer.strategy.load_model_state_dict(stored, strict=module.strict_loading)
    return True


def take_up_exchanged(trainer: L.Trainer, module: Tuned) -> None:
    """Give the module the weights that an author's callback showed to the last validation, such as their mean: they are the result.

    Not where the module's own weights have changed since: more epochs were trained, or a hook at the end has set others.
    """
    for reporter in (c for c in trainer.callbacks if isinstance(c, Reporter)):  # type: ignore[attr-defined]
        if reporter.exchanged and same(tensor_norms(module), applied_to(module).trained):
            set_tensors(tensors_of(module), reporter.exchanged)
        reporter.exchanged = []


def end_averaging(trainer: L.Trainer) -> None:
    """Drop the callbacks that exchange the weights with their mean for each validation: a later one measures the module as it is."""
    trainer.callbacks = [c for c in trainer.callbacks if not isinstance(c, WeightAveraging)]  # type: ignore[attr-defined]


def fit_once(trainer: L.Trainer, module: Tuned, feed: Feed, from_evaluation: bool) -> None:
    if isinstance(module, Net) or from_evaluation:
        module.train()
    if isinstance(module, Net):
        hooks = ("on_train_batch_start", "on_train_batch_end")
        by_batch = any(overridden(hook, c) for c in trainer.callbacks for hook in hooks)  # type: ignore[attr-defined]
        batches = feed.train(whole_epochs=not by_batch)
        module.accumulate = feed.accumulate
        applied_to(module).steps_per_epoch = ceil(batches.steps / feed.accumulate) if batches.steps < inf else inf
        trainer.fit(module, batches)
    elif feed.datamodule is not None:
        trainer.fit(module, datamodule=feed.datamodule)
    else:
        trainer.fit(module, feed.train(), feed.held_out("validation"))


def begin(trainer: L.Trainer, module: Tuned, feed: Feed) -> None:
    """Let a user's module make what it makes when a training begins, without training it, and without callbacks to take it up."""
    if isinstance(module, Net) or not any(overridden(hook, module) for hook in BEGINNING):
        return
    callbacks, trainer.callbacks = trainer.callbacks, [Begin()]  # type: ignore[attr-defined]
    with suppress(Begun):
        fit(trainer, module, feed)
    trainer.callbacks = callbacks  # type: ignore[attr-defined]


def devices(recipe: Recipe) -> int:
    """The number of devices that a recipe is trained on: the argument `devices` of its device technique."""
    ((technique, values),) = Chosen(recipe).of("device")
    declared = technique.params.get("devices")
    return int(values.get("devices", declared.default if declared else 1))


def device_arguments(module: Tuned, recipe: Recipe, share: Share = ALONE) -> dict[str, Any]:
    """The Trainer's arguments that the device technique gives, for one of several processes or for one that goes on alone.

    Lightning is told its environment: within a job of Slurm it would take a trial for a task of its own, and requeue the job at a signal.
    """
    given: dict[str, Any] = applied_to(module).chosen.one("device", model=deployed_network(module))
    device = {**given, "plugins": [*given.get("plugins", []), LightningEnvironment()]}
    return {**device, "devices": 1, "strategy": "auto"} if share == ALONE and devices(recipe) > 1 else device


def finetuned(
    model: nn.Module,
    epochs: int,
    loss: Instead | None = None,
    before_epoch: Callable[[int], None] | None = None,
    *,
    recipe: Recipe,
    module: Tuned,
    task: Task,
    feed: Feed,
    limit: int | None,
    folder: Path,
) -> nn.Module:
    """Train a network in place for some more epochs, as the recipe says, its schedule stretched over these.

    The schedule is that of the training, scaled to these epochs: scaled learning rate restarting, Le & Hua 2021, arXiv:2105.03193.

    Args:
        loss: of (inputs, outputs, the recipe's loss), what is minimised instead.
        before_epoch: called with the number of each epoch, from 0: a compression in steps goes through one schedule. No epoch is then
            better than the last, whatever early stopping says: those before it measure a network that is less compressed.

    Raises:
        Unavailable: a loss is given, but the module computes its own.
    """
    if epochs < 1:
        return model.eval()
    applied = applied_to(module)
    if isinstance(module, Net):
        net = Net(model, module.loss, replace(applied, passed=Passed()), task, loss)
        net.metrics = module.metrics
        tuned: Tuned = net
    elif loss is not None:
        raise Unavailable("a LightningModule computes its loss in its own training_step")
    else:
        tuned = model  # type: ignore[assignment]
    reporter = Reporter(lambda *_: False, applied.objective, task)
    reporter.feed = feed
    train_alike(model, deployed_network(module))
    longer = recipe.replace(study={"epochs": epochs})
    trainer = make_trainer(longer, tuned, reporter, feed, limit, device_arguments(tuned, recipe), folder)
    if before_epoch is not None:
        trainer.callbacks.insert(0, BeforeEpoch(before_epoch))  # type: ignore[attr-defined]
    with made_before(tuned):
        fit(trainer, tuned, feed, from_evaluation=True, to_the_last=before_epoch is not None)
    return model.eval()
