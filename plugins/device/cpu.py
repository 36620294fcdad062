from typing import Annotated, Any

from autoopt.domain import Choice


def cpu(*, precision: Annotated[str, Choice("32-true", "bf16-mixed")] = "32-true") -> dict[str, Any]:
    """The CPU; bf16 pays only where the processor has instructions for it (AMX, AVX-512 BF16).

    Mixed precision: Micikevicius et al. 2018, arXiv:1710.03740; bfloat16: Kalamkar et al. 2019, arXiv:1905.12322.
    """
    return {"accelerator": "cpu", "devices": 1, "precision": precision}
