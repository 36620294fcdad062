from typing import Annotated

from torch.optim import Adadelta

from autoopt.domain import Bounds, Range


def adadelta(
    params,
    *,
    lr: Annotated[float, Range(0.05, 5.0, log=True), Bounds(0)] = 1.0,
    rho: Annotated[float, Range(0.8, 0.99), Bounds(0, below=1)] = 0.95,
    weight_decay: Annotated[float, Bounds(0)] = 0.0,
) -> Adadelta:
    """Steps of `lr * RMS(d) / RMS(g) * g`, with RMS the root of the running mean of the squares, of the earlier steps d and of g.

    The paper has no rate (`lr=1`).

    Zeiler 2012, arXiv:1212.5701.
    """
    return Adadelta(params, lr=lr, rho=rho, weight_decay=weight_decay)
