"""Shared by the initializers: which layers they set, and how many units a layer connects."""

from collections.abc import Iterator

from torch import nn
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd


def layers_of(model: nn.Module) -> Iterator[nn.Linear | _ConvNd]:
    """The linear and convolution layers, without those that their author has frozen, such as of a teacher: they were learnt before."""
    return (layer for layer in model.modules() if isinstance(layer, nn.Linear | _ConvNd) and layer.weight.requires_grad)


def fans(layer: nn.Linear | _ConvNd) -> tuple[int, int]:
    """How many inputs an output of a layer sees, and how many outputs an input reaches, at a stride of 1.

    The weight of a convolution is (outputs, inputs / groups, …), of a transposed one (inputs, outputs / groups, …).
    """
    size = layer.weight[0, 0].numel()
    rows, columns = size * layer.weight.shape[0] // getattr(layer, "groups", 1), size * layer.weight.shape[1]
    return (rows, columns) if isinstance(layer, _ConvTransposeNd) else (columns, rows)
