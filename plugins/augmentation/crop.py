from typing import Annotated

import torch
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample

from autoopt.domain import Bounds, Range


def crop(planes: Tensor, *, cut: Annotated[float, Range(0.1, 0.92), Bounds(0, 1)] = 0.92) -> Tensor:
    """Cuts a random rectangle out of each image, and resizes it to the image's size.

    Its area is drawn uniformly from `1 - cut` to 1 of the image's; its ratio of width to height is 3/4 to 4/3 times the image's,
    uniform in the logarithm, as far as it fits; its place is uniform. Bilinear: (N, C, H, W) -> (N, C, H, W). `cut=0` changes nothing.

    Random crop and resize: Szegedy et al. 2015, arXiv:1409.4842, whose areas are 8% to 100%.
    """
    area, aspect, x, y = torch.rand(4, len(planes), device=planes.device, dtype=planes.dtype)
    area = 1 - cut * area
    low, high = area.clamp(min=3 / 4).log(), (1 / area).clamp(max=4 / 3).log()
    aspect = torch.lerp(low, high, aspect).exp()
    width, height = (area * aspect).sqrt(), (area / aspect).sqrt()
    zero = torch.zeros_like(area)
    maps = torch.stack([width, zero, (1 - width) * (2 * x - 1), zero, height, (1 - height) * (2 * y - 1)], 1).view(-1, 2, 3)
    grid = affine_grid(maps, planes.shape, align_corners=False)
    return grid_sample(planes, grid, padding_mode="border", align_corners=False)
