from typing import Annotated

from torch import nn

from autoopt.domain import Choice


def gelu(*, approximate: Annotated[str, Choice("none", "tanh")] = "none") -> nn.Module:
    """`x * Φ(x)`, Φ the distribution function of the standard normal.

    `tanh` computes `x / 2 * (1 + tanh(sqrt(2 / π) * (x + 0.044715 x³)))` instead.

    Hendrycks & Gimpel 2016, arXiv:1606.08415.
    """
    return nn.GELU(approximate)
