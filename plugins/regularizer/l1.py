from typing import Annotated

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch.optim import Optimizer

from autoopt.domain import Range
from autoopt.module.decay import decays


class L1(Callback):
    def __init__(self, strength: float):
        self.strength = strength

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.penalised = decays(pl_module)

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer) -> None:
        weights = [p for group in optimizer.param_groups for p in group["params"] if p.grad is not None and self.penalised(p)]
        if weights:
            signs = torch._foreach_sign([p.detach() for p in weights])
            torch._foreach_add_([p.grad for p in weights], signs, alpha=self.strength)


def l1(*, strength: Annotated[float, Range(1e-7, 1e-3, log=True)] = 1e-5) -> Callback:
    """Adds `strength * sign(w)`, the subgradient of `strength * |w|`, to the gradient of every weight (not of what is never decayed).

    Tibshirani 1996, DOI 10.1111/j.2517-6161.1996.tb02080.x.
    """
    return L1(strength)
