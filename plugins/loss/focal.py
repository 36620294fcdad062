from collections.abc import Callable
from typing import Annotated

from torch import Tensor
from torch.nn.functional import one_hot

from autoopt.domain import Bounds, Choice, Range
from autoopt.plugins.loss.class_weights import class_weights


def focal(
    class_counts: Tensor,
    *,
    gamma: Annotated[float, Range(0.5, 5.0), Bounds(0)] = 2.0,
    class_weight: Annotated[str, Choice("none", "balanced")] = "none",
) -> Callable[[Tensor, Tensor], Tensor]:
    """`-sum_k α_k q_k (1 - p_k)^gamma log p_k`, p the softmax of the outputs (N, K); the mean over examples.

    The targets q are class indices (N,) or probabilities (N, K). Examples that are predicted well count little.
    α is 1, or `N / (K * class_counts)` if balanced: all classes count equally.

    Lin et al. 2017, arXiv:1708.02002.
    """
    weight = class_weights(class_counts, class_weight)

    def loss(outputs: Tensor, targets: Tensor) -> Tensor:
        log_p = outputs.float().log_softmax(1)
        q = targets if targets.is_floating_point() else one_hot(targets, outputs.shape[1])
        q = q if weight is None else q * weight.to(outputs.device)
        rest = (1 - log_p.exp()).clamp(min=1e-12)  # at 0 a power below 1 has no finite gradient
        return -(q * rest**gamma * log_p).sum(1).mean()

    return loss
