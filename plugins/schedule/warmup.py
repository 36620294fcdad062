"""Shared by the schedules that begin with a warm-up."""

from collections.abc import Callable

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR


def rise_of(warmup: float, total_steps: int) -> int:
    """The number of steps below the base rate, `warmup` of them all; one step at least comes after."""
    return min(int(warmup * total_steps), total_steps - 1)


def warmed_up(optimizer: Optimizer, rise: int, rate: Callable[[int], float]) -> LambdaLR:
    """A linear rise to the base rate over `rise` steps, then `rate` of the step."""
    return LambdaLR(optimizer, lambda step: (step + 1) / (rise + 1) if step < rise else rate(step))
