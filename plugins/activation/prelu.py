from typing import Annotated

from torch import nn

from autoopt.domain import Range


def prelu(*, init: Annotated[float, Range(0.01, 0.5, log=True)] = 0.25) -> nn.Module:
    """`x` where it is positive, else `a x`; each activation learns its own `a`, which starts at `init` and is never decayed.

    He et al. 2015, arXiv:1502.01852.
    """
    return nn.PReLU(init=init)
