"""What is to be learnt: the examples, their split, and what a model has to know of them."""

import copy
import hashlib
import math
import traceback
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from lightning.pytorch import LightningDataModule
from lightning.pytorch.utilities.model_helpers import is_overridden
from torch import Tensor
from torch.utils.data import DataLoader

from autoopt.data.arrays import OWN_LOSS, checked_classes, multi_label, one_hot
from autoopt.data.batch import Layout, batch_layout
from autoopt.data.loaders import BatchSize, drawn_alike, set_up, sized
from autoopt.data.parts import PARTS
from autoopt.data.rows import Mapped, Rows, Source, all_rows, pieces
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
Span = tuple[float, float]
"""The least and the greatest value."""
WITHIN = ("images", "pixels")
"""The names under which augmentation is offered images in [0, 1] alone."""


@dataclass(frozen=True)
class Examples:
    """What a data technique returns.

    Args:
        inputs: floats; a table `(N, F)`, or images `(N, C, H, W)` (or uint8 in 0 to 255), in memory or read as they are
            asked for (`autoopt.data.rows.Source`), or what becomes that by what the training part shows (`Raw`).
        targets: class indices `(N,)` of any whole type, or as rows with a single 1; or values `(N, D)`. Float64 is centred before
            it becomes float32.
        kind: "classification" or "regression".
        classes: the class names, in the order of the indices.
        splits: index tensors for train, validation and test, where the source fixes them; one that is not there is cut from train.
        columns: values of each example by name, by which `split` may go.
        notes: what the user is told of how the source was read, a line each.
    """

    inputs: Tensor | Source | Raw
    targets: Tensor
    kind: str
    classes: tuple[str, ...] = ()
    splits: dict[str, Tensor] | None = None
    columns: Mapping[str, np.ndarray] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Task:
    """The split examples, or the user's data module, and what a model has to know of them.

    `input_shape` is without the batch; `inputs` and `targets` are the scales that were applied (to tables, to images with
    values above 1, to regression targets); `testing` is the data module with its test stage set up, `batch_size` is its batch
    size, and `sized` says whether its training loader knows how many batches it has; `class_counts` are the training examples
    of each class, int64 `(K,)`; `tokens` is the size of the vocabulary where the inputs are its indices, int64 `(N, T)`, 0 being
    padding; `categories` are the levels of the last columns of a table, which hold their codes (a model is built without them:
    they are embedded in front of it); `encoding` says how raw inputs became numbers, of images which `values` a model is given
    before it scales them;
    `folds` are the tasks of the other folds of a cross-validation; `groups` has the number of the group of each test example,
    int64 `(N,)`, where they were split by groups; `unoffered` has the reasons why the batches cannot be augmented under some
    of the names that the slot offers; `notes` are lines for the user.
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
    testing: LightningDataModule | None = None
    batch_size: BatchSize = field(default_factory=BatchSize)
    sized: bool = True
    tokens: int = 0
    categories: tuple[int, ...] = ()
    encoding: Mapping[str, Any] = field(default_factory=dict)
    folds: "tuple[Task, ...]" = ()
    groups: Tensor | None = None
    unoffered: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def images(self) -> bool:
        return len(self.input_shape) == 3

    def example(self) -> tuple[Tensor, Tensor] | None:
        """A training batch, where one can be had without asking the user's data module for it."""
        return tuple(t[:64] for t in self.parts["train"]) if self.parts else None  # type: ignore[return-value]


def make_task(
    examples: Examples | LightningDataModule,
    split: dict[str, Any],
    scan: bool = True,
    embed: bool = True,
    seed: int = 0,
    remade: Callable[[str, int], LightningDataModule] | None = None,
) -> Task:
    """Split, encode and scale the examples.

    Args:
        scan: go through a data module's training targets once, for a model that has to know the classes.
        embed: the model may be put behind an embedding of large categories.
        seed: of what a data module draws when it is set up.
        remade: as `BatchSize.of` takes it.

    Raises:
        BadInput: there is nothing to learn, or too little to split.
    """
    if isinstance(examples, LightningDataModule):
        if said := [key for key in (*SPLITTING, "folds") if split.get(key) is not None]:
            raise BadInput(f"split.{said[0]}={split[said[0]]}: a data module splits by itself; leave it away")
        return task_of_module(examples, scan, seed, remade)
    examples, span = validated(examples)
    splitter = Splitter(examples.targets, examples.kind == "classification", examples.columns, examples.splits, split)
    first, *others = [task_of_split(examples, parts, split, embed, span, splitter.groups) for parts in splitter.parts()]
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


