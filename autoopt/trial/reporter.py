"""Reports the metrics of a training after every epoch."""

import time
from collections.abc import Mapping
from math import isfinite
from typing import Any

import lightning.pytorch as L
import torch
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor, nn

from autoopt.data.feed import Feed
from autoopt.data.parts import on_test
from autoopt.data.task import Task
from autoopt.errors import NonFinite
from autoopt.module.applied import applied_to
from autoopt.module.hooks import AfterModule
from autoopt.module.net import Net
from autoopt.module.tuned import learning_rates
from autoopt.module.weights import copies, same, tensor_norms, tensors_of
from autoopt.trial import Report
from autoopt.trial.measuring import check_weights, judged, metric_name, metric_names
from autoopt.trial.ranks import averaged, same_buffers

LOSS = "train_loss"


class Reporter(AfterModule):
    """Reports every epoch's metrics, and stops the training where the answer says so.

    It comes after the other callbacks and after an author's own end of an epoch, so that it sees what they do and log. `seconds` are
    those of training alone.
    """

    feed: Feed

    def __init__(self, report: Report, objective: str | None, task: Task):
        self.report, self.objective, self.task = report, objective, task
        self.metrics: dict[str, float] = {}
        self.epochs, self.seconds, self.examples, self.stopped = 0, 0.0, 0, False
        self.started = time.perf_counter()
        self.validated: Tensor | None = None
        self.exchanged: list[Tensor] = []
        self.by_step: list[str] = []
        self.publishes: bool | None = None  # the loss of the training, which the module does not log itself

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.started = time.perf_counter()

    def on_validation_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if trainer.state.fn == TrainerFn.FITTING and not trainer.sanity_checking:
            self.count_time()

    def on_validation_batch_start(self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int, *_: Any) -> None:
        """Remember which weights are validated, after all hooks that exchange them; those that an author's callback shows, as a whole."""
        if batch_idx == 0 and trainer.state.fn == TrainerFn.FITTING and not trainer.sanity_checking:
            self.validated, trained = tensor_norms(pl_module), applied_to(pl_module).trained
            self.exchanged = [] if trained is None or same(self.validated, trained) else copies(tensors_of(pl_module))

    def on_validation_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Note what is logged by step alone: Lightning gives it no value of an epoch."""
        notes = applied_to(pl_module).notes
        for name in logged_by_step(trainer, pl_module):
            note = f"{name} has no value of an epoch: your validation logs it with on_epoch=False"
            if note not in notes:
                notes.append(note)

    def validated_as(self, module: nn.Module) -> bool:
        """Whether the training's last validation was of the weights that a module has now: callbacks may change them at the end."""
        return same(tensor_norms(module), self.validated)

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.started = time.perf_counter()

    def count_time(self) -> None:
        """Add the time since training began, or went on after a validation."""
        now = time.perf_counter()
        self.seconds, self.started = self.seconds + now - self.started, now

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.count_time()
        if isinstance(pl_module, Net):  # whose own end of an epoch puts the optimizer in the mode in which the training ends
            self.end_epoch(trainer, pl_module)

    def after_module(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        if not isinstance(module, Net):
            self.end_epoch(trainer, module)

    def end_epoch(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.epochs = trainer.current_epoch + 1
        if self.publishes is None:
            self.publishes = LOSS not in trainer.callback_metrics
        self.by_step = logged_by_step(trainer, pl_module)
        self.metrics = self.measured(trainer, pl_module)
        if trainer.world_size > 1:
            self.metrics = averaged(self.metrics)
        if self.publishes and LOSS in self.metrics:  # schedules and callbacks may follow it
            trainer.callback_metrics[LOSS] = torch.tensor(self.metrics[LOSS])
        check_metrics(self.metrics, self.objective)
        check_weights(pl_module)
        if isinstance(pl_module, Net):
            pl_module.follow(self.metrics)
        stop = self.report(self.epochs, self.metrics)
        self.stopped = trainer.strategy.reduce_boolean_decision(stop, all=False)
        trainer.should_stop = trainer.should_stop or self.stopped

    def measured(self, trainer: L.Trainer, module: L.LightningModule) -> dict[str, float]:
        rate = {"lr": next(learning_rates(trainer), 0.0)}
        if isinstance(module, Net):
            return {**validate(trainer, module, self.feed, self.objective), LOSS: module.train_loss, **rate}
        logged = {name: float(value) for name, value in trainer.callback_metrics.items() if value.numel() == 1}
        applied = applied_to(module)
        returned = {LOSS: float(applied.loss_sum) / applied.loss_count} if self.publishes and applied.loss_count else {}
        return {**logged, **returned, **rate}


def logged_by_step(trainer: L.Trainer, module: L.LightningModule) -> list[str]:
    """What the running loop logs by step alone: Lightning gives it no value of an epoch."""
    if isinstance(module, Net) or (results := trainer._results) is None:
        return []
    return [result.meta.name for _, result in results.valid_items() if not result.meta.on_epoch]


def validate(trainer: L.Trainer, net: Net, feed: Feed, objective: str | None) -> dict[str, float]:
    """Each epoch's quality on the validation part, under the hooks that Lightning's own loop calls, and where callbacks look for it."""
    if trainer.world_size > 1:
        same_buffers(net)
    call_all(trainer, net, "on_validation_start")
    net.on_validation_start()
    call_all(trainer, net, "on_validation_epoch_start")
    outputs, targets = net.predict(feed.held_out("validation"), trainer)
    call_all(trainer, net, "on_validation_epoch_end")
    every = (metric_names(net)[0], "loss")
    extra = {metric_name(objective)} & set(metric_names(net)) - set(every)
    values = {f"val_{k}": v for k, v in judged(net, outputs, targets, (*every, *extra)).items()}
    trainer.callback_metrics.update({name: torch.tensor(value) for name, value in values.items()})
    call_all(trainer, net, "on_validation_end")
    net.on_validation_end()
    return values


def call_all(trainer: L.Trainer, net: Net, hook: str) -> None:
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        getattr(callback, hook)(trainer, net)


def check_metrics(metrics: Mapping[str, float], objective: str | None) -> None:
    """Raise NonFinite where the objective, on whichever part, or a loss is NaN or infinite."""
    for name, value in sorted(metrics.items()):
        if (name in (objective, on_test(objective or "")) or "loss" in name.lower()) and not isfinite(value):
            raise NonFinite(f"{name} is {value}")
