from collections.abc import Callable

import torch
from torch import Tensor

from autoopt.data.task import Task
from autoopt.domain import Unavailable


def mae(task: Task) -> Callable[[Tensor, Tensor], Tensor]:
    """The mean of `|output - target|` over examples and values, both (N, D).

    Boscovich 1757; Laplace 1774.

    Raises:
        Unavailable: the task is classification.
    """
    if task.kind != "regression":
        raise Unavailable(f"mae is for regression, the task is {task.kind}")

    def loss(outputs: Tensor, targets: Tensor) -> Tensor:
        return torch.nn.functional.l1_loss(outputs.float(), targets)

    return loss
