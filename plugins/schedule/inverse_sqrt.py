from typing import Annotated

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from autoopt.domain import Bounds, Range


def inverse_sqrt(
    optimizer: Optimizer,
    total_steps: int,
    *,
    warmup: Annotated[float, Range(0.01, 0.2), Bounds(0, 1)] = 0.04,
) -> LambdaLR:
    """Rises linearly to the base rate over the first W steps, the fraction `warmup` of them, then falls as `sqrt(W / t)`.

    Vaswani et al. 2017, arXiv:1706.03762.
    """
    rise = max(1, int(warmup * total_steps))
    return LambdaLR(optimizer, lambda step: min((step + 1) / rise, (rise / (step + 1)) ** 0.5))
