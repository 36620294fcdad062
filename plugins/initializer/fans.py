"""Shared by the initializers: which layers they set, and how many units a layer connects."""

from collections.abc import Callable, Iterator

from torch import nn
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd


def layers_of(model: nn.Module) -> Iterator[nn.Linear | _ConvNd]:
    """The linear and convolution layers, without those that their author has frozen, such as of a teacher: they were learnt before."""
    return (layer for layer in model.modules() if isinstance(layer, nn.Linear | _ConvNd) and layer.weight.requires_grad)


def initialize(model: nn.Module, draw: Callable[[nn.Linear | _ConvNd], object]) -> None:
    """Draw the weight of each layer, and set its bias to 0."""
    for layer in layers_of(model):
        draw(layer)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)


def orthonormal(layer: nn.Linear | _ConvNd, gain: float = 1.0) -> None:
    """`gain` times a random matrix with orthonormal rows or columns, in each group of a convolution by itself."""
    for weight in layer.weight.detach().chunk(getattr(layer, "groups", 1)):
        nn.init.orthogonal_(weight, gain)


def fans(layer: nn.Linear | _ConvNd) -> tuple[int, int]:
    """How many inputs an output of a layer sees, and how many outputs an input reaches, at a stride of 1.

    The weight of a convolution is (outputs, inputs / groups, …), of a transposed one (inputs, outputs / groups, …).
    """
    size = layer.weight[0, 0].numel()
    rows, columns = size * layer.weight.shape[0] // getattr(layer, "groups", 1), size * layer.weight.shape[1]
    return (rows, columns) if isinstance(layer, _ConvTransposeNd) else (columns, rows)
