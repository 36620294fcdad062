"""Batches of examples, and of a loader, in the order in which a training takes them."""

from collections.abc import Iterable, Iterator
from itertools import islice
from math import ceil, inf
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import IterableDataset

from autoopt.data.loaders import sized
from autoopt.data.rows import Rows, ahead


class Chunk:
    """Several batches, made while they are iterated over; an object that Lightning does not search for tensors.

    Args:
        inputs, targets: the examples.
        indices: of the examples of each batch.
        workers: threads that read the batches, if the inputs are read on demand; with 0 they are read by the caller.
        prefetch: how many batches each thread reads ahead.
    """

    def __init__(self, inputs: Tensor, targets: Tensor, indices: tuple[Tensor, ...], workers: int = 0, prefetch: int = 2):
        self.inputs, self.targets, self.indices = inputs, targets, indices
        self.workers = workers if isinstance(inputs, Rows) and inputs.lazy else 0
        self.prefetch = prefetch

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        if self.workers:
            return ahead(self.read, self.indices, self.workers, self.workers * self.prefetch)
        return ((self.inputs[i], self.targets[i]) for i in self.indices)

    def read(self, numbers: Tensor) -> tuple[Tensor, Tensor]:
        return self.inputs[numbers], self.targets[numbers]


class Batches(IterableDataset):
    """The batches of one part, an epoch for each iteration.

    The order of an epoch is drawn from (seed, epoch), so that a training can be resumed at any epoch.

    Args:
        inputs, targets: the examples of the part, on the device of the model.
        size: examples in a batch; a last batch of one example is left out of training (batch norm needs two).
        seed: of the order; without a seed the examples keep their order.
        chunked: give the whole epoch as one `Chunk`.
        balanced: draw every class equally often.
        share: this rank and the number of ranks, which have equal shares of every batch.
        reading: `workers` and `prefetch` of `Chunk`.
    """

    def __init__(
        self,
        inputs: Tensor,
        targets: Tensor,
        size: int,
        seed: int | None = None,
        chunked: bool = False,
        balanced: bool = False,
        share: tuple[int, int] = (0, 1),
        **reading: int,
    ):
        self.inputs, self.targets, self.size, self.seed, self.chunked = inputs, targets, size, seed, chunked
        self.balanced, self.share, self.reading = balanced, share, reading
        self.epoch = self.skipped = 0

    @property
    def steps(self) -> int:
        """Batches in an epoch."""
        full, rest = divmod(len(self.inputs), self.size)
        return full + (rest // self.share[1] > (0 if self.seed is None or not full else 1))

    def __len__(self) -> int:
        return 1 if self.chunked else self.steps

    def indices(self) -> tuple[Tensor, ...]:
        if self.seed is None:
            order = torch.arange(len(self.inputs), device=self.inputs.device)
        else:
            generator = torch.Generator().manual_seed(self.seed * 100_003 + self.epoch)
            order = balanced(self.targets.cpu(), generator) if self.balanced else torch.randperm(len(self.inputs), generator=generator)
            order = order.to(self.inputs.device)
        batches = order.split(self.size)[: self.steps]
        return batches if self.share[1] == 1 else tuple(rank_share(batch, self.share) for batch in batches)

    @property
    def order(self) -> int:
        """The number of the order in which the last iteration began; Lightning begins one to see whether it can."""
        return self.epoch - 1

    def seek(self, order: int, batch: int) -> None:
        """Let the next iteration have the order of this number, without its first batches."""
        self.epoch, self.skipped = order, batch

    def __iter__(self) -> Iterator[Any]:
        chunk = Chunk(self.inputs, self.targets, self.indices()[self.skipped :], **self.reading)
        self.epoch, self.skipped = self.epoch + 1, 0
        return iter([chunk]) if self.chunked else iter(chunk)


def rank_share(batch: Tensor, share: tuple[int, int]) -> Tensor:
    """A rank's examples of a batch; all ranks have equally many, so that the mean of their gradients is that of the batch."""
    rank, ranks = share
    return batch[rank::ranks][: len(batch) // ranks]


def balanced(targets: Tensor, generator: torch.Generator) -> Tensor:
    """Indices in random order, as many as there are examples: classes are equally frequent, and so are the examples of a class."""
    classes = targets.unique()
    share = ceil(len(targets) / len(classes))
    drawn = []
    for label in classes:
        members = (targets == label).nonzero().squeeze(1)
        rounds = [members[torch.randperm(len(members), generator=generator)] for _ in range(ceil(share / len(members)))]
        drawn.append(torch.cat(rounds)[:share])
    indices = torch.cat(drawn)
    return indices[torch.randperm(len(indices), generator=generator)][: len(targets)]


def balanced_counts(counts: Tensor) -> Tensor:
    """How many examples of each class `balanced` draws, of `counts` that there are: a loss that made up for these would do it twice."""
    return torch.where(counts > 0, counts.sum() // (counts > 0).sum(), 0)


class PerBatch:
    """A loader that gives the batches of one optimizer step at a time, as a list."""

    def __init__(self, batches: Any, accumulate: int = 1, share: tuple[int, int] = (0, 1)):
        self.batches, self.accumulate, self.share = batches, accumulate, share

    @property
    def steps(self) -> float:
        """Batches in an epoch; infinity if the loader has no length."""
        return len(self.batches) if sized(self.batches) else inf

    def __len__(self) -> int:
        return ceil(len(self.batches) / self.accumulate)

    @property
    def order(self) -> int:
        return int(self.batches.order)

    def seek(self, order: int, group: int) -> None:
        """Let the next iteration have the order of this number, without its first groups of batches."""
        self.batches.seek(order, group * self.accumulate)

    def __iter__(self) -> Iterator[list[Any]]:
        return in_groups(map(self.of_rank, self.batches) if self.share[1] > 1 else self.batches, self.accumulate)

    def of_rank(self, batch: Any) -> list[Tensor]:
        return [rank_share(tensor, self.share) for tensor in batch]


def in_groups(batches: Iterable[Any], size: int) -> Iterator[list[Any]]:
    """Lists of `size` batches, the last of which may be shorter."""
    source = iter(batches)  # at once: an iteration may draw random numbers when it begins, which must be the same without groups
    return iter(lambda: list(islice(source, size)), [])
