from typing import Annotated

from torch import nn
from torch.nn.modules.conv import _ConvNd

from autoopt.domain import Range


def normal(model: nn.Module, *, std: Annotated[float, Range(0.001, 0.3, log=True)] = 0.01) -> None:
    """Normal weights of standard deviation `std` in every layer, biases zero, in linear and convolution layers.

    Krizhevsky et al. 2012, DOI 10.1145/3065386.
    """
    for layer in model.modules():
        if isinstance(layer, nn.Linear | _ConvNd):
            nn.init.normal_(layer.weight, std=std)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
