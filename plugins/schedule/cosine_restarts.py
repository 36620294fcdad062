import math
from bisect import bisect_right
from itertools import accumulate
from typing import Annotated

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from autoopt.domain import Bounds, Range
from autoopt.plugins.schedule.warmup import rise_of, warmed_up


def cosine_restarts(
    optimizer: Optimizer,
    total_steps: int,
    *,
    cycles: Annotated[int, Range(2, 5), Bounds(1)] = 3,
    growth: Annotated[float, Range(1.0, 3.0), Bounds(above=0)] = 2.0,
    warmup: Annotated[float, Range(0.0, 0.2), Bounds(0, 1)] = 0.05,
    final: Annotated[float, Range(0.0, 0.1), Bounds(0, 1)] = 0.0,
) -> LambdaLR:
    """Falls `cycles` times along half a cosine from the base rate to `final` times it, each cycle `growth` times as long as the one before.

    First it rises linearly over the fraction `warmup` of the steps.
    In a cycle of T steps: `final + (1 - final) * (1 + cos(pi * t / T)) / 2`.

    Loshchilov & Hutter 2017, arXiv:1608.03983; the warm-up is that of Goyal et al. 2017, arXiv:1706.02677.
    """
    rise = rise_of(warmup, total_steps)
    lengths = [growth**cycle for cycle in range(cycles)]
    starts = [rise + (total_steps - rise) * share / sum(lengths) for share in accumulate(lengths, initial=0.0)]

    def rate(step: int) -> float:
        cycle = min(bisect_right(starts, step), cycles) - 1
        progress = min(1.0, (step - starts[cycle]) / (starts[cycle + 1] - starts[cycle]))
        return final + (1 - final) * (1 + math.cos(math.pi * progress)) / 2

    return warmed_up(optimizer, rise, rate)
