from typing import Annotated

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from autoopt.domain import Bounds, Range


def exponential(
    optimizer: Optimizer,
    total_steps: int,
    *,
    final: Annotated[float, Range(1e-4, 0.5, log=True), Bounds(high=1, above=0)] = 1e-2,
) -> LambdaLR:
    """Multiplies the rate by the same factor at every step, so that it ends at `final` times the base rate: `final ** (t / T)`.

    Li & Arora 2020, arXiv:1910.07454, on what such rates amount to with normalisation and weight decay.
    """
    return LambdaLR(optimizer, lambda step: final ** min(1.0, step / total_steps))
