from typing import Annotated, Any

import torch

from autoopt.domain import Acts


def auto() -> Annotated[dict[str, Any], Acts(gpu=True)]:
    """CUDA where there is a device, else Apple's MPS, else the CPU, in single precision.

    Source: Lightning's Trainer (2019), `accelerator`.
    """
    accelerator = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    return {"accelerator": accelerator, "devices": 1, "precision": "32-true"}
