"""The ready batches that a training is fed with."""

import copy
from collections.abc import Iterator
from itertools import islice
from typing import Any

import lightning.pytorch as L
import torch
from torch import Tensor
from torch.utils.data import IterableDataset

from autoopt.task import Task

EVALUATION_BATCH = 1024


class Chunk:
    """Batches in a row, cut as they are asked for; opaque to Lightning, which would walk through every tensor."""

    def __init__(self, inputs: Tensor, targets: Tensor, indices: tuple[Tensor, ...]):
        self.inputs, self.targets, self.indices = inputs, targets, indices

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        return ((self.inputs[i], self.targets[i]) for i in self.indices)


class Batches(IterableDataset):
    """Ready batches of tensors that are where the model is.

    Each epoch has an order of its own, drawn from (seed, epoch), so that a training can be taken up at any epoch.

    Args:
        inputs, targets: the examples of one part.
        size: examples a batch; a last batch of one is left out in training (batch norm has no variance there).
        seed: of the order; none: as they stand.
        chunked: give the whole epoch as one `Chunk`.
    """

    def __init__(self, inputs: Tensor, targets: Tensor, size: int, seed: int | None = None, chunked: bool = False):
        self.inputs, self.targets, self.size, self.seed, self.chunked = inputs, targets, size, seed, chunked
        self.epoch = 0

    @property
    def steps(self) -> int:
        """Batches an epoch."""
        full, rest = divmod(len(self.inputs), self.size)
        return full + (rest > (0 if self.seed is None or not full else 1))

    def __len__(self) -> int:
        return 1 if self.chunked else self.steps

    def indices(self) -> tuple[Tensor, ...]:
        if self.seed is None:
            order = torch.arange(len(self.inputs), device=self.inputs.device)
        else:
            generator = torch.Generator().manual_seed(self.seed * 100_003 + self.epoch)
            order = torch.randperm(len(self.inputs), generator=generator).to(self.inputs.device)
        return order.split(self.size)[: self.steps]

    def __iter__(self) -> Iterator[Any]:
        chunk = Chunk(self.inputs, self.targets, self.indices())
        self.epoch += 1
        return iter([chunk]) if self.chunked else iter(chunk)


class PerBatch:
    """Batches one by one, each as a chunk of one."""

    def __init__(self, batches: Any):
        self.batches = batches

    @property
    def steps(self) -> int:
        return len(self.batches)

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[list[Any]]:
        return ([batch] for batch in self.batches)


class Feed:
    """The batches of a task, as one kind of module takes them, on the device where it trains.

    Args:
        size: examples a batch; none: as the user's data module has it.
        chunked: whole epochs at once, for our own module.
        limit: batches of each part, for a preflight; those of a user's module are counted by its Trainer.
    """

    def __init__(self, task: Task, size: int | None, seed: int, chunked: bool, limit: int | None = None):
        self.task, self.size, self.seed, self.chunked = task, size or 64, seed, chunked
        self.datamodule = task.datamodule and of_batch_size(task.datamodule, size)
        self.limit = limit if chunked else None
        top = limit * self.size if limit else None
        self.parts = {part: (x[:top], y[:top]) for part, (x, y) in task.parts.items()}

    def to(self, device: torch.device) -> None:
        self.parts = {part: (x.to(device), y.to(device)) for part, (x, y) in self.parts.items()}

    @property
    def steps(self) -> int:
        """Training batches an epoch."""
        return len(self.datamodule.train_dataloader()) if self.datamodule else Batches(*self.parts["train"], self.size, self.seed).steps

    def train(self, whole_epochs: bool = True) -> Any:
        """The training batches: an epoch at a time, or (where a callback follows every batch) one by one."""
        if self.datamodule is not None:
            loader = self.limited(self.datamodule.train_dataloader())
            return PerBatch(loader) if self.chunked else loader
        batches = Batches(*self.parts["train"], self.size, self.seed, chunked=self.chunked and whole_epochs)
        return PerBatch(batches) if self.chunked and not whole_epochs else batches

    def calibration(self) -> Any:
        """The training batches in their order, as they are, for a compression to look at."""
        return self.limited(self.datamodule.train_dataloader()) if self.datamodule else Batches(*self.parts["train"], self.size)

    def example(self, part: str) -> Tensor:
        """The first inputs of a part."""
        return next(iter(self.held_out(part)))[0]

    def held_out(self, part: str) -> Any:
        """The batches of validation or test, or nothing where there are none."""
        if self.datamodule is None:
            return Batches(*self.parts[part], EVALUATION_BATCH)
        if part == "test":
            self.datamodule.setup("test")
        name = {"validation": "val_dataloader", "test": "test_dataloader"}[part]
        if not overridden(name, self.datamodule, L.LightningDataModule):
            return None
        return self.limited(getattr(self.datamodule, name)())

    def limited(self, loader: Any) -> Any:
        return loader if self.limit is None else list(islice(loader, self.limit))


def of_batch_size(datamodule: L.LightningDataModule, size: int | None) -> L.LightningDataModule:
    """A data module of a trial's own; with a size it has that, as its attribute or as its hyperparameter."""
    own = copy.copy(datamodule)
    own._hparams = copy.copy(datamodule.hparams)
    for holder in (own, own.hparams):
        if size is not None and hasattr(holder, "batch_size"):
            holder.batch_size = size
    return own


def has_batch_size(datamodule: L.LightningDataModule) -> bool:
    return hasattr(datamodule, "batch_size") or "batch_size" in datamodule.hparams


def overridden(name: str, instance: Any, base: type) -> bool:
    return getattr(type(instance), name) is not getattr(base, name)
