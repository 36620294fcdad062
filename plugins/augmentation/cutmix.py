from typing import Annotated

import torch
from torch import Tensor
from torch.distributions import Beta

from autoopt.domain import Acts, Bounds, Range


def cutmix(
    images: Tensor, targets: Tensor, *, alpha: Annotated[float, Range(0.1, 1.0, log=True), Bounds(0)] = 1.0
) -> Annotated[tuple, Acts(order="late")]:
    """Pastes a rectangle of another image of the batch into each image, at the same place, and mixes the targets by its area.

    The rectangle has the shape of the image, the share 1 - lam of its area, lam ~ Beta(alpha, alpha), and a uniform centre; the
    part outside of the image is cut off. The targets, class probabilities (N, K) or values (N, D), are mixed by the share of
    pasted pixels. Each image has a rectangle of its own; alpha = 0 pastes nothing.

    Yun et al. 2019, arXiv:1905.04899.
    """
    if alpha == 0:
        return images, targets
    count, _, height, width = images.shape
    side = (1 - Beta(alpha, alpha, validate_args=False).sample((count, 1))).sqrt().to(images.device)
    rows, columns = (covered(size, side) for size in (height, width))
    pasted = rows[:, None, :, None] & columns[:, None, None, :]
    share = pasted.to(targets.dtype).mean((1, 2, 3)).view(-1, *[1] * (targets.ndim - 1))
    other = torch.randperm(count, device=images.device)
    return torch.where(pasted, images[other], images), torch.lerp(targets, targets[other], share)


def covered(size: int, side: Tensor) -> Tensor:
    """The pixels of an axis whose centres lie within a stretch of `side` of its length around a uniform place: (N, size)."""
    centres = (torch.arange(size, device=side.device) + 0.5) / size
    return (centres - torch.rand_like(side)).abs() < side / 2
