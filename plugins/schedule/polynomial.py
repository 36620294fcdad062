from typing import Annotated

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from autoopt.domain import Bounds, Range


def polynomial(
    optimizer: Optimizer,
    total_steps: int,
    *,
    power: Annotated[float, Range(0.5, 3.0), Bounds(above=0)] = 0.9,
) -> LambdaLR:
    """Falls from the base rate to 0 as `(1 - t / T) ** power`.

    Chen et al. 2018, arXiv:1606.00915.
    """
    return LambdaLR(optimizer, lambda step: max(0.0, 1 - step / total_steps) ** power)
