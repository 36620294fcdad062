from collections.abc import Callable
from itertools import chain
from typing import Annotated

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from autoopt.deployment.packed import Packed, kernels, names_of, pack, place, unpack, unpacked
from autoopt.domain import Acts, Bounds, Range


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
    """Sets some of a weight to 0."""

    def __init__(self, weight: Tensor):
        super().__init__()
        self.register_buffer(
            "kept", torch.ones(weight.shape, dtype=torch.bool, device=weight.device)
        )  # in order, whatever the weight's layout

    def forward(self, weight: Tensor) -> Tensor:
        return weight * self.kept

    @torch.no_grad()
    def keep_largest(self, weight: Tensor, sparsity: float) -> None:
        """Keep the `1 - sparsity` largest of what is left of the weight, by magnitude."""
        left = (weight * self.kept).abs().flatten()
        largest = left.topk(left.numel() - round(sparsity * left.numel())).indices
        self.kept.zero_().view(-1)[largest] = True


def prune_magnitude(
    model: nn.Module,
    finetune: Callable[..., nn.Module],
    *,
    sparsity: Annotated[float, Range(0.5, 0.95), Bounds(0, 1)] = 0.8,
    epochs: Annotated[int, Range(0, 10), Bounds(0)] = 5,
) -> Annotated[nn.Module, Acts(order="late", sparse=True)]:
    """The smallest weights of each layer become 0, more of them in each epoch: s_t = s_f - s_f (1 - t / n)^3 in epoch t of n.

    n is half of the epochs; in the others the same weights stay 0. All epochs are one training, with one schedule of the learning
    rate. The file holds the other weights, and a bit for each place. The model is smaller on disk, but not faster, since it computes
    with the zeros.

    Zhu & Gupta 2017, arXiv:1710.01878.
    """
    pruned = unpacked(model)
    found, held = kernels(pruned), names_of(pruned)
    places = [[place(pruned, name) for name in held[weight]] for weight in found.values()]  # all that share a weight
    for those in places:
        mask = Mask(getattr(*those[0]))
        for module, name in those:
            parametrize.register_parametrization(module, name, mask)
    steps = max(1, (epochs + 1) // 2)

    def prune(epoch: int) -> None:
        share = sparsity - sparsity * (1 - min(1.0, (epoch + 1) / steps)) ** 3
        for (module, name), *_ in places:
            weight = module.parametrizations[name]
            weight[0].keep_largest(weight.original, share)

    finetune(pruned, epochs, before_epoch=prune)
    prune(steps)
    for module, name in chain(*places):
        parametrize.remove_parametrizations(module, name, leave_parametrized=True)
    weights = dict(pruned.named_parameters())
    return Packed(pruned, {name: Sparse(weights[name].detach()) for name in found}).eval()
