from typing import Annotated

from schedulefree import AdamWScheduleFree
from torch.optim import Optimizer

from autoopt.domain import Acts, Bounds, Range, Unavailable


def schedule_free_adamw(
    params,
    total_steps: int,
    *,
    lr: Annotated[float, Range(1e-4, 3e-2, log=True), Bounds(0)] = 2.5e-3,
    weight_decay: Annotated[float, Range(1e-6, 1.0, log=True), Bounds(0)] = 1e-2,
    beta1: Annotated[float, Range(0.8, 0.98), Bounds(above=0, below=1)] = 0.9,
    warmup: Annotated[float, Range(0.0, 0.2), Bounds(0, 1)] = 0.05,
) -> Annotated[Optimizer, Acts(fills="schedule")]:
    """AdamW's steps for z with g at `y = (1 - beta1) * z + beta1 * x`; x, the mean of all z, is evaluated. It needs no schedule.

    The rate rises linearly over the fraction `warmup` of the steps; the weight of each z in x is the square of the highest rate so far.
    The running statistics of batch norm are renewed at x, over the batches of each epoch.

    Defazio et al. 2024, arXiv:2405.15682.

    Raises:
        Unavailable: there are complex weights, whose squares the implementation takes for those of their lengths.
    """
    if any(p.is_complex() for group in params for p in group["params"]):
        raise Unavailable("its implementation does not support complex weights")
    return AdamWScheduleFree(params, lr=lr, betas=(beta1, 0.999), weight_decay=weight_decay, warmup_steps=int(warmup * total_steps))
