from collections.abc import Callable
from typing import Annotated

import torch
from torch import Tensor, nn

from autoopt.deployment.packed import Packed, kernels, pack, unpack, unpacked_network
from autoopt.domain import Acts, Bounds, Choice, Range, Unavailable

MOST = 1000


class Shared(nn.Module):
    """A weight whose entries are values of a codebook, stored as indices."""

    def __init__(self, weight: Tensor, clusters: int):
        super().__init__()
        self.shape = tuple(weight.shape)
        self.stored_parameters = weight.numel() - clusters  # beside those of the codebook
        self.bits = next(bits for bits in (1, 2, 4, 8) if 2**bits >= clusters)
        codebook, indices = k_means(weight.detach().flatten(), clusters)
        self.codebook = nn.Parameter(codebook)
        counts = indices.bincount(minlength=clusters).clamp(min=1)
        self.codebook.register_hook(lambda gradient: gradient / counts.to(gradient))
        self.register_buffer("indices", pack(indices, self.bits))

    def forward(self) -> Tensor:
        return self.codebook[unpack(self.indices, self.bits, torch.Size(self.shape).numel())].view(self.shape)


def weight_sharing(
    model: nn.Module,
    finetune: Callable[..., nn.Module],
    *,
    clusters: Annotated[int, Choice(4, 16, 256), Bounds(2, 256)] = 16,
    epochs: Annotated[int, Range(0, 5), Bounds(0)] = 0,
) -> Annotated[nn.Module, Acts(last=True)]:
    """Each weight matrix holds only k values: the centroids of its entries by k-means, stored as a codebook and log2(k) bits per entry.

    Fine-tuning moves each centroid by the mean of its entries' gradients; with their sum, as in the source, a centroid of many
    entries would need another rate. The model is smaller on disk, but not faster, since it computes with the unpacked weights. Of a
    pruned weight, the remaining entries are shared; a weight of at most 2 k entries stays as it is.

    Han et al. 2016, arXiv:1510.00149.

    Raises:
        Unavailable: there are no weight matrices.
    """
    if not (weights := kernels(model)):
        raise Unavailable("the model has no weight matrices")
    large = {name: weight for name, weight in weights.items() if weight.numel() > 2 * clusters}
    packed = Packed(model, {name: Shared(weight, clusters) for name, weight in large.items()})
    with unpacked_network(packed) as network:
        finetune(network, epochs)
    return packed.eval()


def k_means(values: Tensor, clusters: int) -> tuple[Tensor, Tensor]:
    """Centroids, evenly spread at first, until none moves; and for each value the index of the nearest centroid.

    A centroid that is nearest to no value moves to the value that is farthest from its centroid.
    """
    ordered = values.double().sort().values
    sums = nn.functional.pad(ordered.cumsum(0), (1, 0))
    centroids, edges = torch.linspace(*ordered[[0, -1]].tolist(), clusters, dtype=torch.float64, device=values.device), None
    for _ in range(MOST):
        last, edges = edges, nn.functional.pad(torch.searchsorted(ordered, between(centroids)), (1, 1))
        edges[-1] = len(values)
        if last is not None and torch.equal(edges, last):
            break
        counts = edges.diff()
        centroids = torch.where(counts > 0, sums[edges].diff() / counts.clamp(min=1), centroids)
        if idle := int((counts == 0).sum()):
            distances = (ordered - centroids.repeat_interleave(counts)).abs()
            centroids[counts == 0] = ordered[distances.topk(idle).indices]
            centroids = centroids.sort().values
    centroids = centroids.to(values.dtype)
    return centroids, torch.bucketize(values, between(centroids))


def between(centroids: Tensor) -> Tensor:
    return (centroids[1:] + centroids[:-1]) / 2
