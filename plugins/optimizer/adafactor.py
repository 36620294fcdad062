from typing import Annotated

from torch.optim import Adafactor

from autoopt.domain import Bounds, Range


def adafactor(
    params,
    *,
    lr: Annotated[float, Range(1e-4, 1e-1, log=True), Bounds(0)] = 1e-2,
    weight_decay: Annotated[float, Bounds(0)] = 0.0,
) -> Adafactor:
    """Steps of g / sqrt(V), V of a matrix kept as the product of its row and column means, clipped to an RMS of 1.

    V is a running mean of g² with `beta2 = 1 - t**-0.8`; the rate is `min(lr, 1 / sqrt(t)) * max(1e-3, RMS(w))`. Weight decay is decoupled.

    Shazeer & Stern 2018, arXiv:1804.04235.
    """
    return Adafactor(params, lr=lr, weight_decay=weight_decay)
