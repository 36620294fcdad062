"""The batches that a training takes, ready on its device."""

import copy
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from math import ceil, inf, prod
from typing import Any

import lightning.pytorch as L
import torch
from torch import Tensor
from torch.utils.data import IterableDataset

from autoopt.config.settings import BATCH_SIZE
from autoopt.data.loaders import NO_LENGTH, batches_of, in_random_order, loaders_of, ready, sized
from autoopt.data.memory import fits_on
from autoopt.data.rows import Rows, ahead, random_indices
from autoopt.data.task import Task
from autoopt.domain import Unavailable
from autoopt.errors import BadInput

EVALUATION_BATCH, EVALUATION_BYTES = 1024, 2**24


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


class Feed:
    """The batches of a task in the form that a module takes, on the device where it trains.

    Args:
        batches: the recipe's node `batches`; without a `size`, batches have the size that the user's data module gives them.
        seed: of the order of the examples.
        chunked: give whole epochs at once, for `Net`.
        limit: the most batches of a part, for a preflight, which are drawn at random; the Trainer of a user's module counts them
            itself.
        share: this rank and the number of ranks, which have equal shares of every batch. Lightning shares out the loader of a
            user's module, whose batches are made smaller here.

    Raises:
        BadInput: there are more ranks than examples in a batch.
    """

    def __init__(
        self,
        task: Task,
        batches: Mapping[str, Any],
        seed: int,
        chunked: bool,
        limit: int | None = None,
        share: tuple[int, int] = (0, 1),
    ):
        size = batches["size"]
        self.task, self.size, self.seed, self.chunked, self.share = task, size or BATCH_SIZE, seed, chunked, share
        if self.size < share[1]:
            raise BadInput(f"batches.size={self.size} is too small for {share[1]} devices: each needs an example of every batch")
        self.accumulate, self.kept = batches.get("accumulate") or 1, batches.get("cache", "memory") == "memory"
        self.balanced = batches.get("sampler") == "balanced"
        self.reading = {key: batches[key] for key in ("workers", "prefetch") if key in batches}
        self.datamodule = task.datamodule and of_batch_size(task, size and (size if chunked else size // share[1]))
        self.limit = limit if chunked else None
        self.parts, self.groups = dict(task.parts), task.groups
        if limit:
            most = limit * self.size * self.accumulate
            numbers = {part: random_indices(len(targets), most) for part, (_, targets) in task.parts.items()}
            self.parts = {part: (x[numbers[part]], y[numbers[part]]) for part, (x, y) in task.parts.items()}
            self.groups = None if task.groups is None else task.groups[numbers["test"]]

    def to(self, device: torch.device) -> None:
        self.parts = {part: (self.inputs_on(device, x), y.to(device)) for part, (x, y) in self.parts.items()}

    def inputs_on(self, device: torch.device, inputs: Any) -> Any:
        """Inputs that are moved to the device as a whole if they fit and `batches.cache` keeps them in memory, else batch by batch."""
        whole = self.kept and fits_on(device, inputs.nbytes)
        if isinstance(inputs, Rows):
            return inputs.to(device, whole)
        return inputs.to(device) if whole or device.type == "cpu" else Rows(inputs, device=device)

    def steps(self, most: float | None = None) -> int:
        """Optimizer steps in an epoch.

        Args:
            most: the most batches in an epoch (an int), or the share of them (a float), as Lightning's `limit_train_batches`.

        Raises:
            Unavailable: the data module's training loader has no length.
        """
        try:
            batches = batches_of(self.datamodule.train_dataloader()) if self.datamodule else self.batches().steps
        except TypeError as error:
            raise Unavailable(NO_LENGTH) from error
        ranks = self.share[1] if self.datamodule and not self.chunked else 1
        batches = ceil(batches / ranks)
        limited = batches if most is None else min(batches, most) if isinstance(most, int) else int(batches * most)
        return ceil(limited / self.accumulate)

    def batches(self, chunked: bool = False) -> Batches:
        return Batches(*self.parts["train"], self.size, self.seed, chunked, self.balanced, self.share, **self.reading)

    def train(self, whole_epochs: bool = True) -> Any:
        """The training batches, in whole epochs for `Net` unless a callback runs after every batch; else one by one."""
        if self.datamodule is not None:
            loader = self.limited(self.datamodule.train_dataloader())
            return PerBatch(loader, self.accumulate, self.share) if self.chunked else loader
        batches = self.batches(chunked=self.chunked and whole_epochs)
        return PerBatch(batches, self.accumulate) if self.chunked and not whole_epochs else batches

    def calibration(self) -> Any:
        """The training batches without augmentation, in a seeded random order, so that the first ones stand for the others."""
        if self.datamodule is not None:
            return self.limited(in_random_order(self.datamodule.train_dataloader(), self.seed))
        return Batches(*self.parts["train"], self.size, self.seed, **self.reading)

    def example(self, part: str) -> Tensor:
        """A batch of inputs of a part, drawn at random, the same for every seed."""
        batches = self.held_out(part)
        if isinstance(batches, Batches):
            return batches.inputs[random_indices(len(batches.inputs), batches.size).to(batches.inputs.device)]
        inputs: Tensor = self.batch(part)[0]
        return inputs

    def batch(self, part: str) -> Any:
        """A batch of a part of a data module, drawn at random, the same for every seed; of several loaders, of the first.

        None if that is empty.
        """
        return next(iter(in_random_order(loaders_of(self.held_out(part))[0], 0)), None)

    def held_out(self, part: str) -> Any:
        """The batches of validation or test, or None if a data module has none."""
        if self.datamodule is None:
            inputs, targets = self.parts[part]
            size = max(1, min(EVALUATION_BATCH, EVALUATION_BYTES // (4 * prod(inputs.shape[1:]))))
            return Batches(inputs, targets, size, **self.reading)
        if part == "test":
            return None if self.task.testing is None else self.limited(ready(self.task.testing).test_dataloader())
        if not overridden("val_dataloader", self.datamodule, L.LightningDataModule):
            return None
        loader = self.datamodule.val_dataloader()
        return self.limited(loader) if loaders_of(loader) else None

    def to_measure(self, loader: Any) -> dict[str, Any]:
        """The arguments for `Trainer.validate` or `test`; through the data module, if there is one, so that its batch hooks run."""
        if self.datamodule is None:
            return {"dataloaders": loader}
        datamodule = copy.copy(self.datamodule)
        datamodule.val_dataloader = datamodule.test_dataloader = lambda: loader  # type: ignore[method-assign]
        return {"datamodule": datamodule}

    def limited(self, loader: Any) -> Any:
        """The loader of a part; for a network without the list around it, and in a preflight its first batches."""
        loader = loaders_of(loader)[0] if self.chunked else loader
        return loader if self.limit is None else list(islice(in_random_order(loader, 0), self.limit))


def of_batch_size(task: Task, size: int | None) -> L.LightningDataModule:
    """The data module of a trial. Only its training loader gets the size: all trials are measured on the same batches.

    Raises:
        BadInput: the data module cannot be given another size.
    """
    assert task.datamodule is not None
    datamodule = ready(task.datamodule)
    if size not in (None, task.batch_size.usual):
        if task.batch_size.resize is None:
            raise BadInput(f"batches.size={size}: the data module cannot be given another batch size")
        datamodule.train_dataloader = task.batch_size.resize(task.datamodule, size).train_dataloader  # type: ignore[method-assign]
    return datamodule


def overridden(name: str, instance: Any, base: type) -> bool:
    return getattr(type(instance), name) is not getattr(base, name)
