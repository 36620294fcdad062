from typing import Annotated

from torch import Tensor, nn

from autoopt.domain import Bounds, Range
from autoopt.plugins.initializer.fans import Layer, fans, initialize


def he_uniform(model: nn.Module, *, gain: Annotated[float, Range(0.5, 2.0, log=True), Bounds(above=0)] = 1.0) -> None:
    """Weights uniform within `±gain * sqrt(6 / fan_in)`, biases zero, in linear and convolution layers.

    The mean square of the activations then stays about equal through layers with ReLU between them.

    He et al. 2015, arXiv:1502.01852.
    """

    def draw(weight: Tensor, layer: Layer) -> None:
        bound = gain * (6 / fans(layer)[0]) ** 0.5
        nn.init.uniform_(weight, -bound, bound)

    initialize(model, draw)
