from typing import Annotated

from torch import nn

from autoopt.domain import Bounds, Range
from autoopt.plugins.initializer.fans import fans, initialize


def he_normal(model: nn.Module, *, gain: Annotated[float, Range(0.5, 2.0, log=True), Bounds(above=0)] = 1.0) -> None:
    """Normal weights of standard deviation `gain * sqrt(2 / fan_in)`, biases zero, in linear and convolution layers.

    The mean square of the activations then stays about equal through layers with ReLU between them.

    He et al. 2015, arXiv:1502.01852.
    """
    initialize(model, lambda weight, layer: nn.init.normal_(weight, std=gain * (2 / fans(layer)[0]) ** 0.5))
