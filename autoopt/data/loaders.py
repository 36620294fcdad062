"""A user's loaders: data sets and loaders as a data module, its stages set up alike for all trials, and its batch size."""

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
from lightning.pytorch.utilities.data import extract_batch_size
from lightning.pytorch.utilities.model_helpers import is_overridden
from torch.utils.data import BatchSampler, DataLoader, Dataset, IterableDataset

from autoopt.config import no_data
from autoopt.errors import BadInput

USUAL = 64
"""The batch size of data that have none of their own."""
DATA_HOOKS = ("prepare_data", "setup", "train_dataloader", "val_dataloader", "test_dataloader")
BATCH_SIZE_NAMES = ("batch_size", "train_batch_size", "bs", "batchsize", "batch")
"""What authors call the batch size."""
NO_LENGTH = "the training loader does not say how many batches it has (__len__)"
Resize = Callable[[L.LightningDataModule, int], L.LightningDataModule]
"""A data module with another batch size, made of one that is set up."""


class Loaders(L.LightningDataModule):
    """Data sets or loaders as a data module, whose batch size is that of its training loader; here for training alone."""

    def __init__(self, parts: Sequence[Any]):
        super().__init__()
        self.parts = tuple(parts)
        train = self.parts[0]
        self.batch_size = train.batch_size if isinstance(train, DataLoader) else USUAL

    def train_dataloader(self) -> Any:
        train = self.parts[0]
        if isinstance(train, Dataset):
            return DataLoader(train, self.batch_size, shuffle=not isinstance(train, IterableDataset))
        return of_size(train, self.batch_size)

    def held_out(self, part: int) -> Any:
        found = self.parts[part]
        return DataLoader(found, USUAL) if isinstance(found, Dataset) else found


class ValidatedLoaders(Loaders):
    """The same with a validation part."""

    def val_dataloader(self) -> Any:
        return self.held_out(1)


class TestedLoaders(ValidatedLoaders):
    """The same with a test part."""

    def test_dataloader(self) -> Any:
        return self.held_out(2)


class OwnLoaders(L.LightningDataModule):
    """The loaders of a LightningModule as a data module."""

    def __init__(self, module: L.LightningModule):
        super().__init__()
        self.module = module

    def __copy__(self) -> "OwnLoaders":
        """With a module of its own: the `setup` of another stage may set other attributes."""
        made = type(self)(copy.copy(self.module))
        vars(made).update(vars(self) | {"module": made.module})
        made.module._hparams = copy.copy(self.module.hparams)
        return made

    @property
    def each_its_own(self) -> bool:
        """Whether each trial trains on the loader of its own module, which may give what the module gathers while it trains.

        With a validation loader the trials share all loaders: a module that draws its parts would train on validation examples.
        """
        return not is_overridden("val_dataloader", self.module)


def own_loaders(module: L.LightningModule) -> OwnLoaders:
    """A data module with those hooks that the author of a LightningModule has written.

    Raises:
        BadInput: the module has no training loader.
    """
    if not is_overridden("train_dataloader", module):
        raise BadInput(f"{no_data()}; {type(module).__name__} has no train_dataloader of its own")
    hooks = {hook: forwarded(hook) for hook in DATA_HOOKS if is_overridden(hook, module)}
    return new_class(type(module).__name__, (OwnLoaders,), exec_body=lambda body: body.update(hooks))(module)


def forwarded(hook: str) -> Callable[..., Any]:
    """A hook that calls the module's, beside the same Trainer."""

    def call_own(own: OwnLoaders, *arguments: Any, **named: Any) -> Any:
        own.module.trainer = own.trainer
        return getattr(own.module, hook)(*arguments, **named)

    return call_own


def as_datamodule(found: Any) -> Any:
    """Loaders or data sets (train, validation) or (train, validation, test), or those of a LightningModule, as a data module.

    A LightningModule may train without validation, on a training loader alone. Anything else is returned as it is.

    Raises:
        BadInput: they are of another number, or something else is among them.
    """
    if isinstance(found, L.LightningModule):
        return own_loaders(found)
    if isinstance(found, Dataset):
        raise BadInput(f"data: a {type(found).__name__} alone; give (train, validation) or (train, validation, test)")
    if isinstance(found, DataLoader):
        return Loaders([found])
    if not isinstance(found, tuple | list):
        return found
    if len(found) not in (1, 2, 3):
        raise BadInput(f"data: {len(found)} parts; give (train, validation) or (train, validation, test)")
    if odd := [part for part in found if not isinstance(part, DataLoader | Dataset)]:
        raise BadInput(f"data: a part is {type(odd[0]).__name__}; expected torch.utils.data.DataLoader or Dataset")
    return (Loaders, ValidatedLoaders, TestedLoaders)[len(found) - 1](found)


