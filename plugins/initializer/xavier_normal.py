from typing import Annotated

from torch import nn

from autoopt.domain import Bounds, Range
from autoopt.plugins.initializer.fans import fans, initialize


def xavier_normal(model: nn.Module, *, gain: Annotated[float, Range(0.5, 2.0, log=True), Bounds(above=0)] = 1.0) -> None:
    """Normal weights of standard deviation `gain * sqrt(2 / (fan_in + fan_out))`, biases zero, in linear and convolution layers.

    The variance of activations and gradients then stays about equal through linear layers.

    Glorot & Bengio 2010 (AISTATS).
    """
    initialize(model, lambda weight, layer: nn.init.normal_(weight, std=gain * (2 / sum(fans(layer))) ** 0.5))