def task_of_split(
    examples: Examples, numbers: dict[str, Tensor], split: dict[str, Any], embed: bool, span: Span | None, groups: np.ndarray | None = None
) -> Task:
    """The task of one split; all that is learnt from the data here is learnt from its training part.

    Args:
        span: of all the inputs.

    Raises:
        BadInput: a part holds a class that the training part lacks.
    """
    without = {split[key] for key in SPLITTING if split.get(key) is not None}
    inputs, train = examples.inputs, numbers["train"]
    found = inputs.encoded(train, without, embed) if isinstance(inputs, Raw) else Encoded(inputs)  # type: ignore[arg-type]
    targets, classification = examples.targets, examples.kind == "classification"
    extent = extent_of(found.inputs, train, span) if are_images(found.inputs) else None
    in_scale = scale_of(found, train, extent) if split["normalise"] else None
    out_scale = Scale.of(targets[train]) if split["normalise"] and not classification else None
    y = targets if classification else out_scale.apply(targets) if out_scale else targets.float()
    parts = {part: (part_inputs(found.inputs, numbers[part], in_scale), y[numbers[part]].contiguous()) for part in PARTS}
    outputs = len(examples.classes) or int(targets.max()) + 1 if classification else targets.shape[1]
    counts = torch.bincount(y[train], minlength=outputs) if classification else None
    lacking = () if counts is None else check_classes(counts, parts, examples.classes)
    told, unoffered = value_range(extent, in_scale) if extent else ((), {})
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
        encoding=found.words if extent is None else {"values": [*extent]},
        unoffered=unoffered,
        notes=(*examples.notes, *found.notes, *told, *lacking),
        groups=None if groups is None else torch.from_numpy(np.unique(groups[numbers["test"]], return_inverse=True)[1]),
    )


def are_images(inputs: Any) -> bool:
    return len(inputs.shape) == 4


def extent_of(images: Tensor | Source, train: Tensor, span: Span | None) -> Span:
    """The least and the greatest value of training images before they are scaled; where all images are in [0, 1], of all of them."""
    if images.dtype == torch.uint8:
        return 0.0, 1.0
    return span if span and span[0] >= 0 and span[1] <= 1 else span_of(images[piece] for piece in pieces(images, train))


def span_of(tensors: Iterable[Tensor]) -> Span:
    """The least and the greatest value, or NaN."""
    ends = torch.stack([torch.stack(tensor.aminmax()) for tensor in tensors])
    return float(ends[:, 0].min()), float(ends[:, 1].max())


def scale_of(found: Encoded, train: Tensor, extent: Span | None) -> Scale | None:
    """The scale of a table, or of images with values above 1; images in [0, 1] or of both signs have none, nor have words."""
    inputs = found.inputs
    if extent is not None:
        low, high = extent
        zero, top = torch.tensor([0.0, full_scale(high)], dtype=torch.float64)
        return None if low < 0 or high <= 1 else Scale(zero, top)
    if len(inputs.shape) != 2 or not inputs.dtype.is_floating_point:
        return None
    scale = Scale.of(inputs[train]) if isinstance(inputs, Tensor) else Scale.of_source(inputs, train)
    return scale.without_last(len(found.categories))


def full_scale(high: float) -> float:
    """The greatest value of the fewest bits that hold `high`: 255 for 8 bits, 4095 for 12."""
    return high if high < 2 else float(2 ** math.ceil(math.log2(high + 1)) - 1)


