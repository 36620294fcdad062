"""A user's data sets and loaders as a data module: its stages, set up once for all trials, and its batch size."""

import copy
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import new_class
from typing import Any

import lightning.pytorch as L
import numpy as np
import torch
from lightning.fabric.utilities.seed import _collect_rng_states, _set_rng_states
from lightning.pytorch.utilities.combined_loader import CombinedLoader
from lightning.pytorch.utilities.data import extract_batch_size
from lightning.pytorch.utilities.model_helpers import is_overridden
from torch.utils.data import BatchSampler, DataLoader, Dataset, IterableDataset, RandomSampler, SequentialSampler

from autoopt.config import no_data
from autoopt.config.settings import BATCH_SIZE
from autoopt.errors import BadInput

DATA_HOOKS = ("prepare_data", "setup", "train_dataloader", "val_dataloader", "test_dataloader")
BATCH_SIZE_NAMES = ("batch_size", "train_batch_size", "bs", "batchsize", "batch")
"""The names that authors give to the batch size."""
NO_LENGTH = "the training loader does not say how many batches it has (__len__)"
Resize = Callable[[L.LightningDataModule, int], L.LightningDataModule]
"""Makes a copy of a data module that is set up, with another batch size."""
Remade = Callable[[str, int], L.LightningDataModule]
"""Makes and sets up a data module with another value of an argument (name, value); raises if it has no such argument."""


class Loaders(L.LightningDataModule):
    """Data sets or loaders for training as a data module; its batch size is that of the training loader."""

    def __init__(self, parts: Sequence[Any]):
        super().__init__()
        self.parts = tuple(parts)
        train = self.parts[0]
        self.batch_size = train.batch_size if isinstance(train, DataLoader) else BATCH_SIZE

    def train_dataloader(self) -> Any:
        train = self.parts[0]
        if isinstance(train, Dataset):
            return DataLoader(train, self.batch_size, shuffle=not isinstance(train, IterableDataset))
        return of_size(train, self.batch_size)

    def held_out(self, part: int) -> Any:
        data = self.parts[part]
        return DataLoader(data, BATCH_SIZE) if isinstance(data, Dataset) else data


class ValidatedLoaders(Loaders):
    """Data sets or loaders for training and validation as a data module."""

    def val_dataloader(self) -> Any:
        return self.held_out(1)


class TestedLoaders(ValidatedLoaders):
    """Data sets or loaders for training, validation and test as a data module."""

    def test_dataloader(self) -> Any:
        return self.held_out(2)


class OwnLoaders(L.LightningDataModule):
    """The loaders of a LightningModule as a data module."""

    def __init__(self, module: L.LightningModule):
        super().__init__()
        self.module = module

    def __copy__(self) -> "OwnLoaders":
        """A copy with a copy of the module: the `setup` of another stage may set other attributes."""
        copied = type(self)(copy.copy(self.module))
        vars(copied).update(vars(self) | {"module": copied.module})
        copied.module._hparams = copy.copy(self.module.hparams)
        return copied

    @property
    def each_its_own(self) -> bool:
        """Whether each trial trains on the loader of its own module, which may depend on what the module learns or collects.

        With a validation loader, all trials share the loaders: a module that draws its parts again could train on examples that
        another module validates on.
        """
        return not is_overridden("val_dataloader", self.module)


def own_loaders(module: L.LightningModule) -> OwnLoaders:
    """A data module with those data hooks that the author of a LightningModule has written.

    Raises:
        BadInput: the module has no training loader.
    """
    if not is_overridden("train_dataloader", module):
        raise BadInput(f"{no_data()}; {type(module).__name__} has no train_dataloader of its own")
    hooks = {hook: forwarded(hook) for hook in DATA_HOOKS if is_overridden(hook, module)}
    return new_class(type(module).__name__, (OwnLoaders,), exec_body=lambda body: body.update(hooks))(module)


def forwarded(hook: str) -> Callable[..., Any]:
    """A hook that calls the module's hook of this name, with the same Trainer."""

    def call_own(datamodule: OwnLoaders, *arguments: Any, **named: Any) -> Any:
        datamodule.module.trainer = datamodule.trainer
        return getattr(datamodule.module, hook)(*arguments, **named)

    return call_own


def of_size(loader: DataLoader, size: int | None) -> DataLoader:
    """The loader with batches of another size, in the same order; unchanged if it has a batch sampler of its own."""
    if size in (None, loader.batch_size) or type(loader.batch_sampler) is not BatchSampler:
        return loader
    resized = copy.copy(loader)  # a loader refuses to have its attributes set
    vars(resized).update(batch_size=size, batch_sampler=BatchSampler(loader.sampler, size, loader.drop_last))
    return resized


def in_random_order(loader: Any, seed: int) -> Any:
    """The loader with its examples in random order; unchanged if it draws an order itself, or its data set has no length."""
    if type(getattr(loader, "sampler", None)) is not SequentialSampler or type(loader.batch_sampler) is not BatchSampler:
        return loader
    shuffled = copy.copy(loader)
    sampler = RandomSampler(loader.dataset, generator=torch.Generator().manual_seed(seed))
    vars(shuffled).update(sampler=sampler, batch_sampler=BatchSampler(sampler, loader.batch_size, loader.drop_last))
    return shuffled


