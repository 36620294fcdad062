import math
from typing import Annotated

import torch
from torch import Tensor
from torch.nn.functional import pad

from autoopt.domain import Bounds, Range


def translate(planes: Tensor, *, shift: Annotated[float, Range(0.0, 0.25), Bounds(0, 1)] = 0.125) -> Tensor:
    """Shifts each image by a random whole number of pixels; new pixels are zero.

    Per axis the offset is drawn uniformly within ±shift times the size, then rounded: (N, C, H, W) -> (N, C, H, W).

    Shorten & Khoshgoftaar 2019, DOI 10.1186/s40537-019-0197-0; an eighth (4 of 32 pixels) is that of He et al. 2016.
    """
    count, _, height, width = planes.shape
    y, x = math.ceil(shift * height), math.ceil(shift * width)
    windows = pad(planes, (x, x, y, y)).unfold(2, height, 1).unfold(3, width, 1)
    drawn = 2 * torch.rand(2, count, device=planes.device) - 1
    rows, columns = (drawn * shift * drawn.new_tensor([[height], [width]])).round().long()
    return windows[torch.arange(count, device=planes.device), :, rows + y, columns + x]
