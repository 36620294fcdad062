"""From a user's data module to a task: by its first batch and its training targets."""

import copy
import traceback
from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar, cast

import torch
from lightning.pytorch import LightningDataModule
from lightning.pytorch.utilities.model_helpers import is_overridden
from torch import Tensor

from autoopt.data.arrays import are_labels, checked_classes, few_whole, is_one_hot, within_0_and_1
from autoopt.data.batch_layout import Layout, batch_layout, items
from autoopt.data.image_values import WITHIN
from autoopt.data.loaders import BatchSize, Remade, batches_of, drawn_alike, loaders_of, probed, run_setup, sized, ways, with_trainer
from autoopt.data.rows import are_images
from autoopt.data.task import Task
from autoopt.errors import BadInput, summary
from autoopt.process.apart import apart

AnyResult = TypeVar("AnyResult")
ENDLESS = 10_000
"""More batches than this from a loader without a length count as a stream that does not end."""


def task_of_module(datamodule: LightningDataModule, scan: bool, seed: int, remade: Remade | None) -> Task:
    """The task of a data module, by its first batch and its training targets.

    The data module is set up here, once: a `setup` that draws the parts at random would draw others for each trial. But the loaders of a
    LightningModule are looked at elsewhere: a sampler or a generator that goes on from epoch to epoch is to begin with the author's first.

    Raises:
        BadInput: a network cannot be trained or validated on the batches of its loaders.
    """
    with drawn_alike(seed):
        with_trainer(datamodule).prepare_data()
    run_setup(datamodule, "fit", seed)
    testing, notes = tested(datamodule, seed)

    def looked_at() -> tuple[Task, tuple[int | None, int | None], bool]:
        task = replace(task_of_batches(datamodule, scan), datamodule=None)
        return task, probed(datamodule, remade), sized(datamodule.train_dataloader())

    task, (usual, way), has_length = looked_at() if scan else untouched(looked_at)
    batch_size, notes = BatchSize(usual, None if way is None else ways(remade)[way]), (*task.notes, *notes)
    return replace(task, datamodule=datamodule, testing=testing, batch_size=batch_size, sized=has_length, notes=notes)


def untouched(call: Callable[[], AnyResult]) -> AnyResult:
    """What a call returns in a process of its own; where it fails there, it is made here, with all that it raises."""
    try:
        return cast(AnyResult, apart(call))
    except RuntimeError:
        return call()


def tested(datamodule: LightningDataModule, seed: int) -> tuple[LightningDataModule | None, tuple[str, ...]]:
    """A copy of the data module with its test stage set up, as that may undo the training stage; or None, and a note on why."""
    if not is_overridden("test_dataloader", datamodule):
        return None, ()
    try:
        return run_setup(copy.copy(datamodule), "test", seed), ()
    except Exception as error:
        traceback.print_exc()
        return None, (f"the test stage cannot be set up ({summary(error)})",)


