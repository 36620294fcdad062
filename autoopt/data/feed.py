"""The batches that a training takes, ready on its device."""

import copy
from collections.abc import Mapping
from itertools import islice
from math import ceil, prod
from typing import Any

import lightning.pytorch as L
import torch
from lightning.pytorch.utilities.model_helpers import is_overridden
from torch import Tensor

from autoopt.config.settings import BATCH_SIZE
from autoopt.data.batches import Batches, PerBatch
from autoopt.data.loaders import NO_LENGTH, batches_of, in_random_order, loaders_of, ready
from autoopt.data.memory import fits_on
from autoopt.data.rows import Rows, random_indices
from autoopt.data.task import Task
from autoopt.domain import Unavailable
from autoopt.errors import BadInput

EVALUATION_BATCH, EVALUATION_BYTES = 1024, 2**24


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
        if not is_overridden("val_dataloader", self.datamodule):
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
