import math
from typing import Annotated

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from autoopt.domain import Bounds, Range
from autoopt.plugins.schedule.warmup import rise_of, warmed_up


def cosine(
    optimizer: Optimizer,
    total_steps: int,
    *,
    warmup: Annotated[float, Range(0.0, 0.2), Bounds(0, 1)] = 0.05,
    final: Annotated[float, Range(0.0, 0.1), Bounds(0, 1)] = 0.0,
) -> LambdaLR:
    """Rises linearly to the base rate over the fraction `warmup` of the steps, then falls along half a cosine to `final` times it.

    With T the steps left after the warm-up: `final + (1 - final) * (1 + cos(pi * t / T)) / 2`.

    Loshchilov & Hutter 2017, arXiv:1608.03983; the warm-up is that of Goyal et al. 2017, arXiv:1706.02677.
    """
    rise = rise_of(warmup, total_steps)

    def rate(step: int) -> float:
        progress = min(1.0, (step - rise) / (total_steps - rise))
        return final + (1 - final) * (1 + math.cos(math.pi * progress)) / 2

    return warmed_up(optimizer, rise, rate)
