"""Shared by the augmentations of colours."""

from torch import Tensor, lerp

LUMA = (0.299, 0.587, 0.114)


def luma(images: Tensor) -> Tensor:
    """The grey copy of images with three channels: (N, 3, H, W) -> (N, 1, H, W)."""
    return (images * images.new_tensor(LUMA).view(3, 1, 1)).sum(1, keepdim=True)


def blend(images: Tensor, others: Tensor, factors: Tensor) -> Tensor:
    """`others + factors * (images - others)`, in [0, 1]."""
    return lerp(others, images, factors).clamp(0, 1)
