from typing import Annotated

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from autoopt.domain import Bounds, Range
from autoopt.plugins.schedule.warmup import rise_of, warmed_up


def linear(
    optimizer: Optimizer,
    total_steps: int,
    *,
    warmup: Annotated[float, Range(0.0, 0.2), Bounds(0, 1)] = 0.05,
    final: Annotated[float, Range(0.0, 0.1), Bounds(0, 1)] = 0.0,
) -> LambdaLR:
    """Rises linearly to the base rate over the fraction `warmup` of the steps, then falls linearly to `final` times it.

    The warm-up is that of Goyal et al. 2017, arXiv:1706.02677; the fall that of Devlin et al. 2019, arXiv:1810.04805.
    """
    rise = rise_of(warmup, total_steps)

    def rate(step: int) -> float:
        return 1 - (1 - final) * min(1.0, (step - rise) / (total_steps - rise))

    return warmed_up(optimizer, rise, rate)
