from typing import Annotated

from torch import nn

from autoopt.domain import Range


def leaky_relu(*, negative_slope: Annotated[float, Range(0.001, 0.3, log=True)] = 0.01) -> nn.Module:
    """`x` where it is positive, else `negative_slope * x`.

    Maas et al. 2013 (ICML workshop).
    """
    return nn.LeakyReLU(negative_slope)
