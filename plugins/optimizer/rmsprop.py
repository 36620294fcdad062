from typing import Annotated

from torch.optim import RMSprop

from autoopt.domain import Bounds, Range


def rmsprop(
    params,
    *,
    lr: Annotated[float, Range(1e-5, 1e-1, log=True), Bounds(0)] = 1e-3,
    alpha: Annotated[float, Range(0.8, 0.999), Bounds(0, below=1)] = 0.9,
    weight_decay: Annotated[float, Bounds(0)] = 0.0,
) -> RMSprop:
    """Steps of `lr * g / (sqrt(v) + eps)`, v the running mean of g²: `v = alpha * v + (1 - alpha) * g²`.

    Tieleman & Hinton 2012, lecture 6.5 of Neural Networks for Machine Learning.
    """
    return RMSprop(params, lr=lr, alpha=alpha, weight_decay=weight_decay)
