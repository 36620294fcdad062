from typing import Annotated

import torch
from torch import Tensor
from torch.distributions import Beta

from autoopt.domain import Acts, Bounds, Range


def mixup(
    inputs: Tensor, targets: Tensor, *, alpha: Annotated[float, Range(0.1, 1.0, log=True), Bounds(0)] = 0.2
) -> Annotated[tuple, Acts(order="late")]:
    """Mixes every example and its target with another example of the batch: `lam * x_i + (1 - lam) * x_j`.

    lam ~ Beta(alpha, alpha), one draw per batch; alpha = 0 mixes nothing. Targets are class probabilities (N, K) or values (N, D).

    Zhang et al. 2018, arXiv:1710.09412.
    """
    if alpha == 0:
        return inputs, targets
    lam = Beta(alpha, alpha, validate_args=False).sample().item()
    other = torch.randperm(len(inputs), device=inputs.device)
    return torch.lerp(inputs[other], inputs, lam), torch.lerp(targets[other], targets, lam)
