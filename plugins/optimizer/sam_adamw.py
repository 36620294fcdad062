from typing import Annotated

from torch import nn
from torch.optim import AdamW, Optimizer

from autoopt.domain import Acts, Bounds, Range
from autoopt.plugins.optimizer.sharpness import Sharpness


def sam_adamw(
    params,
    model: nn.Module,
    *,
    lr: Annotated[float, Range(1e-5, 1e-1, log=True), Bounds(0)] = 1e-3,
    weight_decay: Annotated[float, Range(1e-6, 1.0, log=True), Bounds(0)] = 1e-2,
    beta1: Annotated[float, Range(0.8, 0.99), Bounds(0, below=1)] = 0.9,
    rho: Annotated[float, Range(0.01, 0.5, log=True), Bounds(0)] = 0.1,
) -> Annotated[Optimizer, Acts(closure=True)]:
    """AdamW on the gradient at `w + rho * g / |g|`, the worst point near w: two gradients per step.

    Foret et al. 2021, arXiv:2010.01412; with AdamW: Chen et al. 2022, arXiv:2106.01548.

    Raises:
        Unavailable: a step gets no closure, or only that of the last accumulated batch.
    """
    return Sharpness(params, model, AdamW, lr=lr, betas=(beta1, 0.999), weight_decay=weight_decay, rho=rho)
