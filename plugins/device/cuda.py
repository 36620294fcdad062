from typing import Annotated, Any

import torch

from autoopt.domain import Choice, Unavailable


def cuda(*, precision: Annotated[str, Choice("32-true", "bf16-mixed")] = "32-true") -> dict[str, Any]:
    """One NVIDIA GPU.

    Mixed precision: Micikevicius et al. 2018, arXiv:1710.03740; bfloat16: Kalamkar et al. 2019, arXiv:1905.12322.

    Raises:
        Unavailable: torch was built without CUDA, or no device is visible.
    """
    if not torch.backends.cuda.is_built():
        raise Unavailable("no CUDA device: torch was built without CUDA")
    if not torch.cuda.is_available():
        raise Unavailable("no CUDA device is visible")
    return {"accelerator": "cuda", "devices": 1, "precision": precision}
