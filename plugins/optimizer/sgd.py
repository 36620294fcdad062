from typing import Annotated

from torch.optim import SGD

from autoopt.domain import Bounds, Range
from autoopt.plugins.optimizer.fused import fused


def sgd(
    params,
    *,
    lr: Annotated[float, Range(1e-3, 1.0, log=True), Bounds(0)] = 0.1,
    weight_decay: Annotated[float, Range(1e-6, 1e-2, log=True), Bounds(0)] = 5e-4,
) -> SGD:
    """Mini-batch stochastic gradient descent: `w -= lr * (g + weight_decay * w)`.

    Robbins & Monro 1951, DOI 10.1214/aoms/1177729586.
    """
    return SGD(params, lr=lr, weight_decay=weight_decay, fused=fused(params))
