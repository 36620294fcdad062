from typing import Annotated

import torch
from torch import Tensor

from autoopt.domain import Bounds, Range

RADIUS = 0.25


def gaussian_samples(
    inputs: Tensor, targets: Tensor, *, share: Annotated[float, Range(0.0, 0.5), Bounds(0, 1)] = 0.25
) -> tuple[Tensor, Tensor]:
    """Replaces each example, with probability `share`, by a draw from a normal distribution fitted to similar examples of the batch.

    Similar are the n examples of its class, or those whose target value is less than 0.25 away from its own (a quarter of the
    standard deviation, where the targets are scaled). `m + sum_j z_j (x_j - m) / sqrt(n)`, z_j ~ N(0, 1), has their mean m and
    their covariance. Target values are drawn together with the inputs; classes stay. Images in [0, 1] stay in this range.

    Source: this formula is autoopt's own; combining examples of a class: DeVries & Taylor 2017, arXiv:1702.05538.
    """
    x, y = inputs.flatten(1), targets.flatten(1)
    alike = (torch.cdist(y, y) < RADIUS).to(x.dtype)
    mean = alike / alike.sum(1, keepdim=True)
    pull = mean.sqrt() * torch.randn_like(mean)
    weights = mean + pull - pull.sum(1, keepdim=True) * mean  # the formula above, as a weight for each x_j
    chosen = torch.rand(len(x), 1, device=x.device) < share
    x, y = (torch.where(chosen, weights @ values, values) for values in (x, y))
    within = inputs.ndim == 4 and inputs.min() >= 0 and inputs.max() <= 1
    return (x.clamp(0, 1) if within else x).view_as(inputs), y.view_as(targets)
