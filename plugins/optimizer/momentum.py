from typing import Annotated

from torch.optim import SGD

from autoopt.domain import Bounds, Range
from autoopt.plugins.optimizer.fused import Momentum, fused


def momentum(
    params,
    *,
    lr: Annotated[float, Range(1e-4, 1.0, log=True), Bounds(0)] = 0.01,
    momentum: Annotated[float, Range(0.5, 0.99), Bounds(0, below=1)] = 0.9,
    weight_decay: Annotated[float, Range(1e-6, 1e-2, log=True), Bounds(0)] = 5e-4,
) -> SGD:
    """Heavy ball: `v = momentum * v + g + weight_decay * w`, then `w -= lr * v`.

    Polyak 1964, DOI 10.1016/0041-5553(64)90137-5; defaults from Krizhevsky et al. 2012.
    """
    return Momentum(params, lr=lr, momentum=momentum, weight_decay=weight_decay, fused=fused(params))
