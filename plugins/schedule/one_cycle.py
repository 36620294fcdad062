import math
from typing import Annotated

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from autoopt.domain import Bounds, Range


def one_cycle(
    optimizer: Optimizer,
    total_steps: int,
    *,
    rise: Annotated[float, Range(0.1, 0.5), Bounds(0, 1)] = 0.3,
    initial: Annotated[float, Range(0.01, 0.2, log=True), Bounds(0, 1)] = 0.04,
    final: Annotated[float, Bounds(0, 1)] = 4e-6,
) -> LambdaLR:
    """Rises along half a cosine from `initial` to 1 times the base rate over the fraction `rise` of the steps, then falls to `final`.

    The momentum stays as it is.

    Smith & Topin 2019, arXiv:1708.07120; in cosines as fastai does.
    """
    top = min(max(0, round(rise * total_steps) - 1), total_steps - 1)
    fall = max(1, total_steps - 1 - top)

    def rate(step: int) -> float:
        start, progress = (initial, 1 - step / top) if step < top else (final, min(1.0, (step - top) / fall))
        return start + (1 - start) * (1 + math.cos(math.pi * progress)) / 2

    return LambdaLR(optimizer, rate)
