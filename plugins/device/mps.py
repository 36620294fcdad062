from typing import Any

import torch

from autoopt.domain import Unavailable


def mps() -> dict[str, Any]:
    """The GPU of an Apple computer, in single precision.

    Source: Apple's Metal Performance Shaders, in torch since 1.12 (2022).

    Raises:
        Unavailable: torch was built without MPS, or there is no such GPU.
    """
    if not torch.backends.mps.is_built():
        raise Unavailable("no MPS device: torch was built without MPS")
    if not torch.backends.mps.is_available():
        raise Unavailable("no MPS device: it needs an Apple GPU and macOS 12.3 or newer")
    return {"accelerator": "mps", "devices": 1, "precision": "32-true"}
