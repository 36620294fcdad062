"""Shared by the penalties: their gradient is added to that of the weights."""

from collections.abc import Callable

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor
from torch.optim import Optimizer

from autoopt.module.decay import decays


class Penalty(Callback):
    """Adds `strength` times the slopes of a penalty to the gradients of all weights that may be decayed.

    Args:
        slopes: the derivatives of the penalty by the weights.
    """

    def __init__(self, strength: float, slopes: Callable[[list[Tensor]], list[Tensor]]):
        self.strength, self.slopes = strength, slopes

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.penalised = decays(pl_module)

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer) -> None:
        weights = [p for group in optimizer.param_groups for p in group["params"] if p.grad is not None and self.penalised(p)]
        if weights:
            torch._foreach_add_([p.grad for p in weights], self.slopes([p.detach() for p in weights]), alpha=self.strength)
