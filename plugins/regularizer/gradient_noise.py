from contextlib import nullcontext
from typing import Annotated

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch.optim import Optimizer

from autoopt.data.loaders import drawn_alike
from autoopt.domain import Acts, Bounds, Range

GAMMA = 0.55


class GradientNoise(Callback):
    def __init__(self, eta: float):
        self.eta = eta
        self.seed: int | None = None  # of several ranks, which add the same noise

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.world_size > 1:
            self.seed = trainer.strategy.broadcast(int(torch.randint(2**31, ())))

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer) -> None:
        deviation = (self.eta / (1 + trainer.global_step) ** GAMMA) ** 0.5
        gradients = [p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
        with nullcontext() if self.seed is None else drawn_alike(self.seed + trainer.global_step):
            for gradient in gradients:
                gradient.add_(torch.randn_like(gradient), alpha=deviation)


def gradient_noise(*, eta: Annotated[float, Range(1e-4, 1.0, log=True), Bounds(0)] = 0.01) -> Annotated[Callback, Acts(order="late")]:
    """Adds Gaussian noise of the variance `eta / (1 + t)^0.55` to every gradient, t being the steps taken, after penalties and clipping.

    Neelakantan et al. 2015, arXiv:1511.06807.
    """
    return GradientNoise(eta)
