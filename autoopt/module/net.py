"""A plain network with the recipe's loss, trained many steps a `training_step`."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import lightning.pytorch as L
import torch
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.optim.lr_scheduler import ReduceLROnPlateau

from autoopt.data.arrays import class_indices
from autoopt.data.batches import in_groups
from autoopt.data.task import Task
from autoopt.module.applied import HELD, Applied, applied_to
from autoopt.module.augmenting import augment
from autoopt.module.batch_norm import batch_norms
from autoopt.module.embedded import Embedded
from autoopt.module.tuned import Tuned, evaluate_others

Instead = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Called with (inputs, outputs, the recipe's loss); returns the loss that is minimised instead."""
BETWEEN_STEPS = "between_steps"
"""An attribute of Lightning's loop over batches: called before each step of `Net` in a `training_step`, with its number from 0."""


class Net(Tuned):
    """A plain network with the recipe's loss, trained many steps a `training_step`.

    Lightning's loop costs more than a step of a small model, so a `training_step` gets all batches of an epoch and makes all
    steps. Each step calls Lightning's optimizer, so that hooks, precision and `global_step` work as in Lightning.

    Args:
        model: the network.
        loss: of (outputs, targets).
        applied: the recipe.
        task: gives the kind, the outputs and the scale of the targets.
        instead: computes another loss from the recipe's, such as to distil.

    While callbacks are called at the end of a `training_step`, the inputs of its last step are in `inputs`, augmented: they are called with
    the batch as it was before.
    """

    def __init__(
        self,
        model: nn.Module,
        loss: Callable[[Tensor, Tensor], Tensor],
        applied: Applied,
        task: Task,
        instead: Instead | None = None,
    ):
        super().__init__()
        self.automatic_optimization = False
        self.model, self.loss, self.instead = model, loss, instead
        vars(self)[HELD] = applied
        self.kind, self.outputs, self.scale = task.kind, task.outputs, task.targets
        self.accumulate = 1
        self.metrics: Mapping[str, Any] = {}
        self.losses: list[Tensor] = []
        self.inputs: list[Tensor] = []

    def forward(self, inputs: Tensor) -> Tensor:
        """Outputs of inputs in single precision, which are cast where the weights are trained in another one (`bf16-true`)."""
        if self.dtype != inputs.dtype and inputs.is_floating_point() and not isinstance(self.model, Embedded):  # it casts all but codes
            inputs = inputs.to(self.dtype)
        return self.model(inputs)

    def on_train_epoch_start(self) -> None:
        self.losses.clear()
        super().on_train_epoch_start()

    def training_step(self, chunk: Iterable[Sequence[Tensor]], _: int) -> None:
        applied = applied_to(self)
        renewed = evaluate_others(self.trainer.optimizers) and batch_norms(self)
        with torch.autocast(self.device.type, enabled=False):  # Lightning's precision covers the forward pass only, in `loss_of`
            optimizer, schedule, inputs = self.optimizers(), self.lr_schedulers(), list[Tensor]()
            between_steps = getattr(self.trainer.fit_loop.epoch_loop, BETWEEN_STEPS, None)
            for number, group in enumerate(in_groups(chunk, self.accumulate)):
                if between_steps is not None:
                    between_steps(number)
                batches = [augment(applied.chosen, *pair(batch, self.kind), self.outputs, applied.pixels) for batch in group]
                self.losses.append(self.step(optimizer, batches))
                inputs = [each for each, _ in batches]
                if renewed:
                    applied.passed.add(inputs)
                if schedule is not None and not isinstance(schedule, ReduceLROnPlateau):
                    schedule.step()  # type: ignore[union-attr]
        self.inputs = inputs

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        super().on_train_batch_end(outputs, None, batch_idx)  # training_step has kept the augmented inputs
        self.inputs = []

    @property
    def train_loss(self) -> float:
        """The mean loss over the steps of the epoch."""
        return float(torch.stack(self.losses).mean())

    def step(self, optimizer: Any, batches: list[tuple[Tensor, Tensor]]) -> Tensor:
        """One optimizer step on the mean loss over the batches; returns the loss of the first call of the closure."""
        losses: list[Tensor] = []
        examples = sum(len(inputs) for inputs, _ in batches)

        def closure() -> Tensor:
            shares: list[Tensor] = []
            for inputs, targets in batches:
                loss = self.loss_of(inputs, targets)
                if not shares:
                    for callback in self.trainer.callbacks:  # type: ignore[attr-defined]
                        callback.on_before_zero_grad(self.trainer, self, optimizer.optimizer)
                    optimizer.zero_grad()
                share = loss if len(batches) == 1 else loss * (len(inputs) / examples)
                self.manual_backward(share)
                shares.append(share.detach())
            losses.append(shares[0] if len(shares) == 1 else torch.stack(shares).sum())
            return share if len(shares) == 1 else losses[-1]

        optimizer.step(closure)
        if not losses:
            raise applied_to(self).chosen.fault("optimizer", "its step does not call the closure, which computes the loss and its gradient")
        return losses[0]

    def loss_of(self, inputs: Tensor, targets: Tensor) -> Tensor:
        with self.trainer.precision_plugin.forward_context():
            outputs = self(inputs)
            if not isinstance(outputs, Tensor):
                raise applied_to(self).chosen.fault("model", f"gives {type(outputs).__name__} in training, but a tensor in evaluation")
            loss = self.loss(outputs.float() if self.dtype != torch.float32 else outputs, targets)
            return loss if self.instead is None else self.instead(inputs, outputs, loss)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        configured = super().configure_optimizers()
        applied_to(self).held = []  # no author sets rates by hand
        return configured

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        return batch  # `training_step` augments

    def follow(self, metrics: Mapping[str, float]) -> None:
        """Step a plateau schedule at the end of an epoch, as Lightning does in automatic optimization."""
        schedule, objective = self.lr_schedulers(), applied_to(self).objective or ""
        metric = objective if objective in metrics else "val_loss"
        if isinstance(schedule, ReduceLROnPlateau) and metric in metrics:
            schedule.step(metrics[metric])

    @torch.no_grad()
    def predict(self, batches: Iterable[Sequence[Tensor]], trainer: L.Trainer) -> tuple[Tensor, Tensor]:
        """Outputs and targets of the batches, in evaluation mode; values of a regression are in the units of the data.

        Returns:
            `(N, K)` logits or `(N, D)` values, and the targets, on the CPU: class indices `(N,)`, labels `(N, K)` as 0 and 1 in int64,
            or values `(N, D)`.
        """
        device = trainer.strategy.root_device
        self.model.eval()
        with trainer.precision_plugin.val_step_context():
            pairs = [(self(x.to(device)).float(), y) for x, y in (pair(batch, self.kind) for batch in batches)]
        self.model.train()
        outputs, targets = (torch.cat(tensors).cpu() for tensors in zip(*pairs, strict=True))
        if self.kind == "multilabel":
            return outputs, targets.long()
        return (outputs, targets) if self.scale is None else (self.scale.invert(outputs), self.scale.invert(targets))


def pair(batch: Sequence[Tensor], kind: str) -> tuple[Tensor, Tensor]:
    """Inputs and targets of a batch: class indices, or labels `(N, K)` and values `(N, D)` in single precision.

    Values `(N,)` get a second axis: against outputs `(N, 1)` they would broadcast to `(N, N)`.
    """
    inputs, targets = batch[:2]
    if kind == "classification":
        return inputs, class_indices(targets)
    return inputs, targets.float()[:, None] if targets.ndim == 1 else targets.float()
