"""The range of the values of images, and how it decides what is done with them."""

import math
from collections.abc import Iterable

import torch
from torch import Tensor

from autoopt.data.rows import Source, all_rows
from autoopt.data.scale import Scale

Span = tuple[float, float]
"""The least and the greatest value."""
WITHIN = ("images", "pixels")
"""The names under which an augmentation is offered only images in [0, 1]."""


def span_of(tensors: Iterable[Tensor]) -> Span:
    """The least and the greatest value of all tensors; NaN if one holds NaN."""
    ends = torch.stack([torch.stack(tensor.aminmax()) for tensor in tensors])
    return float(ends[:, 0].min()), float(ends[:, 1].max())


def extent_of(images: Tensor | Source, train: Tensor, span: Span | None) -> Span:
    """The span of the training images before they are scaled; the span of all images if they are in [0, 1]."""
    if images.dtype == torch.uint8:
        return 0.0, 1.0
    return span if span and span[0] >= 0 and span[1] <= 1 else span_of(all_rows(images, train))


def full_scale(high: float) -> float:
    """The greatest value that images with values up to `high` may have: 1, or that of the least number of bits, such as 255 or 4095."""
    return 1.0 if high <= 1 else high if high < 2 else float(2 ** math.ceil(math.log2(high + 1)) - 1)


def value_range(extent: Span, scale: Scale | None) -> tuple[tuple[str, ...], dict[str, str]]:
    """Notes on the values of images; and why the images cannot be offered to augmentations, by the names under which they cannot."""
    low, high = extent
    if low >= 0 and high <= 1:
        return (), {}
    if scale is not None:
        return (f"the images have values from {low:g} to {high:g}; their range is taken as 0 to {full_scale(high):g}",), {}
    return (), dict.fromkeys(WITHIN, f"the images have values from {low:g} to {high:g}, outside of [0, 1]")
