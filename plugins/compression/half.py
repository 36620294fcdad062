import copy
from typing import Annotated

import torch
from torch import Tensor, nn

from autoopt.domain import Acts, Choice


class Half(nn.Module):
    """A model in 16 bits that takes and returns float32."""

    def __init__(self, model: nn.Module, dtype: torch.dtype):
        super().__init__()
        self.model = model
        self.dtype = dtype

    def forward(self, inputs: Tensor) -> Tensor:
        return self.model(inputs.to(self.dtype) if inputs.is_floating_point() else inputs).float()


def half(model: nn.Module, *, dtype: Annotated[str, Choice("bfloat16", "float16")] = "bfloat16") -> Annotated[nn.Module, Acts(last=True)]:
    """Weights and arithmetic in 16 bits: half the size; inputs are cast on the way in, outputs back to float32.

    bfloat16 keeps the range of float32 (so nothing overflows), float16 three more binary digits. The given model is not changed.

    Micikevicius et al. 2018, arXiv:1710.03740; bfloat16: Kalamkar et al. 2019, arXiv:1905.12322.
    """
    chosen = getattr(torch, dtype)
    return Half(copy.deepcopy(model).to(chosen), chosen)
