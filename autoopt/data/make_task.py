"""From examples to a task: they are split, encoded and scaled."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from lightning.pytorch import LightningDataModule
from torch import Tensor

from autoopt.data.datamodule import task_of_module
from autoopt.data.examples import Encoded, Examples, Raw, validated
from autoopt.data.image_values import Span, extent_of, value_range
from autoopt.data.parts import PARTS
from autoopt.data.rows import EIGHT_BITS, Rows, Source, are_images, become_float, random_indices
from autoopt.data.scale import Scale
from autoopt.data.splits import SPLITTING, Splitter, shares_asked
from autoopt.data.task import Task
from autoopt.errors import BadInput

AXES = {2: (0,), 3: (0, 1), 4: (0, 2, 3)}
"""By the number of dimensions, those over which a scale is taken: it has a value for each feature, or each channel."""
SAMPLED_IMAGES = 4096
LISTED = 5
"""How many classes a message names."""
FEWEST_VALUES, OUTWEIGHS = 20, 0.9
"""A target that makes more than this share of the squared error of so many is told."""


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
        remade: as for `ways` of changing the batch size.

    Raises:
        BadInput: nothing can be learnt from the examples, or they are too few to split.
    """
    if isinstance(examples, LightningDataModule):
        named = [key for key in (*SPLITTING, "folds") if split.get(key) is not None]
        if unused := [*named, *shares_asked(split, ("validation", "test"))]:
            raise BadInput(f"split.{unused[0]}={split[unused[0]]}: a data module makes its own split; leave this setting out")
        return task_of_module(examples, scan, seed, remade)
    examples, span = validated(examples)
    splitter = Splitter(examples.targets, examples.kind == "classification", examples.columns, examples.splits, split)
    every = [*splitter.parts()]
    first, *others = [task_of_split(examples, parts, split, embed, span, splitter.groups) for parts in every]
    return replace(first, folds=tuple(others), notes=(*first.notes, *splitter.notes(every[0])))


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
    told = outliers(targets, numbers) if kind == "regression" else check_classes(parts, outputs, examples.classes)
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
        encoding={"values": [*extent]} if extent else encoded.words or {"numbers": become_float(encoded.inputs.dtype)},
        unoffered=unoffered,
        notes=(*examples.notes, *encoded.notes, *range_notes, *told),
        groups=None if groups is None else torch.from_numpy(np.unique(groups[numbers["test"]], return_inverse=True)[1]),
    )


def scale_of(encoded: Encoded, train: Tensor, extent: Span | None) -> Scale | None:
    """The scale of a table or of sequences by feature, of images by channel.

    Args:
        train: the indices of the training examples; of many images, a random sample of these gives the scale.
        extent: the span of images.

    Returns:
        None for texts, for images with negative values, which their source has scaled, and for inputs of other dimensions.
    """
    inputs = encoded.inputs
    axes = AXES.get(len(inputs.shape))
    if axes is None or encoded.tokens or (extent is not None and extent[0] < 0):
        return None
    if extent is None:
        return Scale.of(inputs, train, axes).without_last(len(encoded.categories)) if become_float(inputs.dtype) else None
    scale = Scale.of(inputs, train[random_indices(len(train), SAMPLED_IMAGES)], axes)
    return scale.per(EIGHT_BITS) if inputs.dtype == torch.uint8 else scale


def part_inputs(inputs: Tensor | Source, numbers: Tensor, scale: Scale | None) -> Tensor:
    """The inputs of one part: a copy, or (of uint8, or of inputs that are read on demand) `Rows` that hold only their indices."""
    if not isinstance(inputs, Tensor) or inputs.dtype == torch.uint8:
        return Rows(inputs, numbers, scale)  # type: ignore[return-value]
    values = scale.apply(inputs[numbers]) if scale else inputs[numbers]
    return (values.float() if become_float(values.dtype) else values).contiguous()


def outliers(targets: Tensor, numbers: Mapping[str, Tensor]) -> tuple[str, ...]:
    """A note for each part in which a single target outweighs all the others in a squared error."""
    notes = []
    for part in PARTS:
        values = targets[numbers[part]].double().reshape(len(numbers[part]), -1)
        squares = (values - values.median(0).values).square()
        shares = squares / squares.sum(0).clamp(min=1e-300)
        if len(values) >= FEWEST_VALUES and shares.max() > OUTWEIGHS:
            row, column = divmod(int(shares.argmax()), shares.shape[1])
            seen = f"one of the {len(values)} targets of the {part} part, {values[row, column]:g}, is so far from the others that it makes"
            way = "mend it, or give objective=val_mae loss=huber, which weigh it less"
            notes.append(f"{seen} {shares.max():.0%} of a squared error: {way}")
    return tuple(notes)


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


def class_list(mask: Tensor, names: Sequence[str]) -> str:
    """The classes of a mask by name, or by number where they have none."""
    classes = mask.nonzero().flatten().tolist()
    first = ", ".join(repr(names[c]) if names else str(c) for c in classes[:LISTED])
    return first + (f" and {len(classes) - LISTED} more classes" if len(classes) > LISTED else "")
