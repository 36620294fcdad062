import copy
from collections.abc import Callable
from typing import Annotated

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from autoopt.domain import Bounds, Range


def distill(
    model: nn.Module,
    batches,
    finetune: Callable[..., nn.Module],
    build: Callable[..., nn.Module],
    *,
    share: Annotated[float, Range(0.1, 0.75), Bounds(0, 1)] = 0.5,
    temperature: Annotated[float, Range(1.0, 10.0), Bounds(above=0)] = 4.0,
    weight: Annotated[float, Range(0.1, 1.0), Bounds(0, 1)] = 0.9,
    epochs: Annotated[int, Range(5, 50, log=True), Bounds(1)] = 20,
    argument: str = "width",
) -> nn.Module:
    """A smaller model learns from the trained one: (1 - w) L + w T^2 KL(p_T || q_T), with p_T and q_T the softmax of the logits over T.

    The student is the recipe's model with `argument` reduced to its share (a width that is a multiple of 8 stays one), from new weights.
    For regression and for several labels, the squared distance to the trained model's outputs replaces the divergence.

    Args:
        weight: w, the weight of the trained model's outputs against the recipe's own loss L.
        argument: the argument of the model that is reduced.

    Hinton et al. 2015, arXiv:1503.02531.

    Raises:
        Unavailable: the model has no such argument, or computes its own loss.
    """
    step = 8 if argument == "width" else 1
    student, teacher = build(**{argument: lambda value: smaller(value, share, step)}), copy.deepcopy(model).eval()
    classes = not next(iter(batches))[1].is_floating_point()

    def loss(inputs: Tensor, outputs: Tensor, task_loss: Tensor) -> Tensor:
        with torch.no_grad():
            taught = teacher(inputs)
        distance = divergence(outputs, taught, temperature) if classes else F.mse_loss(outputs, taught)
        return (1 - weight) * task_loss + weight * distance

    return finetune(student, epochs, loss)


def smaller(value: int, share: float, step: int) -> int:
    """A share of a number; a multiple of the step (which a transformer's heads divide) if the number is a larger multiple of it."""
    step = step if value % step == 0 and value > step else 1
    return step * max(1, min(round(value * share / step), value // step - 1))


def divergence(outputs: Tensor, taught: Tensor, temperature: float) -> Tensor:
    """Kullback-Leibler divergence of the student from the teacher, at a temperature; T^2 keeps its gradient's size."""
    student, teacher = (F.log_softmax(logits / temperature, 1) for logits in (outputs, taught))
    return temperature**2 * F.kl_div(student, teacher, reduction="batchmean", log_target=True)
