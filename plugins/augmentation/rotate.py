import math
from typing import Annotated

import torch
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample

from autoopt.domain import Bounds, Range


def rotate(planes: Tensor, *, degrees: Annotated[float, Range(0.0, 45.0), Bounds(0, 360)] = 20.0) -> Tensor:
    """Rotates each image around its centre by a random angle, drawn uniformly within ±`degrees`; new pixels are zero.

    Bilinear: (N, C, H, W) -> (N, C, H, W).

    Shorten & Khoshgoftaar 2019, DOI 10.1186/s40537-019-0197-0: up to 20 degrees keep the label of a digit.
    """
    drawn = 2 * torch.rand(len(planes), device=planes.device) - 1
    return turned(planes, math.radians(degrees) * drawn)


def turned(images: Tensor, angles: Tensor) -> Tensor:
    """The images, each counter-clockwise by its angle in radians; `affine_grid` measures both axes from -1 to 1."""
    height, width = images.shape[2:]
    cos, sin, zero = angles.cos(), angles.sin(), torch.zeros_like(angles)
    maps = torch.stack([cos, -sin * height / width, zero, sin * width / height, cos, zero], 1).view(-1, 2, 3)
    grid = affine_grid(maps.to(images), images.shape, align_corners=False)
    return grid_sample(images, grid, align_corners=False)
