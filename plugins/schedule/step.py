from typing import Annotated

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from autoopt.domain import Bounds, Range


def step(
    optimizer: Optimizer,
    total_steps: int,
    *,
    factor: Annotated[float, Range(0.05, 0.7, log=True), Bounds(0, 1)] = 0.1,
    drops: Annotated[int, Range(1, 4), Bounds(0)] = 3,
) -> LambdaLR:
    """Multiplies the rate by `factor` at each of `drops` points that cut the training into equal parts.

    Krizhevsky et al. 2012 (NeurIPS), who divided by 10 three times.
    """
    return LambdaLR(optimizer, lambda step: factor ** min(drops, step * (drops + 1) // total_steps))
