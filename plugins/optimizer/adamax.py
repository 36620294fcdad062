from typing import Annotated

from torch.optim import Adamax

from autoopt.domain import Bounds, Range


def adamax(
    params,
    *,
    lr: Annotated[float, Range(1e-5, 1e-1, log=True), Bounds(0)] = 2e-3,
    beta1: Annotated[float, Range(0.8, 0.99), Bounds(0, below=1)] = 0.9,
    weight_decay: Annotated[float, Bounds(0)] = 0.0,
) -> Adamax:
    """Adam in the infinity norm: steps of `lr * m / u`, m the bias-corrected running mean of g, `u = max(beta2 * u, |g|)`.

    Kingma & Ba 2014, arXiv:1412.6980, section 7.1.
    """
    return Adamax(params, lr=lr, betas=(beta1, 0.999), weight_decay=weight_decay)
