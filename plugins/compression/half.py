import copy
from typing import Annotated

import torch
from torch import Tensor, nn

from autoopt.deployment.packed import Compact, unpacked
from autoopt.domain import Acts, Choice, Unavailable
from autoopt.module.embedded import reads_codes


class Half(Compact):
    """A model in 16 bits that takes and returns float32; in float16 on a CPU it computes in float32.

    Args:
        casts: floating inputs are cast to 16 bits.
    """

    def __init__(self, model: nn.Module, dtype: torch.dtype, casts: bool = True):
        super().__init__()
        self.model = model
        self.dtype, self.casts = dtype, casts

    def dense(self) -> nn.Module:
        return unpacked(copy.deepcopy(self.model).float())

    def forward(self, inputs: Tensor) -> Tensor:
        if self.dtype == torch.float16 and inputs.device.type == "cpu":
            outputs: Tensor = super().forward(inputs)
            return outputs
        return self.model(inputs.to(self.dtype) if self.casts and inputs.is_floating_point() else inputs).float()


def half(
    model: nn.Module, batches, *, dtype: Annotated[str, Choice("bfloat16", "float16")] = "bfloat16"
) -> Annotated[nn.Module, Acts(last=True)]:
    """Weights in 16 bits: half the size. On a GPU it computes in 16 bits; on a CPU bfloat16 does, and float16 computes in float32.

    On a CPU float16 is so only smaller, and as fast as before: its arithmetic in 16 bits takes there up to 30 times as long. bfloat16
    is faster where the processor has instructions for it, and slower elsewhere. bfloat16 keeps the range of float32 (so nothing
    overflows), float16 three more binary digits. Inputs are cast on the way in, outputs back to float32; codes that a model looks up
    in an embedding are not cast, since bfloat16 tells whole numbers apart up to 256 only. The given model is not changed.

    Micikevicius et al. 2018, arXiv:1710.03740; bfloat16: Kalamkar et al. 2019, arXiv:1905.12322.

    Raises:
        Unavailable: the model looks up codes in its floating inputs, and does not cast the numbers beside them.
    """
    chosen = getattr(torch, dtype)
    inputs = next(iter(batches))[0].to(next(model.parameters()).device)
    smaller = Half(copy.deepcopy(model).to(chosen), chosen, casts=not reads_codes(unpacked(model), inputs))
    if not smaller.casts:
        check_computes(smaller, inputs)
    return smaller


@torch.no_grad()
def check_computes(smaller: Half, inputs: Tensor) -> None:
    """Raise Unavailable if layers get numbers in float32, as those beside codes are where the model does not cast them itself."""
    try:
        smaller(inputs)
    except RuntimeError as error:
        reason = f"the model looks up codes in its floating inputs, which must stay float32, and does not cast its numbers ({error})"
        raise Unavailable(reason) from error