def value_range(extent: Span, scale: Scale | None) -> tuple[tuple[str, ...], dict[str, str]]:
    """What is told of the values of images, and the names under which augmentation cannot be offered them."""
    low, high = extent
    if scale is not None:
        return (f"the images have values from {low:g} to {high:g}; they are divided by {float(scale.deviation):g}",), {}
    if low >= 0 and high <= 1:
        return (), {}
    return (), dict.fromkeys(WITHIN, f"the images have values from {low:g} to {high:g}, outside of [0, 1]")


def part_inputs(inputs: Tensor | Source, numbers: Tensor, scale: Scale | None) -> Tensor:
    """One part of the inputs: a copy, or (of what is read as it is asked for) no more than which."""
    if not isinstance(inputs, Tensor) or inputs.dtype == torch.uint8:
        return Rows(inputs, numbers, scale)  # type: ignore[return-value]
    values = scale.apply(inputs[numbers]) if scale else inputs[numbers]
    return (values.float() if values.is_floating_point() else values).contiguous()


def task_of_module(
    datamodule: LightningDataModule, scan: bool, seed: int, remade: Callable[[str, int], LightningDataModule] | None
) -> Task:
    """What a data module's first batch, and its training targets, tell of the task.

    It is set up here, once: a `setup` that draws the parts would draw others for each trial.

    Raises:
        BadInput: a network cannot be trained, or judged, on what its loaders give.
    """
    with drawn_alike(seed):
        datamodule.prepare_data()
    set_up(datamodule, "fit", seed)
    testing, notes = tested(datamodule, seed)
    task = task_of_batches(datamodule, scan)
    size, knows = BatchSize.of(datamodule, remade), sized(datamodule.train_dataloader())
    return replace(task, testing=testing, batch_size=size, sized=knows, notes=notes)


def tested(datamodule: LightningDataModule, seed: int) -> tuple[LightningDataModule | None, tuple[str, ...]]:
    """The data module with its test stage set up, on a copy, as that may take the place of the training stage; or why there is none."""
    if not is_overridden("test_dataloader", datamodule):
        return None, ()
    try:
        return set_up(copy.copy(datamodule), "test", seed), ()
    except Exception as error:
        traceback.print_exc()
        return None, (f"the test stage cannot be set up ({type(error).__name__}: {' '.join(str(error).split())})",)


def task_of_batches(datamodule: LightningDataModule, scan: bool) -> Task:
    """What the loaders of a data module that is set up tell of the task.

    Raises:
        BadInput: a network cannot be trained, or judged, on them.
    """
    if scan:
        validates = is_overridden("val_dataloader", datamodule)
        for name in ("train_dataloader", *(["val_dataloader"] if validates else [])):
            check_loader(name, getattr(datamodule, name)())
    batch = next(iter(datamodule.train_dataloader()))
    layout = batch_layout(batch)
    if layout is None or (scan and not isinstance(batch, list | tuple)):
        if scan:
            raise BadInput("data: the data module's batches are no (inputs, targets) tensors; give a LightningModule that takes them")
        return Task("unknown", datamodule=datamodule)
    inputs, targets = batch[layout.inputs], batch[layout.targets]
    shown = {"values": [float(inputs.min()), float(inputs.max())]} if are_images(inputs) and inputs.is_floating_point() else {}
    known: dict[str, Any] = {"datamodule": datamodule, "unoffered": unoffered_of(batch, layout), "encoding": shown}
    shape = tuple(inputs.shape[1:])
    if scan and multi_label(targets):
        raise BadInput(f"data: the data module's targets {tuple(targets.shape)} are rows of 0 and 1 with several ones or none; {OWN_LOSS}")
    if targets.is_floating_point() and not (scan and (targets.ndim > 2 or one_hot(targets))):
        return Task("regression", shape, targets.shape[1] if targets.ndim > 1 else 1, **known)
    counts = None
    if scan:
        labels = torch.cat([checked_classes(b[1], "the data module's targets") for b in datamodule.train_dataloader()])
        counts = torch.bincount(labels, minlength=targets.shape[1] if targets.ndim == 2 else 0)
    outputs = 0 if counts is None else len(counts)
    return Task("classification", shape, outputs, class_counts=counts, **known)


