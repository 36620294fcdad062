from typing import Annotated

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from autoopt.domain import Bounds, Range
from autoopt.plugins.optimizer.closure import with_gradients


class GradientAdaptive(LRScheduler):
    """Sets the rates inside `optimizer.step`, after the gradient is known and before the weights change."""

    def __init__(self, optimizer: Optimizer, beta: float):
        self.beta = beta
        super().__init__(optimizer)
        with_gradients(optimizer, self.adapt)  # after every call of the closure

    def get_lr(self) -> list[float | Tensor]:
        return [group["lr"] for group in self.optimizer.param_groups]  # as the last gradient left them

    def adapt(self) -> None:
        gradients = [p.grad for group in self.optimizer.param_groups for p in group["params"] if p.grad is not None]
        scale = getattr(self.optimizer, "grad_scale", None)  # of a GradScaler whose optimizer unscales by itself
        norm = float(torch.nn.utils.get_total_norm(gradients)) / (1.0 if scale is None else float(scale))
        for group in (group for group in self.optimizer.param_groups if "initial_lr" in group):  # not those added later
            group["lr"] = group["initial_lr"] / (1 + self.beta * norm**2)


def gradient_adaptive(
    optimizer: Optimizer,
    *,
    beta: Annotated[float, Range(1e-3, 10.0, log=True), Bounds(0)] = 0.1,
) -> LRScheduler:
    """The rate shrinks as the gradient grows: `lr_t = lr / (1 + beta * ||g_t||²)`.

    g_t is the gradient of all parameters together that step t uses: after penalties and clipping, the mean over the epoch for
    full-batch descent, the last gradient if an optimizer computes several.

    Source: this formula is autoopt's own; why steps should shrink with the gradient: Zhang et al. 2020, arXiv:1905.11881.
    """
    return GradientAdaptive(optimizer, beta)