def task_of_batches(datamodule: LightningDataModule, scan: bool) -> Task:
    """The task of a data module that is set up, by the batches of its loaders.

    Raises:
        BadInput: a network cannot be trained or validated on these batches.
    """
    if scan:
        validates = is_overridden("val_dataloader", datamodule)
        for name in ("train_dataloader", *(["val_dataloader"] if validates else [])):
            check_loader(name, getattr(datamodule, name)())
    loader = datamodule.train_dataloader()
    loader = loaders_of(loader)[0] if scan else loader
    batch: Any = next(iter(loader), None) if len(loaders_of(loader)) == 1 else None
    layout = batch_layout(batch)
    if layout is None or (scan and not isinstance(batch, list | tuple)):
        if scan:
            raise BadInput("data: the data module's batches are not tensors (inputs, targets); give a LightningModule that takes them")
        return Task("unknown", datamodule=datamodule)
    if scan and len(batch) > 2:
        way = "give a LightningModule that takes them, or batches without the others"
        raise BadInput(f"data: the data module's batches hold {len(batch)} tensors, but a network takes two, (inputs, targets); {way}")
    inputs, targets = batch[layout.inputs], batch[layout.targets]
    floats = inputs.is_floating_point()
    encoding = {"values": [float(inputs.min()), float(inputs.max())]} if are_images(inputs) and floats else {"numbers": floats}
    common: dict[str, Any] = {"datamodule": datamodule, "unoffered": unoffered_of(batch, layout, scan), "encoding": encoding}
    shape = tuple(inputs.shape[1:])
    if scan and (within_0_and_1(targets) or (targets.is_floating_point() and few_whole(targets.double().numpy()))):
        # only all of them tell labels from classes and values
        targets = torch.cat([b[1] for b in loader])
    if are_labels(targets):
        return Task("multilabel", shape, targets.shape[1], **common)
    if targets.is_floating_point() and not (scan and (targets.ndim > 2 or is_one_hot(targets))):
        few = few_whole(targets.double().numpy()) if scan else ""
        doubt = f"the data module's targets are {few} in {targets.dtype}: they are taken as values; integers are taken as classes"
        notes = (doubt,) if few else ()
        return Task("regression", shape, targets.shape[1] if targets.ndim > 1 else 1, notes=notes, **common)
    counts = None
    if scan:
        labels = torch.cat([checked_classes(b[1], "the data module's targets") for b in loader])
        counts = torch.bincount(labels, minlength=targets.shape[1] if targets.ndim == 2 else 0)
    outputs = 0 if counts is None else len(counts)
    return Task("classification", shape, outputs, class_counts=counts, **common)


def unoffered_of(batch: Any, layout: Layout, scanned: bool) -> dict[str, str]:
    """Why batches like this cannot be offered to augmentations, by the names under which they cannot.

    Args:
        scanned: they are for a plain network, which gets classes or labels of them.
    """
    inputs = batch[layout.inputs]
    reasons: dict[str, str] = {}
    if inputs.ndim == 4 and not (inputs.min() >= 0 and inputs.max() <= 1):
        reasons |= dict.fromkeys(WITHIN, "the data module's images have values outside of [0, 1]")
    if not inputs.is_floating_point():
        reasons |= dict.fromkeys(("planes", "inputs"), f"the data module's inputs are {inputs.dtype}, not floating-point numbers")
    if not scanned and not batch[layout.targets].is_floating_point() and batch[layout.targets].ndim > 1:
        reasons["targets"] = f"the targets are {tuple(batch[layout.targets].shape)} integers, not one class for each example"
    others = [key for key, value in items(batch) if key not in (layout.inputs, layout.targets) and is_beside(value, inputs)]
    if others:
        reasons["targets"] = "the batches hold more than inputs and targets, which would not be mixed with them"
    if layout.masks:
        reasons |= {"images": "the masks would not be moved with the images", "targets": "the targets are masks, which are not mixed"}
    if layout.misfits:
        odd = batch[layout.misfits[0]]
        reason = f"the batches hold {tuple(odd.shape)} beside the images, which would not be moved with them"
        reasons |= dict.fromkeys(("planes", "images", "targets"), reason)
    return reasons


def is_beside(value: Any, inputs: Tensor) -> bool:
    """Whether a value of a batch has an entry for each example."""
    return isinstance(value, Tensor) and value.ndim > 0 and len(value) == len(inputs)


def check_loader(name: str, loader: object) -> None:
    """Raise BadInput if a hook of a data module returns no batch, several loaders, or a loader that does not end."""
    if loader is None or not loaders_of(loader) or (sized(loader) and not batches_of(loader)):
        raise BadInput(f"data: the data module's {name} gives no batch")
    if (several := len(loaders_of(loader))) > 1:
        way = "join their data sets in one (torch.utils.data.ConcatDataset)"
        raise BadInput(f"data: the data module's {name} gives {several} loaders; {way}, or give a LightningModule that takes them")
    if not sized(loader) and any(number > ENDLESS for number, _ in enumerate(loaders_of(loader)[0], 1)):
        way = "give it a length (__len__), or give a LightningModule and trainer.limit_train_batches"
        raise BadInput(f"data: the data module's {name} gave {ENDLESS:,} batches without an end, but a network is trained in epochs; {way}")