def unoffered_of(batch: Any, layout: Layout) -> dict[str, str]:
    """The names under which augmentation cannot be offered batches like this, with the reason."""
    inputs = batch[layout.inputs]
    found: dict[str, str] = {}
    if inputs.ndim == 4 and not (inputs.min() >= 0 and inputs.max() <= 1):
        found |= dict.fromkeys(WITHIN, "the data module's images have values outside of [0, 1]")
    if not inputs.is_floating_point():
        found |= dict.fromkeys(("planes", "inputs"), f"the data module's inputs are {inputs.dtype}, no floating numbers")
    if not batch[layout.targets].is_floating_point() and batch[layout.targets].ndim > 1:
        found["targets"] = f"the targets are {tuple(batch[layout.targets].shape)} integers, no class for each example"
    if layout.masks:
        found |= {"images": "the masks would not be moved with the images", "targets": "the targets are masks, which are not mixed"}
    if layout.misfits:
        odd = batch[layout.misfits[0]]
        reason = f"the batches hold {tuple(odd.shape)} beside the images, which would not be moved with them"
        found |= dict.fromkeys(("planes", "images", "targets"), reason)
    return found


def check_loader(name: str, loader: object) -> None:
    """Raise BadInput for several loaders in place of one."""
    inner = getattr(loader, "iterables", loader)  # of Lightning's CombinedLoader
    several = list(inner.values()) if isinstance(inner, dict) else inner
    if isinstance(several, list | tuple) and several and isinstance(several[0], DataLoader):
        way = "join their data sets in one (torch.utils.data.ConcatDataset)"
        raise BadInput(f"data: the data module's {name} gives {len(several)} loaders; {way}, or give a LightningModule that takes them")


def validated(examples: Examples) -> tuple[Examples, Span | None]:
    """The examples with class indices or values `(N, D)` as targets, and the span of their inputs where these are floating numbers.

    Raises:
        BadInput: nothing can be learnt from the examples.
    """
    if not len(examples.inputs):
        raise BadInput("data: there are no examples")
    if len(examples.inputs) != len(examples.targets):
        raise BadInput(f"data: {len(examples.inputs)} inputs but {len(examples.targets)} targets")
    span = looked_through(examples.inputs)
    if not all(map(math.isfinite, span or ())) or not torch.isfinite(examples.targets.float()).all():
        raise BadInput("data: some values are not finite (NaN or infinity)")
    if examples.kind != "classification":
        return replace(examples, targets=examples.targets.reshape(len(examples.targets), -1)), span
    targets = checked_classes(examples.targets)
    if len(targets.unique()) < 2:
        raise BadInput("data: all targets are of one class")
    return replace(examples, targets=targets), span


def looked_through(inputs: Tensor | Source | Raw) -> Span | None:
    """The span of the inputs; what is read as it is asked for is read once for that, a piece after the other."""
    if isinstance(inputs, Raw) or (isinstance(inputs, Tensor | Mapped) and not inputs.dtype.is_floating_point):
        return None
    return span_of(all_rows(inputs))


def check_classes(counts: Tensor, parts: Mapping[str, tuple[Tensor, Tensor]], names: Sequence[str]) -> tuple[str, ...]:
    """A line for each part that has no example of a class.

    Raises:
        BadInput: a class is to be told that training has never shown.
    """
    notes = []
    for part in ("validation", "test"):
        here = torch.bincount(parts[part][1], minlength=len(counts))
        if unseen := class_list((here > 0) & (counts == 0), names):
            raise BadInput(f"data: the {part} part has classes that the training part has not: {unseen}")
        if absent := class_list((here == 0) & (counts > 0), names):
            notes.append(f"the {part} part has no example of {absent}, so nothing is measured on that")
    return tuple(notes)


def class_list(mask: Tensor, names: Sequence[str], most: int = 5) -> str:
    """The classes of a mask by name, or by number where they have none."""
    found = mask.nonzero().flatten().tolist()
    said = ", ".join(repr(names[c]) if names else str(c) for c in found[:most])
    return said + (f" and {len(found) - most} more classes" if len(found) > most else "")
