from typing import Annotated

from pytorch_optimizer import AdaBelief

from autoopt.domain import Bounds, Range


def adabelief(
    params,
    *,
    lr: Annotated[float, Range(1e-5, 1e-1, log=True), Bounds(0)] = 1e-3,
    weight_decay: Annotated[float, Range(1e-6, 1.0, log=True), Bounds(0)] = 1e-2,
    beta1: Annotated[float, Range(0.8, 0.99), Bounds(0, below=1)] = 0.9,
) -> AdaBelief:
    """Steps of `lr * m / (sqrt(s) + eps)`, s the running mean of (g - m)², the surprise; both corrected for their bias, decay decoupled.

    Zhuang et al. 2020, arXiv:2010.07468.
    """
    return AdaBelief(params, lr=lr, betas=(beta1, 0.999), weight_decay=weight_decay)
