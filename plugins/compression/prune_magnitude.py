from collections.abc import Callable
from functools import partial
from typing import Annotated

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from autoopt.deployment.packed import Packed, kernels, pack, place, unpack, unpacked
from autoopt.domain import Acts, Range


class Sparse(nn.Module):
    """The nonzero values of a weight, and a bit for each of its places."""

    def __init__(self, weight: Tensor):
        super().__init__()
        self.shape = tuple(weight.shape)
        self.kept = nn.Parameter(weight[weight != 0])
        self.register_buffer("places", pack(weight != 0, 1))

    def forward(self) -> Tensor:
        weight = self.kept.new_zeros(self.shape)
        weight.view(-1)[unpack(self.places, 1, weight.numel()).bool()] = self.kept
        return weight


class Mask(nn.Module):
    """Keeps the `1 - sparsity` largest of a weight, by magnitude."""

    def __init__(self, weight: Tensor, sparsity: float):
        super().__init__()
        largest = weight.abs().view(-1).topk(weight.numel() - round(sparsity * weight.numel())).indices
        self.register_buffer("mask", torch.zeros(weight.numel(), device=weight.device).index_fill(0, largest, 1.0).view_as(weight))

    def forward(self, weight: Tensor) -> Tensor:
        return weight * self.mask


def prune_magnitude(
    model: nn.Module,
    finetune: Callable[..., nn.Module],
    *,
    sparsity: Annotated[float, Range(0.5, 0.95)] = 0.8,
    epochs: Annotated[int, Range(0, 10)] = 5,
) -> Annotated[nn.Module, Acts(late=True, sparse=True)]:
    """The smallest weights of each layer become 0, more of them in each epoch: s_t = s_f - s_f (1 - t / n)^3 in epoch t of n.

    n is half of the epochs; in the others the same weights stay 0. The file holds the other weights, and a bit for each place. The
    model is smaller on disk, but not faster, since it computes with the zeros.

    Zhu & Gupta 2017, arXiv:1710.01878.
    """
    pruned = unpacked(model)
    names = list(kernels(pruned))
    steps = max(1, (epochs + 1) // 2)
    for step in range(1, steps + 1):
        share = sparsity - sparsity * (1 - step / steps) ** 3
        masked(pruned, names, share, partial(finetune, pruned, 1 if step < steps else epochs - steps + 1))
    weights = dict(pruned.named_parameters())
    return Packed(pruned, {name: Sparse(weights[name].detach()) for name in names}).eval()


def masked(model: nn.Module, names: list[str], sparsity: float, train: Callable[[], object]) -> None:
    """Train under masks of this sparsity, and leave their zeros in the weights."""
    places = [place(model, name) for name in names]
    for module, name in places:
        parametrize.register_parametrization(module, name, Mask(getattr(module, name).detach(), sparsity))
    train()
    for module, name in places:
        parametrize.remove_parametrizations(module, name, leave_parametrized=True)
