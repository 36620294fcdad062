"""Shared by the initializers: how many units a layer connects."""

from torch import nn
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd


def fans(layer: nn.Linear | _ConvNd) -> tuple[int, int]:
    """How many inputs an output of a layer sees, and how many outputs an input reaches, at a stride of 1.

    The weight of a convolution is (outputs, inputs / groups, …), of a transposed one (inputs, outputs / groups, …).
    """
    size = layer.weight[0, 0].numel()
    rows, columns = size * layer.weight.shape[0] // getattr(layer, "groups", 1), size * layer.weight.shape[1]
    return (rows, columns) if isinstance(layer, _ConvTransposeNd) else (columns, rows)