def of_size(loader: DataLoader, size: int | None) -> DataLoader:
    """A loader over the same examples, in the same order, with batches of another size; as it is where it makes its own batches."""
    if size in (None, loader.batch_size) or type(loader.batch_sampler) is not BatchSampler:
        return loader
    own = copy.copy(loader)  # a loader refuses to be changed once it is made
    vars(own).update(batch_size=size, batch_sampler=BatchSampler(loader.sampler, size, loader.drop_last))
    return own


@contextmanager
def drawn_alike(seed: int) -> Iterator[None]:
    """What is drawn inside depends on the seed alone, and what is drawn afterwards does not depend on it."""
    states = _collect_rng_states()
    seed_all(seed)
    try:
        yield
    finally:
        _set_rng_states(states)


def seed_all(seed: int) -> None:
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def run_setup(datamodule: L.LightningDataModule, stage: str, seed: int) -> L.LightningDataModule:
    """Set up a stage beside a Trainer, as Lightning does; every stage draws alike, so that their parts fit together."""
    if datamodule.trainer is None:
        quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "enable_model_summary": False}
        datamodule.trainer = L.Trainer(accelerator="cpu", devices=1, **quiet)  # type: ignore[arg-type]
    with drawn_alike(seed):
        datamodule.setup(stage)
    return datamodule


def ready(datamodule: L.LightningDataModule) -> L.LightningDataModule:
    """A copy for one trial, which is not set up anew: a `setup` that draws the parts would draw others."""
    own = copy.copy(datamodule)
    own.prepare_data = own.setup = lambda *_, **__: None  # type: ignore[method-assign, assignment]
    own._hparams = copy.copy(datamodule.hparams)
    return own


@dataclass(frozen=True)
class BatchSize:
    """The batch size of a data module.

    Args:
        usual: as the data module has it; none where it cannot be told.
        resize: gives it another one, where that can be done.
    """

    usual: int | None = None
    resize: Resize | None = None

    @classmethod
    def of(cls, datamodule: L.LightningDataModule, remade: Callable[[str, int], L.LightningDataModule] | None) -> "BatchSize":
        """Try each way on a smaller batch size, and see whether the first batch is of it.

        Args:
            remade: a data module, set up, of another value of an argument of its constructor; raises where there is none.
        """
        usual = batch_size_of(datamodule.train_dataloader())
        if usual is None or (isinstance(datamodule, OwnLoaders) and datamodule.each_its_own):
            return cls(usual)
        probe = usual // 2 or 2
        ways: list[Resize] = [with_attribute]
        if remade is not None:
            ways += [lambda _, size, name=name: remade(name, size) for name in BATCH_SIZE_NAMES]  # type: ignore[misc]
        return cls(usual, next((way for way in ways if takes(way, datamodule, probe)), None))


def takes(way: Resize, datamodule: L.LightningDataModule, size: int) -> bool:
    """Whether a way of giving a batch size has an effect on the training loader."""
    try:
        return batch_size_of(way(datamodule, size).train_dataloader()) == size
    except (KeyError, TypeError, ValueError, AttributeError):  # no such argument, or the size is refused
        return False


def with_attribute(datamodule: L.LightningDataModule, size: int) -> L.LightningDataModule:
    """A copy with the size as its attribute and its hyperparameter, wherever it has such."""
    own = ready(datamodule)
    inner = [own.module, own.module.hparams] if isinstance(own, OwnLoaders) else []
    for holder in (own, own.hparams, *inner):
        for name in BATCH_SIZE_NAMES:
            if hasattr(holder, name):
                setattr(holder, name, size)
    return own


def batch_size_of(loader: Any) -> int | None:
    """Examples a batch: as a loader says, or as its first batch shows; nothing of several loaders in one."""
    if isinstance(loader, DataLoader) and loader.batch_size is not None:
        return loader.batch_size
    if not isinstance(loader, DataLoader) and not isinstance(loader, Iterable):
        return None
    if isinstance(loader, dict) or (isinstance(loader, list | tuple) and loader and isinstance(loader[0], DataLoader)):
        return None
    try:
        return int(extract_batch_size(next(iter(loader))))
    except Exception:  # Lightning finds no tensor in it
        return None


def sized(loader: Any) -> bool:
    """Whether a loader says how many batches it has."""
    try:
        return len(loader) >= 0
    except (TypeError, NotImplementedError, AttributeError):
        return False
