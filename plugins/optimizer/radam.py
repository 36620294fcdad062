from typing import Annotated

from torch.optim import RAdam

from autoopt.domain import Bounds, Range


def radam(
    params,
    *,
    lr: Annotated[float, Range(1e-5, 1e-1, log=True), Bounds(0)] = 1e-3,
    beta1: Annotated[float, Range(0.8, 0.99), Bounds(0, below=1)] = 0.9,
    weight_decay: Annotated[float, Bounds(0)] = 0.0,
) -> RAdam:
    """Adam, its step rectified by the variance of the adaptive rate: `lr * r_t * m / sqrt(v)`; `lr * m` while that variance has no bound.

    With `rho = 2 / (1 - beta2) - 1` and `rho_t = rho - 2 * t * beta2**t / (1 - beta2**t)`, the rectification is
    `r_t² = (rho_t - 4) * (rho_t - 2) * rho / ((rho - 4) * (rho - 2) * rho_t)`, in force once `rho_t > 5`.

    Liu et al. 2020, arXiv:1908.03265.
    """
    return RAdam(params, lr=lr, betas=(beta1, 0.999), weight_decay=weight_decay)
