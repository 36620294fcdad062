from typing import Annotated

from torch import nn
from torch.optim import SGD, Optimizer

from autoopt.domain import Acts, Bounds, Range
from autoopt.plugins.optimizer.sharpness import Sharpness


def sam(
    params,
    model: nn.Module,
    *,
    lr: Annotated[float, Range(1e-3, 1.0, log=True), Bounds(0)] = 0.1,
    momentum: Annotated[float, Range(0.5, 0.99), Bounds(0, below=1)] = 0.9,
    weight_decay: Annotated[float, Range(1e-6, 1e-2, log=True), Bounds(0)] = 5e-4,
    rho: Annotated[float, Range(0.01, 0.5, log=True), Bounds(0)] = 0.05,
) -> Annotated[Optimizer, Acts(closure=True)]:
    """Heavy ball on the gradient at `w + rho * g / |g|`, the worst point near w: two gradients per step.

    Penalties act on both gradients, so that the sharpness is that of the penalised loss; clipping bounds the second gradient and keeps
    the direction of the first.

    Foret et al. 2021, arXiv:2010.01412.

    Raises:
        Unavailable: a step gets no closure, or only that of the last accumulated batch.
    """
    return Sharpness(params, model, SGD, lr=lr, momentum=momentum, weight_decay=weight_decay, rho=rho)
