from importlib.util import find_spec
from typing import Annotated, Any

from lightning.pytorch.accelerators import XLAAccelerator

from autoopt.domain import Choice, Unavailable


def tpu(*, precision: Annotated[str, Choice("32-true", "bf16-true", others=True)] = "32-true") -> dict[str, Any]:
    """One core of a Google TPU, through XLA.

    Jouppi et al. 2017, arXiv:1704.04760; bfloat16: Kalamkar et al. 2019, arXiv:1905.12322.

    Raises:
        Unavailable: torch_xla is not installed, or no TPU is visible.
    """
    if find_spec("torch_xla") is None:
        raise Unavailable("no TPU: torch_xla is not installed")
    if not XLAAccelerator.is_available():
        raise Unavailable("no TPU is visible")
    return {"accelerator": "tpu", "devices": 1, "precision": precision}
