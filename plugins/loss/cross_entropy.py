from collections.abc import Callable
from typing import Annotated

import torch
from torch import Tensor

from autoopt.domain import Bounds, Choice, Range
from autoopt.plugins.loss.class_weights import class_weights


def cross_entropy(
    class_counts: Tensor,
    *,
    label_smoothing: Annotated[float, Range(0.0, 0.2), Bounds(0, 1)] = 0.0,
    class_weight: Annotated[str, Choice("none", "balanced")] = "none",
) -> Callable[[Tensor, Tensor], Tensor]:
    """`-sum_k q_k log p_k`, p the softmax of the outputs (N, K), q the targets: class indices (N,) or probabilities (N, K).

    `label_smoothing` s makes q `(1 - s) * q + s / K`. Balanced weights are `N / (K * class_counts)`: all classes count equally, and
    an example counts 1 on average. The loss is the mean over the examples of the batch.

    Label smoothing: Szegedy et al. 2016, arXiv:1512.00567; weights: King & Zeng 2001, DOI 10.1093/oxfordjournals.pan.a004868.
    """
    weight = class_weights(class_counts, class_weight)

    def loss(outputs: Tensor, targets: Tensor) -> Tensor:
        weights = weight if weight is None else weight.to(outputs.device)
        summed = torch.nn.functional.cross_entropy(outputs.float(), targets, weights, label_smoothing=label_smoothing, reduction="sum")
        return summed / len(outputs)  # torch's mean is over the weights of the batch where targets are indices, over examples where not

    return loss
