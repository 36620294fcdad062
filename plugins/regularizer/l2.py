from typing import Annotated

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch.optim import Optimizer

from autoopt.domain import Range
from autoopt.module.decay import decays


class L2(Callback):
    def __init__(self, strength: float):
        self.strength = strength

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.penalised = decays(pl_module)

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer) -> None:
        weights = [p for group in optimizer.param_groups for p in group["params"] if p.grad is not None and self.penalised(p)]
        if weights:
            torch._foreach_add_([p.grad for p in weights], [p.detach() for p in weights], alpha=self.strength)


def l2(*, strength: Annotated[float, Range(1e-6, 1e-1, log=True)] = 1e-4) -> Callback:
    """Adds `strength * w`, the gradient of `strength / 2 * w²`, to the gradient of every weight (not of what is never decayed).

    The optimizer scales and averages it like the loss's gradient, unlike decoupled weight decay, which shrinks the weights directly.

    Hoerl & Kennard 1970, DOI 10.1080/00401706.1970.10488634.
    """
    return L2(strength)
