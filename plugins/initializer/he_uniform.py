from typing import Annotated

from torch import nn

from autoopt.domain import Range
from autoopt.plugins.initializer.fans import fans, layers_of


def he_uniform(model: nn.Module, *, gain: Annotated[float, Range(0.5, 2.0, log=True)] = 1.0) -> None:
    """Weights uniform within `±gain * sqrt(6 / fan_in)`, biases zero, in linear and convolution layers.

    The mean square of the activations then stays about equal through layers with ReLU between them.

    He et al. 2015, arXiv:1502.01852.
    """
    for layer in layers_of(model):
        fan_in, _ = fans(layer)
        bound = gain * (6 / fan_in) ** 0.5
        nn.init.uniform_(layer.weight, -bound, bound)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
