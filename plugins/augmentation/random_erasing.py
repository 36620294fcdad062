from typing import Annotated

import torch
from torch import Tensor

from autoopt.domain import Bounds, Choice, Range

SMALLEST = 0.02
ASPECT = 0.3


def random_erasing(
    pixels: Tensor,
    *,
    probability: Annotated[float, Range(0.1, 1.0), Bounds(0, 1)] = 0.5,
    area: Annotated[float, Range(0.05, 0.4), Bounds(0, 1)] = 0.4,
    fill: Annotated[str, Choice("random", "zero")] = "random",
) -> Tensor:
    """Overwrites a random rectangle in each image, with `probability`, by uniform random pixels or by zeros.

    Its share of the image is drawn uniformly from 0.02 to `area`; its ratio of height to width is 0.3 to 1 / 0.3 times the image's,
    uniform in the logarithm, as far as it fits; its place is uniform. It erases each pixel whose centre lies within.

    Zhong et al. 2017, arXiv:1708.04896; with zeros: cutout, DeVries & Taylor 2017, arXiv:1708.04552.
    """
    count, _, height, width = pixels.shape
    happens, share, aspect, top, left = torch.rand(5, count, 1, 1, device=pixels.device)
    share = min(SMALLEST, area) + (area - min(SMALLEST, area)) * share
    longest = (1 / share).clamp(max=1 / ASPECT).log()
    aspect = ((2 * aspect - 1) * longest).exp()
    rows, columns = within(height, (share * aspect).sqrt(), top), within(width, (share / aspect).sqrt(), left)
    erased = (happens < probability)[..., None] & rows[..., None] & columns[..., None, :]
    return torch.where(erased, torch.rand_like(pixels) if fill == "random" else 0, pixels)


def within(size: int, length: Tensor, place: Tensor) -> Tensor:
    """The pixels of an axis whose centres lie in a stretch of `length`, a share of the axis, at a uniform place: (N, 1, size)."""
    centres = (torch.arange(size, device=length.device) + 0.5) / size
    start = place * (1 - length)
    return (centres > start) & (centres < start + length)
