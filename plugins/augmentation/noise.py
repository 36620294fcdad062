from typing import Annotated

import torch
from torch import Tensor

from autoopt.domain import Bounds, Range


def noise(inputs: Tensor, *, deviation: Annotated[float, Range(0.01, 0.5, log=True), Bounds(0)] = 0.1) -> Tensor:
    """Adds `deviation * z` to every number of the inputs, z ~ N(0, 1); images in [0, 1] stay in this range.

    Small noise acts as a penalty on the slope of the network (Tikhonov).

    Bishop 1995, DOI 10.1162/neco.1995.7.1.108.
    """
    noisy = inputs + deviation * torch.randn_like(inputs)
    return noisy.clamp(0, 1) if inputs.ndim == 4 and inputs.min() >= 0 and inputs.max() <= 1 else noisy
