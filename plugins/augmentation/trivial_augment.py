import math
from collections.abc import Callable
from typing import Annotated, NamedTuple

import torch
from kornia.enhance import equalize, posterize, sharpness, solarize
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample

from autoopt.domain import Choice
from autoopt.plugins.augmentation.colours import blend, luma

LEVELS = 31


class Strengths(NamedTuple):
    """The greatest strength of each operation; shifts in pixels, `factors` range from the first to the second."""

    shear: float
    shift: int
    degrees: float
    bits_lost: int
    factors: tuple[float, float]


SPACES = {"wide": Strengths(0.99, 32, 135.0, 6, (0.01, 2.0)), "standard": Strengths(0.3, 10, 30.0, 4, (0.1, 1.9))}
CIFAR = 32
"""Pixels along a side of the images that the shifts were chosen for."""


def trivial_augment(images: Tensor, *, space: Annotated[str, Choice("wide", "standard")] = "wide") -> Tensor:
    """Applies to each image one of 14 operations at one of 31 strengths, both drawn uniformly; there is nothing to tune.

    Identity, autocontrast, equalize, solarize, posterize; saturation, contrast, brightness, sharpness; rotate, shear and shift along
    either axis, around the centre, bilinear; new pixels are zero. Shifts are up to 32 pixels (10 in the space `standard`); along a
    side of fewer than 32 pixels, up to the same share of it. Images without three channels have no saturation, so that operation
    does not change them; a fourth channel is taken for alpha, which moves with the image and keeps its values.

    Müller & Hutter 2021, arXiv:2103.10158.
    """
    count, device = len(images), images.device
    drawn = torch.randint(len(OPERATIONS), (count,))  # on the CPU, so that `nonzero` does not wait for the device
    level = (torch.randint(LEVELS, (count,)) / (LEVELS - 1)).to(device, images.dtype)
    sign = (2 * torch.randint(2, (count,)) - 1).to(device, images.dtype)
    new = images.clone()
    for number, operation in enumerate(OPERATIONS):
        if len(rows := (drawn == number).nonzero().squeeze(1).to(device)):
            channels = 3 if images.shape[1] == 4 and operation in COLOURS else images.shape[1]
            new[rows, :channels] = operation(images[rows, :channels], level[rows], sign[rows], SPACES[space])
    return new


def identity(images: Tensor, *_: object) -> Tensor:
    return images


def autocontrast(images: Tensor, *_: object) -> Tensor:
    low, high = images.amin((2, 3), keepdim=True), images.amax((2, 3), keepdim=True)
    return torch.where(high > low, (images - low) / (high - low).clamp(min=1e-12), images)


def equalized(images: Tensor, *_: object) -> Tensor:
    return equalize(images)


def solarized(images: Tensor, level: Tensor, *_: object) -> Tensor:
    return solarize(images, 256 / 255 * (1 - level))  # of 256 grey levels; at level 0 even white stays


def posterized(images: Tensor, level: Tensor, _: Tensor, limits: Strengths) -> Tensor:
    return posterize(images, 8 - (level * limits.bits_lost + 1e-4).int())


def factors(level: Tensor, limits: Strengths) -> Tensor:
    weakest, strongest = limits.factors
    return weakest + (strongest - weakest) * level


def blended(images: Tensor, others: Tensor, level: Tensor, limits: Strengths) -> Tensor:
    return blend(images, others, factors(level, limits).view(-1, 1, 1, 1))


def grey(images: Tensor) -> Tensor:
    return luma(images) if images.shape[1] == 3 else images


def color(images: Tensor, level: Tensor, _: Tensor, limits: Strengths) -> Tensor:
    return blended(images, grey(images), level, limits)


def contrast(images: Tensor, level: Tensor, _: Tensor, limits: Strengths) -> Tensor:
    return blended(images, grey(images).mean((1, 2, 3), keepdim=True), level, limits)


def brightness(images: Tensor, level: Tensor, _: Tensor, limits: Strengths) -> Tensor:
    return blended(images, torch.zeros_like(images), level, limits)


def sharpened(images: Tensor, level: Tensor, _: Tensor, limits: Strengths) -> Tensor:
    return sharpness(images, factors(level, limits))


def rotate(images: Tensor, level: Tensor, sign: Tensor, limits: Strengths) -> Tensor:
    angle, ratio = math.radians(limits.degrees) * level * sign, images.shape[2] / images.shape[3]
    return warped(images, angle.cos(), -angle.sin() * ratio, 0, angle.sin() / ratio, angle.cos(), 0)


def shear_x(images: Tensor, level: Tensor, sign: Tensor, limits: Strengths) -> Tensor:
    return warped(images, 1, limits.shear * level * sign * images.shape[2] / images.shape[3], 0, 0, 1, 0)


def shear_y(images: Tensor, level: Tensor, sign: Tensor, limits: Strengths) -> Tensor:
    return warped(images, 1, 0, 0, limits.shear * level * sign * images.shape[3] / images.shape[2], 1, 0)


def translate_x(images: Tensor, level: Tensor, sign: Tensor, limits: Strengths) -> Tensor:
    return warped(images, 1, 0, 2 * limits.shift / max(images.shape[3], CIFAR) * level * sign, 0, 1, 0)


def translate_y(images: Tensor, level: Tensor, sign: Tensor, limits: Strengths) -> Tensor:
    return warped(images, 1, 0, 0, 0, 1, 2 * limits.shift / max(images.shape[2], CIFAR) * level * sign)


def warped(images: Tensor, *entries: Tensor | float) -> Tensor:
    """The images through affine maps, row by row, from new to old places; both axes are measured from -1 to 1."""
    maps = torch.stack([images.new_zeros(len(images)) + entry for entry in entries], 1).view(-1, 2, 3)
    return grid_sample(images, affine_grid(maps, images.shape, align_corners=False), align_corners=False)


COLOURS: tuple[Callable[..., Tensor], ...] = (
    identity, autocontrast, equalized, solarized, posterized, color, contrast, brightness, sharpened,
)  # fmt: skip
OPERATIONS = (*COLOURS, rotate, shear_x, shear_y, translate_x, translate_y)
