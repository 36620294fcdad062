"""What is to be learnt: the examples, their split, and what a model has to know of them."""

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from lightning.pytorch import LightningDataModule
from lightning.pytorch.utilities.model_helpers import is_overridden
from torch import Tensor
from torch.utils.data import DataLoader

from autoopt.data.parts import PARTS
from autoopt.data.rows import Mapped, Rows, Source, everything
from autoopt.data.scale import Scale
from autoopt.data.splits import SPLITTING, Splitter
from autoopt.errors import BadInput


@dataclass(frozen=True)
class Encoded:
    """Inputs as numbers, and what has to be known to make more of them.

    `categories` are the numbers of levels (one that is not known among them) whose codes stand in the last columns of a
    table, to be embedded; `tokens` is the size of a vocabulary; `words` says in plain values how it was done; `notes` are
    lines that the user should read.
    """

    inputs: Tensor
    categories: tuple[int, ...] = ()
    tokens: int = 0
    words: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def embedding_width(levels: int) -> int:
    """In how many numbers a category is embedded: half as many as it has levels, 50 at most."""
    return min(50, levels // 2)


@runtime_checkable
class Raw(Protocol):
    """Inputs that become numbers only by what the training part shows: categories, gaps, words."""

    def __len__(self) -> int: ...

    def content(self) -> bytes:
        """What others than these would differ in."""
        ...

    def encoded(self, train: Tensor, without: Collection[str], embed: bool) -> Encoded:
        """All of them as numbers.

        Args:
            train: the numbers of the training examples, which alone are learnt from.
            without: columns that are not inputs.
            embed: large categories may be codes that the model embeds.
        """
        ...


SAMPLED = 1024


@dataclass(frozen=True)
class Examples:
    """What a data technique returns.

    Args:
        inputs: floats; a table `(N, F)`, or images `(N, C, H, W)` in [0, 1] (or uint8 in 0 to 255), in memory or read
            as they are asked for (`autoopt.data.rows.Source`), or what becomes that by what the training part shows (`Raw`).
        targets: class indices, int64 `(N,)`, or values, `(N, D)`. Float64 is centred before it becomes float32.
        kind: "classification" or "regression".
        classes: the class names, in the order of the indices.
        splits: index tensors for train, validation and test, where the source fixes them; one that is not there is cut from train.
        columns: values of each example by name, by which `split` may go.
    """

    inputs: Tensor | Source | Raw
    targets: Tensor
    kind: str
    classes: tuple[str, ...] = ()
    splits: dict[str, Tensor] | None = None
    columns: Mapping[str, np.ndarray] = field(default_factory=dict)


@dataclass(frozen=True)
class Task:
    """The split examples, or the user's data module, and what a model has to know of them.

    `input_shape` is without the batch; `inputs` and `targets` are the scales that were applied (tables and regression
    targets only); `class_counts` are the training examples of each class, int64 `(K,)`; `tokens` is the size of the vocabulary
    where the inputs are its indices, int64 `(N, T)`, 0 being padding; `categories` are the levels of the last columns of a
    table, which hold their codes (a model is built without them: they are embedded in front of it); `encoding` says
    how raw inputs became numbers; `folds` are the tasks of the other folds of a cross-validation; `groups` has the number of
    the group of each test example, int64 `(N,)`, where they were split by groups; `scaled` images have values outside of
    [0, 1]; `notes` are lines on the data that the user should read.
    """

    kind: str
    input_shape: tuple[int, ...] = ()
    outputs: int = 0
    classes: tuple[str, ...] = ()
    parts: dict[str, tuple[Tensor, Tensor]] = field(default_factory=dict)
    inputs: Scale | None = None
    targets: Scale | None = None
    class_counts: Tensor | None = None
    datamodule: LightningDataModule | None = None
    tokens: int = 0
    categories: tuple[int, ...] = ()
    encoding: Mapping[str, Any] = field(default_factory=dict)
    folds: "tuple[Task, ...]" = ()
    groups: Tensor | None = None
    scaled: bool = False
    notes: tuple[str, ...] = ()

    @property
    def images(self) -> bool:
        return len(self.input_shape) == 3

    def example(self) -> tuple[Tensor, Tensor] | None:
        """A training batch, where one can be had without asking the user's data module for it."""
        return tuple(t[:64] for t in self.parts["train"]) if self.parts else None  # type: ignore[return-value]


def make_task(examples: Examples | LightningDataModule, split: dict[str, Any], scan: bool = True, embed: bool = True) -> Task:
    """Split, encode and scale the examples.

    Args:
        scan: go through a data module's training targets once, for a model that has to know the classes.
        embed: the model may be put behind an embedding of large categories.

    Raises:
        BadInput: there is nothing to learn, or too little to split.
    """
    if isinstance(examples, LightningDataModule):
        if said := [key for key in (*SPLITTING, "folds") if split.get(key) is not None]:
            raise BadInput(f"split.{said[0]}={split[said[0]]}: a data module splits by itself; leave it away")
        return task_of_module(examples, scan)
    check(examples)
    splitter = Splitter(examples.targets, examples.kind == "classification", examples.columns, examples.splits, split)
    first, *others = [task_of(examples, parts, split, embed, splitter.groups) for parts in splitter.parts()]
    return replace(first, folds=tuple(others))


def fingerprint(examples: Examples) -> str:
    """Digits of the examples, wherever they are kept: of all of them, or of 1024 inputs where these are read as they are asked for."""
    inputs = examples.inputs
    digest = hashlib.sha256(examples.targets.reshape(-1).numpy().data)
    if isinstance(inputs, Raw):
        digest.update(inputs.content())
    else:
        spread = torch.linspace(0, len(inputs) - 1, min(len(inputs), SAMPLED), dtype=torch.float64)
        rows = inputs if isinstance(inputs, Tensor) else inputs[spread.long()]
        digest.update(rows.reshape(-1).numpy().data)
    return digest.hexdigest()[:16]


def task_of(examples: Examples, numbers: dict[str, Tensor], split: dict[str, Any], embed: bool, groups: np.ndarray | None = None) -> Task:
    """The task of one split; all that is learnt from the data here is learnt from its training part.

    Raises:
        BadInput: a part holds a class that the training part lacks.
    """
    without = {split[key] for key in SPLITTING if split.get(key) is not None}
    inputs, train = examples.inputs, numbers["train"]
    found = inputs.encoded(train, without, embed) if isinstance(inputs, Raw) else Encoded(inputs)  # type: ignore[arg-type]
    targets, classification = examples.targets, examples.kind == "classification"
    in_scale = scale_of(found, train) if split["normalise"] else None
    out_scale = Scale.of(targets[train]) if split["normalise"] and not classification else None
    y = targets.long() if classification else out_scale.apply(targets) if out_scale else targets.float()
    parts = {part: (cut(found.inputs, numbers[part], in_scale), y[numbers[part]].contiguous()) for part in PARTS}
    outputs = len(examples.classes) or int(targets.max()) + 1 if classification else targets.shape[1]
    counts = torch.bincount(y[train], minlength=outputs) if classification else None
    notes = found.notes + (() if counts is None else check_classes(counts, parts, examples.classes))
    return Task(
        examples.kind,
        tuple(found.inputs.shape[1:]),
        outputs,
        examples.classes,
        parts,
        in_scale,
        out_scale,
        counts,
        tokens=found.tokens,
        categories=found.categories,
        encoding=found.words,
        notes=notes,
        groups=None if groups is None else torch.from_numpy(np.unique(groups[numbers["test"]], return_inverse=True)[1]),
    )


def scale_of(found: Encoded, train: Tensor) -> Scale | None:
    """The scale of a table; images and words have none."""
    inputs = found.inputs
    if len(inputs.shape) != 2 or not inputs.dtype.is_floating_point:
        return None
    scale = Scale.of(inputs[train]) if isinstance(inputs, Tensor) else Scale.of_source(inputs, train)
    return scale.without_last(len(found.categories))


def cut(inputs: Tensor | Source, numbers: Tensor, scale: Scale | None) -> Tensor:
    """One part of the inputs: a copy, or (of what is read as it is asked for) no more than which."""
    if not isinstance(inputs, Tensor) or inputs.dtype == torch.uint8:
        return Rows(inputs, numbers, scale)  # type: ignore[return-value]
    values = scale.apply(inputs[numbers]) if scale else inputs[numbers]
    return (values.float() if values.is_floating_point() else values).contiguous()


def task_of_module(datamodule: LightningDataModule, scan: bool) -> Task:
    """What a data module's first batch, and its training targets, tell of the task.

    It is set up here, once: a `setup` that draws the parts would draw others for each trial.

    Raises:
        BadInput: a network cannot be trained, or judged, on what its loaders give.
    """
    datamodule.prepare_data()
    datamodule.setup("fit")
    if is_overridden("test_dataloader", datamodule):
        datamodule.setup("test")
    if scan:
        validates = is_overridden("val_dataloader", datamodule)
        for name in ("train_dataloader", *(["val_dataloader"] if validates else [])):
            check_loader(name, getattr(datamodule, name)())
    batch = next(iter(datamodule.train_dataloader()))
    if not (isinstance(batch, list | tuple) and len(batch) >= 2 and all(isinstance(t, Tensor) for t in batch[:2])):
        if scan:
            raise BadInput("data: the data module's batches are no (inputs, targets) tensors; give a LightningModule that takes them")
        return Task("unknown", datamodule=datamodule)
    inputs, targets = batch[:2]
    shape = tuple(inputs.shape[1:])
    scaled = inputs.ndim == 4 and not (inputs.min() >= 0 and inputs.max() <= 1)
    if targets.is_floating_point():
        return Task("regression", shape, targets.shape[1] if targets.ndim > 1 else 1, datamodule=datamodule, scaled=scaled)
    counts = None
    if scan:
        check_labels(targets, "the data module's targets")
        labels = torch.cat([b[1].long() for b in datamodule.train_dataloader()])
        check_labels(labels, "the data module's targets")
        counts = torch.bincount(labels)
    outputs = 0 if counts is None else len(counts)
    return Task("classification", shape, outputs, class_counts=counts, datamodule=datamodule, scaled=scaled)


def check_loader(name: str, loader: object) -> None:
    """Raise BadInput for several loaders in place of one."""
    inner = getattr(loader, "iterables", loader)  # of Lightning's CombinedLoader
    several = list(inner.values()) if isinstance(inner, dict) else inner
    if isinstance(several, list | tuple) and several and isinstance(several[0], DataLoader):
        way = "join their data sets in one (torch.utils.data.ConcatDataset)"
        raise BadInput(f"data: the data module's {name} gives {len(several)} loaders; {way}, or give a LightningModule that takes them")


def check_labels(targets: Tensor, whose: str) -> None:
    """Raise BadInput where whole numbers are no classes, one for each example."""
    if targets.ndim != 1:
        seen = f"{whose} are whole numbers of shape (N, {', '.join(map(str, targets.shape[1:]))})"
        way = "as (N,); several labels or values of an example are floats (N, D); for masks give a LightningModule with its own loss"
        raise BadInput(f"data: {seen}; expected the class of each example {way}")
    if targets.numel() and targets.min() < 0:
        raise BadInput(f"data: {whose} hold the class {int(targets.min())}; expected classes from 0 upwards")


def check(examples: Examples) -> None:
    """Raise BadInput for examples that nothing can be learnt from."""
    if not len(examples.inputs):
        raise BadInput("data: there are no examples")
    if len(examples.inputs) != len(examples.targets):
        raise BadInput(f"data: {len(examples.inputs)} inputs but {len(examples.targets)} targets")
    if not all_finite(examples.inputs) or not torch.isfinite(examples.targets.float()).all():
        raise BadInput("data: some values are not finite (NaN or infinity)")
    if examples.kind == "classification":
        check_labels(examples.targets, "the targets")
    if examples.kind == "classification" and len(examples.targets.unique()) < 2:
        raise BadInput("data: all targets are of one class")


def all_finite(inputs: Tensor | Source | Raw) -> bool:
    """Whether no value is NaN or infinite; what is read as it is asked for is read once for that, a piece after the other."""
    if isinstance(inputs, Raw) or (isinstance(inputs, Tensor | Mapped) and not inputs.dtype.is_floating_point):
        return True
    return all(bool(torch.isfinite(piece).all()) for piece in everything(inputs))


def check_classes(counts: Tensor, parts: Mapping[str, tuple[Tensor, Tensor]], names: Sequence[str]) -> tuple[str, ...]:
    """A line for each part that has no example of a class.

    Raises:
        BadInput: a class is to be told that training has never shown.
    """
    notes = []
    for part in ("validation", "test"):
        here = torch.bincount(parts[part][1], minlength=len(counts))
        if unseen := named((here > 0) & (counts == 0), names):
            raise BadInput(f"data: the {part} part has classes that the training part has not: {unseen}")
        if absent := named((here == 0) & (counts > 0), names):
            notes.append(f"the {part} part has no example of {absent}, so nothing is measured on that")
    return tuple(notes)


def named(mask: Tensor, names: Sequence[str], most: int = 5) -> str:
    """The classes of a mask by name, or by number where they have none."""
    found = mask.nonzero().flatten().tolist()
    said = ", ".join(repr(names[c]) if names else str(c) for c in found[:most])
    return said + (f" and {len(found) - most} more classes" if len(found) > most else "")
