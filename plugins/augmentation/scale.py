import math
from typing import Annotated

import torch
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample

from autoopt.domain import Bounds, Range


def scale(planes: Tensor, *, zoom: Annotated[float, Range(0.0, 0.5), Bounds(0)] = 0.1) -> Tensor:
    """Enlarges or shrinks each image around its centre by a random factor; new pixels are zero.

    The factor is drawn from 1 / (1 + zoom) to 1 + zoom, uniformly in its logarithm. Bilinear: (N, C, H, W) -> (N, C, H, W).

    Shorten & Khoshgoftaar 2019, DOI 10.1186/s40537-019-0197-0; a tenth is that of Sermanet & LeCun 2011.
    """
    drawn = 2 * torch.rand(len(planes), device=planes.device) - 1
    return zoomed(planes, (math.log1p(zoom) * drawn).exp())


def zoomed(images: Tensor, factors: Tensor) -> Tensor:
    """The images, each enlarged by its factor: the grid says where in the old image a pixel of the new one comes from."""
    maps = torch.eye(2, 3, device=images.device, dtype=images.dtype) / factors.to(images.dtype).view(-1, 1, 1)
    return grid_sample(images, affine_grid(maps, images.shape, align_corners=False), align_corners=False)
