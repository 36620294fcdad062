from collections.abc import Callable
from typing import Annotated

import torch
from torch import Tensor, nn

from autoopt.deployment.packed import names_of, unpacked
from autoopt.domain import Acts, Bounds, Range, Unavailable

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)


class Factorised(nn.Sequential):
    """Two layers in place of one; code that reads the weight of the one (as a transformer's layer does) gets their product."""

    @property
    def weight(self) -> Tensor:
        first, second = (layer.weight for layer in self)
        return (second.flatten(1) @ first.flatten(1)).view(len(second), *first.shape[1:])

    @property
    def bias(self) -> Tensor | None:
        return self[1].bias


def low_rank(
    model: nn.Module,
    finetune: Callable[..., nn.Module],
    *,
    energy: Annotated[float, Range(0.5, 0.99), Bounds(0, 1)] = 0.9,
    epochs: Annotated[int, Range(0, 10), Bounds(0)] = 5,
) -> Annotated[nn.Module, Acts(order="late")]:
    """Linear and convolutional layers become two each, by truncated singular value decomposition: W = U S V^T with the k largest of S.

    k is the least rank that keeps the share `energy` of the sum of S^2. A convolution becomes one to k channels and one of 1x1. A layer
    that would not have fewer weights stays as it is, and so does one that shares its weight with another; all layers do if `energy` is
    too high or pruning has made them small.

    Denton et al. 2014, arXiv:1404.0736; for convolutions: Zhang et al. 2016, arXiv:1505.06798.

    Raises:
        Unavailable: there are no such layers.
    """
    smaller = unpacked(model)
    layers = [m for m in smaller.modules() if type(m) is nn.Linear or (type(m) in CONVOLUTIONS and m.groups == 1)]
    if not layers:
        raise Unavailable("the model has no linear or convolutional layers")
    names = names_of(smaller)
    own = [layer for layer in layers if len(names.get(layer.weight, ())) < 2]
    pairs = {layer: pair for layer in own if (pair := factorised(layer, energy)) is not None}
    if not pairs:
        return smaller
    for parent in list(smaller.modules()):
        for name, child in parent._modules.items():
            parent._modules[name] = pairs.get(child, child)
    return finetune(smaller, epochs).eval()


@torch.no_grad()
def factorised(layer: nn.Module, energy: float) -> Factorised | None:
    """The two layers; None if they would not have fewer weights."""
    weight = layer.weight.flatten(1)
    left, values, right = torch.linalg.svd(weight, full_matrices=False)
    kept = values.square().cumsum(0) / values.square().sum()
    rank = int((kept < energy).sum()) + 1
    if rank * sum(weight.shape) >= weight.numel():
        return None
    first, second = factor_layers(layer, rank)
    root = values[:rank].sqrt()
    first.weight.copy_((root[:, None] * right[:rank]).view_as(first.weight))
    second.weight.copy_((left[:, :rank] * root).view_as(second.weight))
    if layer.bias is not None:
        second.bias.copy_(layer.bias)
    return Factorised(first, second).to(weight).train(layer.training)


def factor_layers(layer: nn.Module, rank: int) -> tuple[nn.Module, nn.Module]:
    bias = layer.bias is not None
    if isinstance(layer, nn.Linear):
        return nn.Linear(layer.in_features, rank, bias=False), nn.Linear(rank, layer.out_features, bias=bias)
    place = {name: getattr(layer, name) for name in ("kernel_size", "stride", "padding", "dilation", "padding_mode")}
    kind = type(layer)
    return kind(layer.in_channels, rank, bias=False, **place), kind(rank, layer.out_channels, 1, bias=bias)
