from typing import Annotated

import torch
from torch import Tensor

from autoopt.domain import Range


def pixel_noise(images: Tensor, *, deviation: Annotated[float, Range(0.0, 0.2)] = 0.05) -> Tensor:
    """Adds Gaussian noise to every pixel of (N, C, H, W), and cuts to [0, 1].

    Bishop 1995, DOI 10.1162/neco.1995.7.1.108.
    """
    return (images + deviation * torch.randn_like(images)).clamp(0, 1)
