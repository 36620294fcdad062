from typing import Annotated

from torch import nn

from autoopt.domain import Bounds, Range
from autoopt.plugins.initializer.fans import initialize, orthonormal


def orthogonal(model: nn.Module, *, gain: Annotated[float, Range(0.5, 2.0, log=True), Bounds(above=0)] = 1.0) -> None:
    """`gain` times a random matrix with orthonormal rows or columns, biases zero, in linear and convolution layers.

    The weight of a convolution is a matrix with a row for each output channel, of a transposed one for each input channel, in each
    group by itself. Square linear layers then keep lengths and angles.

    Saxe et al. 2013, arXiv:1312.6120.
    """
    initialize(model, lambda weight, layer: orthonormal(weight, layer, gain))
