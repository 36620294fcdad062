from typing import Annotated

from torch import nn

from autoopt.domain import Bounds, Range


def elu(*, alpha: Annotated[float, Range(0.25, 2.0), Bounds(0)] = 1.0) -> nn.Module:
    """`x` where it is positive, else `alpha * (exp(x) - 1)`.

    Clevert et al. 2016, arXiv:1511.07289.
    """
    return nn.ELU(alpha)