@contextmanager
def drawn_alike(seed: int) -> Iterator[None]:
    """Seed all random generators inside of the block, and restore their states after it."""
    states = random_states()
    seed_all(seed)
    try:
        yield
    finally:
        _set_rng_states(states)
        if "torch.cuda" not in states:
            torch.cuda.manual_seed_all(torch.initial_seed())  # it begins with this one, and not with that of the block


def random_states() -> dict[str, Any]:
    """The states of all random generators; those of CUDA only where it is in use, as asking for them begins to use it.

    A process from which trials are forked must not do that, since none of them could use CUDA then, nor one that trains on the CPU.
    """
    return _collect_rng_states(include_cuda=torch.cuda.is_initialized())


def seed_all(seed: int) -> None:
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def run_setup(datamodule: L.LightningDataModule, stage: str, seed: int) -> L.LightningDataModule:
    """Set up a stage beside a Trainer. Every stage has the same seed, so that all draw the same parts."""
    with drawn_alike(seed):
        with_trainer(datamodule).setup(stage)
    return datamodule


def with_trainer(datamodule: L.LightningDataModule) -> L.LightningDataModule:
    """The data module, which has a Trainer from now on: Lightning's has one in all its hooks."""
    if datamodule.trainer is None:
        quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "enable_model_summary": False}
        datamodule.trainer = L.Trainer(accelerator="cpu", devices=1, **quiet)  # type: ignore[arg-type]
    return datamodule


def ready(datamodule: L.LightningDataModule) -> L.LightningDataModule:
    """A copy for one trial that is not set up again: a `setup` that draws the parts would draw others. Nor does a `teardown` drop them."""
    copied = copy.copy(datamodule)
    copied.prepare_data = copied.setup = copied.teardown = lambda *_, **__: None  # type: ignore[method-assign, assignment]
    copied._hparams = copy.copy(datamodule.hparams)
    return copied


@dataclass(frozen=True)
class BatchSize:
    """The batch size of a data module.

    Args:
        usual: the size that the data module has; None if it is not known.
        resize: gives the data module another size; None if that is not possible.
    """

    usual: int | None = None
    resize: Resize | None = None


def ways(remade: Remade | None) -> list[Resize]:
    """The ways of giving a data module another batch size."""
    if remade is None:
        return [with_attribute]
    return [with_attribute, *(lambda _, size, name=name: remade(name, size) for name in BATCH_SIZE_NAMES)]


def probed(datamodule: L.LightningDataModule, remade: Remade | None) -> tuple[int | None, int | None]:
    """The size of a data module's batches, and the number of the first of the `ways` of changing it that works on a trial size."""
    usual = batch_size_of(datamodule.train_dataloader())
    if usual is None or (isinstance(datamodule, OwnLoaders) and datamodule.each_its_own):
        return usual, None
    probe = usual // 2 or 2
    return usual, next((number for number, way in enumerate(ways(remade)) if takes(way, datamodule, probe)), None)


def takes(way: Resize, datamodule: L.LightningDataModule, size: int) -> bool:
    """Whether the training loader has the batch size that this way gives."""
    try:
        return batch_size_of(way(datamodule, size).train_dataloader()) == size
    except (KeyError, TypeError, ValueError, AttributeError):  # no such argument, or the size is refused
        return False


def with_attribute(datamodule: L.LightningDataModule, size: int) -> L.LightningDataModule:
    """A copy with the size in every attribute and hyperparameter that names a batch size."""
    copied = ready(datamodule)
    inner = [copied.module, copied.module.hparams] if isinstance(copied, OwnLoaders) else []
    for holder in (copied, copied.hparams, *inner):
        for name in BATCH_SIZE_NAMES:
            if hasattr(holder, name):
                setattr(holder, name, size)
    return copied


def loaders_of(given: Any) -> list[Any]:
    """The loaders of what a hook returned: one (which may be a list of batches), a collection of them, or a CombinedLoader."""
    if not isinstance(given, CombinedLoader | dict | list | tuple):
        return [given]
    loaders = (given if isinstance(given, CombinedLoader) else CombinedLoader(given)).flattened
    return [given] if any(isinstance(loader, torch.Tensor) for loader in loaders) else loaders


def batches_of(given: Any) -> int:
    """The number of batches in an epoch of training; several loaders run side by side, to the end of the longest unless told otherwise.

    Raises:
        TypeError: a loader has no length.
    """
    shortest = isinstance(given, CombinedLoader) and given._mode == "min_size"
    return (min if shortest else max)(len(loader) for loader in loaders_of(given))


def batch_size_of(loader: Any) -> int | None:
    """The batch size that a loader states, or that its first batch has; None for several loaders."""
    if isinstance(loader, DataLoader) and loader.batch_size is not None:
        return loader.batch_size
    if not isinstance(loader, Iterable) or loaders_of(loader) != [loader]:
        return None
    try:
        return int(extract_batch_size(next(iter(loader))))
    except Exception:  # Lightning finds no tensor in the batch
        return None


def sized(loader: Any) -> bool:
    """Whether a loader says how many batches it has."""
    try:
        return batches_of(loader) >= 0
    except (TypeError, NotImplementedError, AttributeError):
        return False
