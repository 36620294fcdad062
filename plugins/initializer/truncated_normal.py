from typing import Annotated

from torch import nn

from autoopt.domain import Bounds, Range
from autoopt.plugins.initializer.fans import initialize


def truncated_normal(model: nn.Module, *, std: Annotated[float, Range(0.001, 0.3, log=True), Bounds(above=0)] = 0.02) -> None:
    """Normal weights of standard deviation `std`, drawn again beyond `±2 std`; biases zero, in linear and convolution layers.

    Devlin et al. 2018, arXiv:1810.04805 (its code).
    """
    initialize(model, lambda weight, layer: nn.init.trunc_normal_(weight, std=std, a=-2 * std, b=2 * std))
