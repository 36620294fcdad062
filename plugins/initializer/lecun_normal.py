from typing import Annotated

from torch import nn

from autoopt.domain import Bounds, Range
from autoopt.plugins.initializer.fans import fans, initialize


def lecun_normal(model: nn.Module, *, gain: Annotated[float, Range(0.5, 2.0, log=True), Bounds(above=0)] = 1.0) -> None:
    """Normal weights of standard deviation `gain * sqrt(1 / fan_in)`, biases zero, in linear and convolution layers.

    The variance of the activations then stays about equal through linear layers, and approaches 1 with SELU.

    LeCun et al. 1998, DOI 10.1007/3-540-49430-8_2; with SELU: Klambauer et al. 2017, arXiv:1706.02515.
    """
    initialize(model, lambda weight, layer: nn.init.normal_(weight, std=gain * (1 / fans(layer)[0]) ** 0.5))
