"""The task: the examples, their split, and what a model must know about them."""

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

from autoopt.data.arrays import are_labels, binary_rows, checked_classes, one_hot
from autoopt.data.batch import Layout, batch_layout
from autoopt.data.loaders import BatchSize, drawn_alike, run_setup, sized
from autoopt.data.parts import PARTS
from autoopt.data.rows import Mapped, Rows, Source, all_rows, pieces, random_indices
from autoopt.data.scale import Scale
from autoopt.data.splits import SPLITTING, Splitter
from autoopt.errors import BadInput


@dataclass(frozen=True)
class Encoded:
    """Inputs as numbers, and how to encode further inputs in the same way.

    Args:
        inputs: of all examples.
        categories: how many levels each embedded category has, the unknown level included; their codes are the last columns
            of a table.
        tokens: the size of the vocabulary of texts.
        words: the encoding as plain values, for `model.json`.
        notes: lines for the user.
    """

    inputs: Tensor
    categories: tuple[int, ...] = ()
    tokens: int = 0
    words: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def embedding_width(levels: int) -> int:
    """The width of the embedding of a category: half the number of its levels, at most 50."""
    return min(50, levels // 2)


@runtime_checkable
class Raw(Protocol):
    """Inputs whose encoding is learnt from the training part, since they hold categories, missing values or words."""

    def __len__(self) -> int: ...

    def content(self) -> bytes:
        """Bytes that differ where inputs differ."""
        ...

    def encoded(self, train: Tensor, without: Collection[str], embed: bool) -> Encoded:
        """All inputs as numbers.

        Args:
            train: the indices of the training examples; the encoding is learnt from these alone.
            without: columns that are not inputs.
            embed: large categories may become codes, which the model embeds.
        """
        ...


SAMPLED, EXAMPLE_SIZE = 1024, 64
ENDLESS = 10_000
"""More batches than this from a loader without a length count as a stream that does not end."""
Span = tuple[float, float]
"""The least and the greatest value."""
WITHIN = ("images", "pixels")
"""The names under which an augmentation is offered only images in [0, 1]."""


@dataclass(frozen=True)
class Examples:
    """What a data technique returns.

    Args:
        inputs: a table `(N, F)` of floats, or images `(N, C, H, W)` of floats or of uint8 in 0 to 255, in memory or read on
            demand (`autoopt.data.rows.Source`); or inputs whose encoding is learnt from the training part (`Raw`).
        targets: class indices `(N,)` of any integer type, or rows `(N, K)` with a single 1; labels `(N, K)`, each 0 or 1; or values
            `(N, D)`. Values in float64 are centred before they become float32.
        kind: "classification", "multilabel" or "regression".
        classes: the names of the classes, in the order of the indices; or those of the labels or values, in the order of the columns.
        splits: the indices of the train, validation and test examples, where the source fixes them; a part that is missing is
            cut from train.
        columns: by name, a value for each example, which `split` may use.
        notes: lines for the user about how the source was read.
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
    """The split examples, or the user's data module, and what a model must know about them.

    Args:
        kind: "classification" (one class), "multilabel" (any number of labels) or "regression" (values); "unknown" for batches that
            only their author's module understands.
        input_shape: of one example, without the batch.
        outputs: how many outputs a model has: the classes, the labels, or the values of an example; 0 if that is not known.
        classes: the names of the classes, labels or values, in the order of the outputs.
        parts: the inputs and targets of train, validation and test; empty with a data module.
        inputs: the scale that was applied to a table, or to images with values above 1.
        targets: the scale that was applied to regression targets.
        class_counts: how many training examples each class has, int64 `(K,)`; None for labels and values.
        datamodule: the user's, with its training stage set up.
        testing: a copy of it with its test stage set up.
        batch_size: of the data module.
        sized: the data module's training loader knows how many batches it has.
        tokens: the size of the vocabulary, if the inputs are indices into one, int64 `(N, T)`; 0 is padding.
        categories: how many levels the categories have whose codes are the last columns of a table. A model is built without
            these columns: they are embedded in front of it.
        encoding: how raw inputs became numbers; for images, the span of their `values` before they are scaled.
        folds: the tasks of the other folds of a cross-validation.
        groups: the index of the group of each test example, int64 `(N,)`, if the split is by groups.
        unoffered: by name, why the batches cannot be offered to augmentations under it.
        notes: lines for the user.
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
        """64 training examples drawn at random, the same ones each time; None with a data module."""
        if not self.parts:
            return None
        inputs, targets = self.parts["train"]
        numbers = random_indices(len(inputs), EXAMPLE_SIZE)
        return inputs[numbers], targets[numbers]


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
        examples: what the data technique returned.
        split: the node `split` of the config.
        scan: read a data module's training targets once, for a model that must know the classes.
        embed: large categories may be embedded in front of the model.
        seed: of the random numbers that a data module draws when it is set up.
        remade: as for `BatchSize.of`.

    Raises:
        BadInput: nothing can be learnt from the examples, or they are too few to split.
    """
    if isinstance(examples, LightningDataModule):
        if unused := [key for key in (*SPLITTING, "folds") if split.get(key) is not None]:
            raise BadInput(f"split.{unused[0]}={split[unused[0]]}: a data module makes its own split; leave this setting out")
        return task_of_module(examples, scan, seed, remade)
    examples, span = validated(examples)
    splitter = Splitter(examples.targets, examples.kind == "classification", examples.columns, examples.splits, split)
    first, *others = [task_of_split(examples, parts, split, embed, span, splitter.groups) for parts in splitter.parts()]
    return replace(first, folds=tuple(others))


def fingerprint(examples: Examples) -> str:
    """A digest of the examples, the same wherever they are kept; of inputs that are read on demand, 1024 are included."""
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
    """The task of one split; encoding and scales are learnt from its training part alone.

    Args:
        numbers: the indices of the examples of each part.
        span: of all inputs.
        groups: the group of each example, if the split is by groups.

    Raises:
        BadInput: a part has a class that the training part lacks.
    """
    without = {split[key] for key in SPLITTING if split.get(key) is not None}
    inputs, train = examples.inputs, numbers["train"]
    encoded = inputs.encoded(train, without, embed) if isinstance(inputs, Raw) else Encoded(inputs)  # type: ignore[arg-type]
    targets, kind = examples.targets, examples.kind
    extent = extent_of(encoded.inputs, train, span) if are_images(encoded.inputs) else None
    in_scale = scale_of(encoded, train, extent) if split["normalise"] else None
    out_scale = Scale.of(targets[train]) if split["normalise"] and kind == "regression" else None
    y = targets if kind == "classification" else out_scale.apply(targets) if out_scale else targets.float()
    parts = {part: (part_inputs(encoded.inputs, numbers[part], in_scale), y[numbers[part]].contiguous()) for part in PARTS}
    outputs = targets.shape[1] if targets.ndim == 2 else len(examples.classes) or int(targets.max()) + 1
    absent = () if kind == "regression" else check_classes(parts, outputs, examples.classes)
    range_notes, unoffered = value_range(extent, in_scale) if extent else ((), {})
    return Task(
        kind,
        tuple(encoded.inputs.shape[1:]),
        outputs,
        examples.classes,
        parts,
        in_scale,
        out_scale,
        examples_of_each(y[train], outputs) if kind == "classification" else None,
        tokens=encoded.tokens,
        categories=encoded.categories,
        encoding=encoded.words if extent is None else {"values": [*extent]},
        unoffered=unoffered,
        notes=(*examples.notes, *encoded.notes, *range_notes, *absent),
        groups=None if groups is None else torch.from_numpy(np.unique(groups[numbers["test"]], return_inverse=True)[1]),
    )


def are_images(inputs: Any) -> bool:
    return len(inputs.shape) == 4


def extent_of(images: Tensor | Source, train: Tensor, span: Span | None) -> Span:
    """The span of the training images before they are scaled; the span of all images if they are in [0, 1]."""
    if images.dtype == torch.uint8:
        return 0.0, 1.0
    return span if span and span[0] >= 0 and span[1] <= 1 else span_of(images[piece] for piece in pieces(images, train))


def span_of(tensors: Iterable[Tensor]) -> Span:
    """The least and the greatest value of all tensors; NaN if one holds NaN."""
    ends = torch.stack([torch.stack(tensor.aminmax()) for tensor in tensors])
    return float(ends[:, 0].min()), float(ends[:, 1].max())


def scale_of(encoded: Encoded, train: Tensor, extent: Span | None) -> Scale | None:
    """The scale of a table, or of images with values above 1; None for images in [0, 1] or with negative values, and for texts."""
    inputs = encoded.inputs
    if extent is not None:
        low, high = extent
        zero, top = torch.tensor([0.0, full_scale(high)], dtype=torch.float64)
        return None if low < 0 or high <= 1 else Scale(zero, top)
    if len(inputs.shape) != 2 or not inputs.dtype.is_floating_point:
        return None
    scale = Scale.of(inputs[train]) if isinstance(inputs, Tensor) else Scale.of_source(inputs, train)
    return scale.without_last(len(encoded.categories))


def full_scale(high: float) -> float:
    """The greatest value of the least number of bits that can hold `high`: 255 for 8 bits, 4095 for 12."""
    return high if high < 2 else float(2 ** math.ceil(math.log2(high + 1)) - 1)


def value_range(extent: Span, scale: Scale | None) -> tuple[tuple[str, ...], dict[str, str]]:
    """Notes on the values of images; and why the images cannot be offered to augmentations, by the names under which they cannot."""
    low, high = extent
    if scale is not None:
        return (f"the images have values from {low:g} to {high:g}; they are divided by {float(scale.deviation):g}",), {}
    if low >= 0 and high <= 1:
        return (), {}
    return (), dict.fromkeys(WITHIN, f"the images have values from {low:g} to {high:g}, outside of [0, 1]")


def part_inputs(inputs: Tensor | Source, numbers: Tensor, scale: Scale | None) -> Tensor:
    """The inputs of one part: a copy, or (of uint8, or of inputs that are read on demand) `Rows` that hold only their indices."""
    if not isinstance(inputs, Tensor) or inputs.dtype == torch.uint8:
        return Rows(inputs, numbers, scale)  # type: ignore[return-value]
    values = scale.apply(inputs[numbers]) if scale else inputs[numbers]
    return (values.float() if values.is_floating_point() else values).contiguous()


def task_of_module(
    datamodule: LightningDataModule, scan: bool, seed: int, remade: Callable[[str, int], LightningDataModule] | None
) -> Task:
    """The task of a data module, by its first batch and its training targets.

    The data module is set up here, once: a `setup` that draws the parts at random would draw others for each trial.

    Raises:
        BadInput: a network cannot be trained or validated on the batches of its loaders.
    """
    with drawn_alike(seed):
        datamodule.prepare_data()
    run_setup(datamodule, "fit", seed)
    testing, notes = tested(datamodule, seed)
    task = task_of_batches(datamodule, scan)
    size, has_length = BatchSize.of(datamodule, remade), sized(datamodule.train_dataloader())
    return replace(task, testing=testing, batch_size=size, sized=has_length, notes=notes)


def tested(datamodule: LightningDataModule, seed: int) -> tuple[LightningDataModule | None, tuple[str, ...]]:
    """A copy of the data module with its test stage set up, as that may undo the training stage; or None, and a note on why."""
    if not is_overridden("test_dataloader", datamodule):
        return None, ()
    try:
        return run_setup(copy.copy(datamodule), "test", seed), ()
    except Exception as error:
        traceback.print_exc()
        return None, (f"the test stage cannot be set up ({type(error).__name__}: {' '.join(str(error).split())})",)


def task_of_batches(datamodule: LightningDataModule, scan: bool) -> Task:
    """The task of a data module that is set up, by the batches of its loaders.

    Raises:
        BadInput: a network cannot be trained or validated on these batches.
    """
    if scan:
        validates = is_overridden("val_dataloader", datamodule)
        for name in ("train_dataloader", *(["val_dataloader"] if validates else [])):
            check_loader(name, getattr(datamodule, name)())
    batch = next(iter(datamodule.train_dataloader()))
    layout = batch_layout(batch)
    if layout is None or (scan and not isinstance(batch, list | tuple)):
        if scan:
            raise BadInput("data: the data module's batches are not tensors (inputs, targets); give a LightningModule that takes them")
        return Task("unknown", datamodule=datamodule)
    if scan and len(batch) > 2:
        way = "give a LightningModule that takes them, or batches without the others"
        raise BadInput(f"data: the data module's batches hold {len(batch)} tensors, but a network takes two, (inputs, targets); {way}")
    inputs, targets = batch[layout.inputs], batch[layout.targets]
    encoding = {"values": [float(inputs.min()), float(inputs.max())]} if are_images(inputs) and inputs.is_floating_point() else {}
    common: dict[str, Any] = {"datamodule": datamodule, "unoffered": unoffered_of(batch, layout, scan), "encoding": encoding}
    shape = tuple(inputs.shape[1:])
    if scan and binary_rows(targets):  # only all of them tell labels from classes and values
        targets = torch.cat([b[1] for b in datamodule.train_dataloader()])
    if are_labels(targets):
        return Task("multilabel", shape, targets.shape[1], **common)
    if targets.is_floating_point() and not (scan and (targets.ndim > 2 or one_hot(targets))):
        return Task("regression", shape, targets.shape[1] if targets.ndim > 1 else 1, **common)
    counts = None
    if scan:
        labels = torch.cat([checked_classes(b[1], "the data module's targets") for b in datamodule.train_dataloader()])
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
    if layout.masks:
        reasons |= {"images": "the masks would not be moved with the images", "targets": "the targets are masks, which are not mixed"}
    if layout.misfits:
        odd = batch[layout.misfits[0]]
        reason = f"the batches hold {tuple(odd.shape)} beside the images, which would not be moved with them"
        reasons |= dict.fromkeys(("planes", "images", "targets"), reason)
    return reasons


def check_loader(name: str, loader: object) -> None:
    """Raise BadInput if a hook of a data module returns several loaders, or one that does not end."""
    inner = getattr(loader, "iterables", loader)  # of Lightning's CombinedLoader
    several = list(inner.values()) if isinstance(inner, dict) else inner
    if isinstance(several, list | tuple) and several and isinstance(several[0], DataLoader):
        way = "join their data sets in one (torch.utils.data.ConcatDataset)"
        raise BadInput(f"data: the data module's {name} gives {len(several)} loaders; {way}, or give a LightningModule that takes them")
    if not sized(loader) and any(number > ENDLESS for number, _ in enumerate(loader, 1)):  # type: ignore[arg-type]
        way = "give it a length (__len__), or give a LightningModule and trainer.limit_train_batches"
        raise BadInput(f"data: the data module's {name} gave {ENDLESS:,} batches without an end, but a network is trained in epochs; {way}")


def validated(examples: Examples) -> tuple[Examples, Span | None]:
    """The examples with class indices `(N,)`, labels `(N, K)` or values `(N, D)` as targets, and the span of their inputs, if any.

    Raises:
        BadInput: nothing can be learnt from the examples.
    """
    if not len(examples.inputs):
        raise BadInput("data: there are no examples")
    if len(examples.inputs) != len(examples.targets):
        raise BadInput(f"data: {len(examples.inputs)} inputs but {len(examples.targets)} targets")
    span = span_of_inputs(examples.inputs)
    if not all(map(math.isfinite, span or ())) or not torch.isfinite(examples.targets.float()).all():
        raise BadInput("data: some values are not finite (NaN or infinity)")
    if examples.kind == "regression":
        return replace(examples, targets=examples.targets.reshape(len(examples.targets), -1)), span
    targets = checked_classes(examples.targets) if examples.kind == "classification" else checked_labels(examples.targets)
    if len(targets.unique(dim=0)) < 2:
        raise BadInput(f"data: all targets are {'of one class' if examples.kind == 'classification' else 'the same labels'}")
    return replace(examples, targets=targets), span


def checked_labels(targets: Tensor) -> Tensor:
    """Labels as float32 `(N, K)`.

    Raises:
        BadInput: they have another shape, or hold something else than 0 and 1.
    """
    if targets.ndim != 2 or not ((targets == 0) | (targets == 1)).all():
        seen = f"the targets are {tuple(targets.shape)} and hold {float(targets.min()):g} to {float(targets.max()):g}"
        raise BadInput(f"data: labels are rows (N, K) of 0 and 1; {seen}")
    return targets.float()


def span_of_inputs(inputs: Tensor | Source | Raw) -> Span | None:
    """The span of the inputs, which are read once, piece by piece; None for raw inputs, and for arrays of integers."""
    if isinstance(inputs, Raw) or (isinstance(inputs, Tensor | Mapped) and not inputs.dtype.is_floating_point):
        return None
    return span_of(all_rows(inputs))


def check_classes(parts: Mapping[str, tuple[Tensor, Tensor]], outputs: int, names: Sequence[str]) -> tuple[str, ...]:
    """A note for each part that lacks classes of the training part, or labels.

    Raises:
        BadInput: a part has a class that the training part lacks.
    """
    labels, counts = parts["train"][1].ndim == 2, examples_of_each(parts["train"][1], outputs)
    unlearnt = class_list(counts == 0, names) if labels else ""
    notes = [f"no training example has the label {unlearnt}, which cannot be learnt"] if unlearnt else []
    for part in ("validation", "test"):
        here = examples_of_each(parts[part][1], outputs)
        if not labels and (unseen := class_list((here > 0) & (counts == 0), names)):
            raise BadInput(f"data: the {part} part has classes that the training part lacks: {unseen}")
        if absent := class_list((here == 0) & (counts > 0), names):
            effect = "whose f1, recall and precision count as 0" if labels else "so its metrics do not cover that"
            notes.append(f"the {part} part has no example of {absent}, {effect}")
    return tuple(notes)


def examples_of_each(targets: Tensor, outputs: int) -> Tensor:
    """How many examples have each class, or each label, int64 `(K,)`."""
    return targets.long().sum(0) if targets.ndim == 2 else torch.bincount(targets, minlength=outputs)


def class_list(mask: Tensor, names: Sequence[str], most: int = 5) -> str:
    """The classes of a mask by name, or by number where they have none."""
    classes = mask.nonzero().flatten().tolist()
    first = ", ".join(repr(names[c]) if names else str(c) for c in classes[:most])
    return first + (f" and {len(classes) - most} more classes" if len(classes) > most else "")
