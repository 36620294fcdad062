"""Shared by the initializers: which layers they set, and how many units a layer connects."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd
from torch.nn.utils.parametrize import is_parametrized

from autoopt.domain import Unavailable

Layer = nn.Linear | _ConvNd


def layers_of(model: nn.Module) -> Iterator[Layer]:
    """The linear and convolution layers, without those that their author has frozen, such as of a teacher: they were learnt before."""
    return (layer for layer in model.modules() if isinstance(layer, nn.Linear | _ConvNd) and layer.weight.requires_grad)


def initialize(model: nn.Module, draw: Callable[[Tensor, Layer], object]) -> None:
    """Draw the weight of each layer, and set its bias to 0.

    Args:
        draw: fills a weight, given its layer.

    Raises:
        Unavailable: a weight cannot be set.
    """
    for layer in layers_of(model):
        weight = layer.weight.detach().clone()
        draw(weight, layer)
        set_weight(layer, weight)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)


@torch.no_grad()
def set_weight(layer: Layer, weight: Tensor) -> None:
    """Set the weight of a layer, also where it is computed from other parameters, as by weight normalisation.

    Raises:
        Unavailable: a hook computes it.
    """
    if isinstance(layer.weight, nn.Parameter):
        layer.weight.copy_(weight)
    elif is_parametrized(layer, "weight"):
        layer.weight = weight  # type: ignore[assignment]
    else:
        where = "torch.nn.utils.parametrizations has norms of weights that can be set"
        raise Unavailable(f"the weight of a {type(layer).__name__} layer is computed by a hook, and cannot be set; {where}")


def orthonormal(weight: Tensor, layer: Layer, gain: float = 1.0) -> None:
    """`gain` times a random matrix with orthonormal rows or columns, in each group of a convolution by itself."""
    for part in weight.chunk(getattr(layer, "groups", 1)):
        nn.init.orthogonal_(part, gain)


def fans(layer: Layer) -> tuple[int, int]:
    """How many inputs an output of a layer sees, and how many outputs an input reaches, at a stride of 1.

    The weight of a convolution is (outputs, inputs / groups, …), of a transposed one (inputs, outputs / groups, …).
    """
    size = layer.weight[0, 0].numel()
    rows, columns = size * layer.weight.shape[0] // getattr(layer, "groups", 1), size * layer.weight.shape[1]
    return (rows, columns) if isinstance(layer, _ConvTransposeNd) else (columns, rows)
