from typing import Annotated

import torch
from torch import Tensor

from autoopt.domain import Choice


def flip(planes: Tensor, *, direction: Annotated[str, Choice("horizontal", "vertical", "both")] = "horizontal") -> Tensor:
    """Mirrors each image with probability 1/2: left to right, top to bottom, or each of the two independently.

    Shorten & Khoshgoftaar 2019, DOI 10.1186/s40537-019-0197-0; horizontal: Krizhevsky et al. 2012.
    """
    for axis in {"horizontal": (3,), "vertical": (2,), "both": (2, 3)}[direction]:
        chosen = torch.rand(len(planes), 1, 1, 1, device=planes.device) < 0.5
        planes = torch.where(chosen, planes.flip(axis), planes)
    return planes
