"""For SAM with each of its optimizers: two gradients a step."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from lightning.pytorch import LightningModule
from pytorch_optimizer import SAM
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim import Optimizer

from autoopt.domain import Unavailable


class Sharpness(SAM):
    """SAM that calls its closure for both gradients; the running statistics of batch norm, and the log, see the first.

    Args:
        base: the optimizer that steps with the second gradient.

    Raises:
        Unavailable: Lightning accumulates gradients over batches, and the second gradient would see only the last batch; or it
            scales them for 16-bit training, and gives the optimizer no closure.
    """

    def __init__(self, params: Any, model: nn.Module, base: type[Optimizer], **settings: Any):
        if isinstance(model, LightningModule):
            check_closure(model)
        super().__init__(params, base, **settings)
        self.defaults = {**self.base_optimizer.defaults, **self.defaults}  # for groups that a callback adds later
        self.model = model

    @torch.no_grad()
    def step(self, closure: Callable[[], Tensor] | None = None) -> Tensor:
        if closure is None:
            raise RuntimeError("sam computes two gradients a step, so step() needs a closure")
        with torch.enable_grad():
            loss = closure()
        with statistics_kept(self.model), unlogged(self.model):
            super().step(closure)
        return loss


def check_closure(module: LightningModule) -> None:
    if module.automatic_optimization and module.trainer.accumulate_grad_batches > 1:
        raise Unavailable("its second gradient would see only the last of the accumulated batches; accumulate none (batches.accumulate=1)")
    if getattr(module.trainer.precision_plugin, "scaler", None) is not None:
        raise Unavailable("with precision=16-mixed a step gets no closure, which it needs for its second gradient")


@contextmanager
def statistics_kept(model: nn.Module) -> Iterator[None]:
    """Let batch norms leave their running statistics alone, also one that is part of a model in two places."""
    norms = [module for module in model.modules() if isinstance(module, _BatchNorm) and module.track_running_stats]
    for norm in norms:
        norm.track_running_stats = False
    try:
        yield
    finally:
        for norm in norms:
            norm.track_running_stats = True


@contextmanager
def unlogged(model: nn.Module) -> Iterator[None]:
    """Let a LightningModule log nothing: Lightning would take the mean over both passes."""
    if not isinstance(model, LightningModule):
        yield
        return
    vars(model)["log"] = lambda *_, **__: None
    try:
        yield
    finally:
        del vars(model)["log"]
