from collections.abc import Callable
from typing import Annotated

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from autoopt.data.task import Task
from autoopt.domain import Bounds, Unavailable


def bce(
    task: Task, *, threshold: Annotated[float | None, Bounds(0, 1)] = 0.2, multilabel_only: bool = False
) -> Callable[[Tensor, Tensor], Tensor]:
    """`-q_k log σ(o_k) - (1 - q_k) log(1 - σ(o_k))`, each class or label by itself, summed over these; the mean over examples.

    The outputs o are (N, K), the targets q class indices (N,), labels or probabilities (N, K), σ is the logistic function. A class or
    label whose share in a mixture is above `threshold` is wholly there (q = 1), else not at all; with null, q is the share. The sum
    makes the gradient as large as that of cross-entropy. With `multilabel_only`, tasks with one class for each example are refused.

    Wightman et al. 2021, arXiv:2110.00476.

    Raises:
        Unavailable: the task is regression, or it has one class for each example and `multilabel_only` is set.
    """
    kinds = ("multilabel",) if multilabel_only else ("multilabel", "classification")
    if task.kind not in kinds:
        raise Unavailable(f"bce is for {' and '.join(kinds)}, the task is {task.kind}")

    def loss(outputs: Tensor, targets: Tensor) -> Tensor:
        q = targets if targets.is_floating_point() else one_hot(targets, outputs.shape[1]).float()
        q = q if threshold is None else (q > threshold).float()
        return torch.nn.functional.binary_cross_entropy_with_logits(outputs.float(), q, reduction="sum") / len(outputs)

    return loss
