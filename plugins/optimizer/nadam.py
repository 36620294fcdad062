from typing import Annotated

from torch.optim import NAdam

from autoopt.domain import Bounds, Range


def nadam(
    params,
    *,
    lr: Annotated[float, Range(1e-5, 1e-1, log=True), Bounds(0)] = 2e-3,
    beta1: Annotated[float, Range(0.8, 0.99), Bounds(0, below=1)] = 0.9,
    weight_decay: Annotated[float, Bounds(0)] = 0.0,
) -> NAdam:
    """Adam whose step looks one momentum ahead, as Nesterov's does.

    With `mu_t = beta1 * (1 - 0.96 ** (0.004 * t) / 2)` and M_t the product of mu_1 to mu_t, the step is
    `lr * (mu_{t+1} * m / (1 - M_{t+1}) + (1 - mu_t) * g / (1 - M_t)) / (sqrt(v) + eps)`, v the bias-corrected running mean of g².

    Dozat 2016, ICLR workshop.
    """
    return NAdam(params, lr=lr, betas=(beta1, 0.999), weight_decay=weight_decay)
