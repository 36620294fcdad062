from collections.abc import Callable
from typing import Annotated

import torch
from torch import Tensor

from autoopt.data.task import Task
from autoopt.domain import Bounds, Unavailable


def quantile(task: Task, *, level: Annotated[float, Bounds(above=0, below=1)]) -> Callable[[Tensor, Tensor], Tensor]:
    """The mean of `max(level * e, (level - 1) * e)`, e = target - output: the outputs learn the quantile `level` of the targets.

    Koenker & Bassett 1978, DOI 10.2307/1913643.

    Raises:
        Unavailable: the task is not regression.
    """
    if task.kind != "regression":
        raise Unavailable(f"quantile is for regression, the task is {task.kind}")

    def loss(outputs: Tensor, targets: Tensor) -> Tensor:
        errors = targets - outputs.float()
        return torch.maximum(level * errors, (level - 1) * errors).mean()

    return loss
