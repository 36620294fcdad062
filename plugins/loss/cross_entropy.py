from collections.abc import Callable
from typing import Annotated

import torch
from torch import Tensor
from torch.nn.functional import one_hot

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
    an example counts 1 on average. They weigh an example by its own class, before its target is smoothed, so that they do not change
    to which probabilities smoothing leads. The loss is the mean over the examples of the batch.

    Label smoothing: Szegedy et al. 2016, arXiv:1512.00567; weights: King & Zeng 2001, DOI 10.1093/oxfordjournals.pan.a004868.
    """
    weight = class_weights(class_counts, class_weight)

    def loss(outputs: Tensor, targets: Tensor) -> Tensor:
        if weight is None:
            return torch.nn.functional.cross_entropy(outputs.float(), targets, label_smoothing=label_smoothing)
        q = targets if targets.is_floating_point() else one_hot(targets, outputs.shape[1]).float()
        q = q * weight.to(outputs.device)
        q = torch.lerp(q, q.mean(1, keepdim=True).expand_as(q), label_smoothing)  # torch would weigh the smoothed mass of each class
        return torch.nn.functional.cross_entropy(outputs.float(), q)

    return loss
