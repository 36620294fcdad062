from collections.abc import Callable
from typing import Annotated

import torch
from torch import Tensor

from autoopt.data.task import Task
from autoopt.domain import Bounds, Range, Unavailable


def huber(task: Task, *, delta: Annotated[float, Range(0.1, 10.0, log=True), Bounds(above=0)] = 1.0) -> Callable[[Tensor, Tensor], Tensor]:
    """The mean of `e² / 2` where the error `e = |output - target|` is at most `delta`, else of `delta * (e - delta / 2)`.

    `delta` is in standard deviations of the training targets, where these are normalised.

    Huber 1964, DOI 10.1214/aoms/1177703732.

    Raises:
        Unavailable: the task is classification.
    """
    if task.kind != "regression":
        raise Unavailable(f"huber is for regression, the task is {task.kind}")

    def loss(outputs: Tensor, targets: Tensor) -> Tensor:
        return torch.nn.functional.huber_loss(outputs.float(), targets, delta=delta)

    return loss
