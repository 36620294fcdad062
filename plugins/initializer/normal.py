from typing import Annotated

from torch import nn

from autoopt.domain import Bounds, Range
from autoopt.plugins.initializer.fans import initialize


def normal(model: nn.Module, *, std: Annotated[float, Range(0.001, 0.3, log=True), Bounds(above=0)] = 0.01) -> None:
    """Normal weights of standard deviation `std` in every layer, biases zero, in linear and convolution layers.

    Krizhevsky et al. 2012, DOI 10.1145/3065386.
    """
    initialize(model, lambda weight, layer: nn.init.normal_(weight, std=std))
