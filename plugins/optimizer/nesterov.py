from typing import Annotated

from torch.optim import SGD

from autoopt.domain import Bounds, Range
from autoopt.plugins.optimizer.fused import Momentum, fused


def nesterov(
    params,
    *,
    lr: Annotated[float, Range(1e-4, 1.0, log=True), Bounds(0)] = 0.01,
    momentum: Annotated[float, Range(0.5, 0.99), Bounds(above=0, below=1)] = 0.9,
    weight_decay: Annotated[float, Range(1e-6, 1e-2, log=True), Bounds(0)] = 5e-4,
) -> SGD:
    """Nesterov's accelerated gradient: `v = momentum * v + g`, then `w -= lr * (g + momentum * v)`, where g holds `weight_decay * w`.

    Nesterov 1983; in this form Sutskever et al. 2013 (ICML), defaults from Krizhevsky et al. 2012.
    """
    return Momentum(params, lr=lr, momentum=momentum, weight_decay=weight_decay, nesterov=True, fused=fused(params))
