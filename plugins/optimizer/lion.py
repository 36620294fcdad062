from typing import Annotated

from pytorch_optimizer import Lion

from autoopt.domain import Bounds, Range


def lion(
    params,
    *,
    lr: Annotated[float, Range(1e-6, 1e-2, log=True), Bounds(0)] = 1e-4,
    weight_decay: Annotated[float, Range(1e-5, 10.0, log=True), Bounds(0)] = 0.1,
    beta1: Annotated[float, Range(0.8, 0.99), Bounds(0, below=1)] = 0.9,
) -> Lion:
    """Steps of `lr * (sign(beta1 * m + (1 - beta1) * g) + weight_decay * w)`, then `m = beta2 * m + (1 - beta2) * g` with beta2 = 0.99.

    Its rate is 3 to 10 times smaller than Adam's, its weight decay as many times larger.

    Chen et al. 2023, arXiv:2302.06675.
    """
    return Lion(params, lr=lr, betas=(beta1, 0.99), weight_decay=weight_decay)
