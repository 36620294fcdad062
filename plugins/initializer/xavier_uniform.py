from typing import Annotated

from torch import nn
from torch.nn.modules.conv import _ConvNd

from autoopt.domain import Range
from autoopt.plugins.initializer.fans import fans, initialize


def xavier_uniform(model: nn.Module, *, gain: Annotated[float, Range(0.5, 2.0, log=True)] = 1.0) -> None:
    """Weights uniform within `±gain * sqrt(6 / (fan_in + fan_out))`, biases zero, in linear and convolution layers.

    The variance of activations and gradients then stays about equal through linear layers.

    Glorot & Bengio 2010 (AISTATS).
    """

    def draw(layer: nn.Linear | _ConvNd) -> None:
        bound = gain * (6 / sum(fans(layer))) ** 0.5
        nn.init.uniform_(layer.weight, -bound, bound)

    initialize(model, draw)
