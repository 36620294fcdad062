from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import torch
from lightning.pytorch import LightningModule
from pytorch_optimizer import SAM
from pytorch_optimizer.optimizer.utils import disable_running_stats, enable_running_stats
from torch import Tensor, nn
from torch.optim import SGD, Optimizer

from autoopt.domain import Acts, Range, Unavailable


class Sharpness(SAM):
    """SAM that calls its closure for both gradients; the running statistics of batch norm, and the log, see the first."""

    def __init__(self, params: Any, model: nn.Module, **settings: Any):
        super().__init__(params, SGD, **settings)
        self.model = model

    @torch.no_grad()
    def step(self, closure: Callable[[], Tensor] | None = None) -> Tensor:
        if closure is None:
            raise RuntimeError("sam computes two gradients a step, so step() needs a closure")
        with torch.enable_grad():
            loss = closure()
        disable_running_stats(self.model)
        try:
            with unlogged(self.model):
                super().step(closure)
        finally:
            enable_running_stats(self.model)
        return loss


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


def sam(
    params,
    model: nn.Module,
    *,
    lr: Annotated[float, Range(1e-3, 1.0, log=True)] = 0.1,
    momentum: Annotated[float, Range(0.5, 0.99)] = 0.9,
    weight_decay: Annotated[float, Range(1e-6, 1e-2, log=True)] = 5e-4,
    rho: Annotated[float, Range(0.01, 0.5, log=True)] = 0.05,
) -> Annotated[Optimizer, Acts(closure=True)]:
    """Heavy ball on the gradient at `w + rho * g / |g|`, the worst point near w: two gradients per step.

    Penalties act on both gradients, so that the sharpness is that of the penalised loss; clipping bounds the second gradient and keeps
    the direction of the first.

    Foret et al. 2021, arXiv:2010.01412.

    Raises:
        Unavailable: Lightning accumulates gradients over batches, and the second gradient would see only the last batch; or it
            scales them for 16-bit training, and gives the optimizer no closure.
    """
    if isinstance(model, LightningModule):
        if model.automatic_optimization and model.trainer.accumulate_grad_batches > 1:
            raise Unavailable(
                "its second gradient would see only the last of the accumulated batches; accumulate none (batches.accumulate=1)"
            )
        if getattr(model.trainer.precision_plugin, "scaler", None) is not None:
            raise Unavailable("with precision=16-mixed a step gets no closure, which it needs for its second gradient")
    return Sharpness(params, model, lr=lr, momentum=momentum, weight_decay=weight_decay, rho=rho)
