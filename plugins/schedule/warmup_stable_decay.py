from typing import Annotated

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from autoopt.domain import Bounds, Range
from autoopt.plugins.schedule.warmup import rise_of, warmed_up


def warmup_stable_decay(
    optimizer: Optimizer,
    total_steps: int,
    *,
    warmup: Annotated[float, Range(0.0, 0.2), Bounds(0, 1)] = 0.05,
    decay: Annotated[float, Range(0.05, 0.5), Bounds(0, 1)] = 0.2,
) -> LambdaLR:
    """Rises linearly over the fraction `warmup` of the steps, stays, and falls to 0 as `1 - sqrt(t / T)` over the last fraction `decay`.

    Hägele et al. 2024, arXiv:2405.18392.
    """
    rise = rise_of(warmup, total_steps)
    fall = max(1, min(int(decay * total_steps), total_steps - 1 - rise))

    def rate(step: int) -> float:
        return 1 - min(1.0, max(0, step - total_steps + fall) / fall) ** 0.5

    return warmed_up(optimizer, rise, rate)
