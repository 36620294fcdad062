from collections.abc import Callable

import torch
from torch import Tensor

from autoopt.data.task import Task
from autoopt.domain import Unavailable


def mse(task: Task) -> Callable[[Tensor, Tensor], Tensor]:
    """The mean of `(output - target)²` over examples and values, both (N, D).

    Legendre 1805; Gauss 1809.

    Raises:
        Unavailable: the task is classification.
    """
    if task.kind != "regression":
        raise Unavailable(f"mse is for regression, the task is {task.kind}")

    def loss(outputs: Tensor, targets: Tensor) -> Tensor:
        return torch.nn.functional.mse_loss(outputs.float(), targets)

    return loss
