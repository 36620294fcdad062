from collections.abc import Callable
from typing import Annotated

from torch import Tensor
from torch.nn.functional import cross_entropy

from autoopt.domain import Bounds, Range


def logit_adjusted(class_counts: Tensor, *, tau: Annotated[float, Range(0.5, 2.0), Bounds(0)] = 1.0) -> Callable[[Tensor, Tensor], Tensor]:
    """Cross-entropy of the outputs (N, K) plus `tau * log π_k`, π_k the share of class k in the training examples.

    Training makes up for the shift, so that the outputs without it, by which the model decides, treat all classes as equally frequent:
    with `tau` 1 this is the decision of greatest balanced accuracy. The targets are class indices (N,) or probabilities (N, K); a class
    without examples counts as if it had one. With `batches.sampler=balanced`, which balances the classes already, nothing is added.

    Menon et al. 2021, arXiv:2007.07314.
    """
    shift = tau * (class_counts.clamp(min=1) / class_counts.sum()).log()

    def loss(outputs: Tensor, targets: Tensor) -> Tensor:
        return cross_entropy(outputs.float() + shift.to(outputs.device), targets)

    return loss
