from typing import Annotated

import torch
from torch import Tensor

from autoopt.domain import Bounds, Range
from autoopt.plugins.augmentation.colours import blend, luma


def color_jitter(
    pixels: Tensor,
    *,
    brightness: Annotated[float, Range(0.0, 0.8), Bounds(0, 1)] = 0.4,
    contrast: Annotated[float, Range(0.0, 0.8), Bounds(0, 1)] = 0.4,
    saturation: Annotated[float, Range(0.0, 0.8), Bounds(0, 1)] = 0.4,
    hue: Annotated[float, Range(0.0, 0.5), Bounds(0, 0.5)] = 0.1,
) -> Tensor:
    """Changes the brightness, contrast, saturation and hue of each image, in this order, by random factors.

    The first three blend the image with black, with its mean grey, and with its grey copy: `other + f * (image - other)`,
    f uniform in 1 ± strength; the hue is turned by a share of the colour circle, uniform in ±`hue`.
    Images without three channels have no saturation and no hue, so the last two steps are skipped; a fourth channel is taken for
    alpha, which stays.

    Howard 2013, arXiv:1312.5402; the strengths are those of Chen et al. 2020, arXiv:2002.05709, on CIFAR-10.
    """
    if pixels.shape[1] == 4:
        colours = color_jitter(pixels[:, :3], brightness=brightness, contrast=contrast, saturation=saturation, hue=hue)
        return torch.cat([colours, pixels[:, 3:]], 1)
    drawn = 2 * torch.rand(4, len(pixels), 1, 1, 1, device=pixels.device, dtype=pixels.dtype) - 1
    pixels = blend(pixels, torch.zeros_like(pixels), 1 + brightness * drawn[0])
    pixels = blend(pixels, grey(pixels).mean((2, 3), keepdim=True), 1 + contrast * drawn[1])
    if pixels.shape[1] != 3:
        return pixels
    pixels = blend(pixels, grey(pixels), 1 + saturation * drawn[2])
    return turn_hue(pixels, hue * drawn[3]) if hue else pixels


def grey(images: Tensor) -> Tensor:
    return luma(images) if images.shape[1] == 3 else images.mean(1, keepdim=True)


def turn_hue(images: Tensor, turns: Tensor) -> Tensor:
    """The images with each hue moved on by a share of the colour circle; value and chroma of the HSV cone stay."""
    red, green, blue = images.split(1, 1)
    value = images.amax(1, keepdim=True)
    chroma = value - images.amin(1, keepdim=True)
    safe = chroma.clamp(min=1e-12)
    sixths = torch.where(
        value == red, (green - blue) / safe, torch.where(value == green, 2 + (blue - red) / safe, 4 + (red - green) / safe)
    )
    place = (sixths + 6 * turns + images.new_tensor([5, 3, 1]).view(3, 1, 1)) % 6
    return value - chroma * (2 - (place - 2).abs()).clamp(0, 1)
