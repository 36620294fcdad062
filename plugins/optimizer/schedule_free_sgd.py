from typing import Annotated

from schedulefree import SGDScheduleFree
from torch.optim import Optimizer

from autoopt.domain import Acts, Bounds, Range


def schedule_free_sgd(
    params,
    total_steps: int,
    *,
    lr: Annotated[float, Range(1e-2, 10.0, log=True), Bounds(0)] = 1.0,
    weight_decay: Annotated[float, Range(1e-6, 1e-2, log=True), Bounds(0)] = 5e-4,
    momentum: Annotated[float, Range(0.5, 0.98), Bounds(above=0, below=1)] = 0.9,
    warmup: Annotated[float, Range(0.0, 0.2), Bounds(0, 1)] = 0.05,
) -> Annotated[Optimizer, Acts(fills="schedule")]:
    """SGD's steps for z with g at `y = (1 - momentum) * z + momentum * x`; x, the mean of all z, is evaluated. It needs no schedule.

    The rate rises linearly over the fraction `warmup` of the steps; the weight of each z in x is the square of the highest rate so far.
    The running statistics of batch norm are renewed at x, over the batches of each epoch.

    Defazio et al. 2024, arXiv:2405.15682.
    """
    return SGDScheduleFree(params, lr=lr, momentum=momentum, weight_decay=weight_decay, warmup_steps=int(warmup * total_steps))
