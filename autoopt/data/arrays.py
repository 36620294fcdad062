"""Plain arrays as inputs and targets: shape and type tell images, values tell classes; in doubt, an error asks for the setting."""

import numpy as np
import pandas
import torch
from torch import Tensor

from autoopt.data.rows import Mapped
from autoopt.errors import BadInput

CHANNELS = (1, 3, 4)
LAYOUTS = ("NCHW", "NHWC", "NHW", "numbers")
MOST_CLASSES = 20
"""More distinct integers may be values as well as classes."""
PLAIN = (str, int, float)
"""An array of objects that are all of one of these types could be an array of that type, as a column of texts in pandas."""
TASK_KINDS = ("classification", "multilabel", "regression")


def array_inputs(array: np.ndarray, layout: str | None, where: str) -> Mapped:
    """An array as inputs: images `(N, C, H, W)`, or numbers.

    Args:
        layout: one of `LAYOUTS`; by default, the shape and the type decide.
        where: the technique as a config names it, for messages.

    Raises:
        BadInput: the array does not hold numbers, does not have this layout, or may have several.
    """
    seen = f"{where}: the inputs are {array.dtype} {array.shape}"
    if layout not in (None, *LAYOUTS):
        raise BadInput(f"{where}.layout={layout}: expected one of {', '.join(LAYOUTS)}")
    if array.ndim < 2 or 0 in array.shape[1:] or array.dtype.kind not in "uifb":
        raise BadInput(f"{seen}; expected numbers (N, …), or images")
    form = layout or array_layout(array.shape, array.dtype, seen, where)
    if form != "numbers" and array.ndim != len(form):
        raise BadInput(f"{where}.layout={layout}: the inputs have the shape {array.shape}")
    images = form != "numbers" or array.ndim == 4
    exact = images or np.can_cast(array.dtype, np.float32)
    pixels = images and array.dtype == np.uint8
    dtype = torch.uint8 if pixels else torch.float32 if exact else torch.float64  # centred before it is rounded to float32
    return Mapped(array, dtype, channels_last=form == "NHWC", grey=form == "NHW")


def array_layout(shape: tuple[int, ...], dtype: np.dtype, seen: str, where: str) -> str:
    """The layout of an array, by its shape and type.

    Args:
        seen: the array in words, for messages.

    Raises:
        BadInput: several layouts are possible.
    """
    if len(shape) == 4:
        signs = set(channel_signs(*shape[1:]))
        if len(signs) == 1:
            return signs.pop()
        raise BadInput(f"{seen}: the channels may come first or last; give {where}.layout=NCHW or {where}.layout=NHWC")
    if len(shape) == 3 and dtype in (np.uint8, np.uint16):
        return "NHW"
    if len(shape) == 3 and shape[1] == shape[2]:
        raise BadInput(f"{seen}: grey images or sequences; give {where}.layout=NHW or {where}.layout=numbers")
    return "numbers"


def channel_signs(first: int, middle: int, last: int) -> list[str]:
    """The layouts that the sizes of an image suggest: one by a usual number of channels, one by square images."""
    usual = {"NCHW": first in CHANNELS, "NHWC": last in CHANNELS}
    square = {"NCHW": middle == last, "NHWC": first == middle}
    return [next(name for name in sign if sign[name]) for sign in (usual, square) if sum(sign.values()) == 1]


def targets_of(targets: np.ndarray, kind: str | None, where: str) -> tuple[Tensor, str, tuple[str, ...]]:
    """The targets, the kind of the task, and the class names.

    Args:
        targets: classes `(N,)`, rows `(N, K)` with a single 1, labels `(N, K)` of 0 and 1, or values `(N,)` or `(N, D)`.
        kind: one of `TASK_KINDS`; by default, the values decide.
        where: the technique as a config names it, for messages.

    Returns:
        class indices int64 `(N,)`, labels float32 `(N, K)` or values float64 `(N, D)`, one of `TASK_KINDS`, and the names of the
        classes or labels.

    Raises:
        BadInput: the targets are neither classes nor values, or may be both, or have gaps.
    """
    if kind not in (None, *TASK_KINDS):
        raise BadInput(f"{where}.kind={kind}: expected {' or '.join(TASK_KINDS)}")
    if targets.dtype == object and any(all(isinstance(value, plain) for value in targets.flat) for plain in PLAIN):
        targets = np.array(targets.tolist())
    if targets.dtype.kind == "S":
        targets = np.char.decode(targets, "utf-8", "replace")
    if targets.ndim == 2 and targets.shape[1] == 1:
        targets = targets[:, 0]
    if targets.ndim not in (1, 2):
        expected = "a class (N,), labels (N, K) or values (N, D) for each example; masks need a LightningModule with its own loss"
        raise BadInput(f"{where}: the targets have the shape {targets.shape}; expected {expected}")
    gaps = ~np.isfinite(targets) if targets.dtype.kind == "f" else pandas.isna(targets)
    if gaps.any():
        rows = gaps.reshape(len(gaps), -1).any(1)
        seen = f"{rows.sum()} of {len(rows)}, the first in row {rows.argmax() + 1}"
        raise BadInput(f"{where}: the targets have gaps (missing or infinite): {seen}")
    if targets.dtype.kind not in "uifbU":
        raise BadInput(f"{where}: the targets are {targets.dtype}; expected integers or texts for classes, numbers for values")
    if kind == "regression":
        return number_targets(targets, where), kind, ()
    if targets.ndim == 2 or kind == "multilabel":
        return rows_of(targets, kind, where)
    if kind is None:
        kind = kind_of(targets, where)
    if kind == "regression":
        return number_targets(targets, where), kind, ()
    classes, codes = np.unique(targets, return_inverse=True)
    return torch.from_numpy(codes).long(), kind, tuple(map(str, classes))


def number_targets(targets: np.ndarray, where: str) -> Tensor:
    if targets.dtype.kind not in "uifb":
        raise BadInput(f"{where}.kind=regression: the targets are {targets.dtype}; expected numbers")
    return torch.from_numpy(targets.reshape(len(targets), -1).astype("float64"))


def kind_of(targets: np.ndarray, where: str) -> str:
    """The kind of a task with targets `(N,)`."""
    both = f"give {where}.kind=classification or {where}.kind=regression"
    if targets.dtype.kind in "ui" and (count := len(np.unique(targets))) > MOST_CLASSES:
        span = f"{targets.min()} to {targets.max()}"
        raise BadInput(f"{where}: the targets are {count} different integers, {span}: classes or values; {both}")
    if targets.dtype.kind == "f":
        if few := few_whole(targets):
            raise BadInput(f"{where}: the targets are {few} in {targets.dtype}: classes or values; {both}")
        return "regression"
    return "classification"


def few_whole(targets: np.ndarray) -> str:
    """The values of real targets that may be classes, such as those that were read from a text, in words; else empty."""
    distinct = np.unique(targets)
    if len(distinct) > min(MOST_CLASSES, len(targets) / 2) or (distinct != np.round(distinct)).any():
        return ""
    return f"{', '.join(map(str, distinct[:-1].tolist()))} and {distinct[-1]}" if len(distinct) > 1 else str(distinct[0])


def rows_of(targets: np.ndarray, kind: str | None, where: str) -> tuple[Tensor, str, tuple[str, ...]]:
    """Targets `(N, K)`: rows of 0 and 1 are classes if each has a single 1, else labels; other real numbers are values."""
    binary = targets.ndim == 2 and targets.dtype.kind in "uifb" and bool(np.isin(targets, (0, 1)).all())
    single = binary and bool((targets.sum(1) == 1).all())
    if single and kind != "multilabel":
        return torch.from_numpy(targets.argmax(1)).long(), "classification", names_by_number(targets.shape[1])
    if binary and kind != "classification":
        return torch.from_numpy(targets.astype("float32")), "multilabel", names_by_number(targets.shape[1])
    seen = f"{where}: the targets are {targets.dtype} {targets.shape}"
    if kind == "multilabel":
        raise BadInput(f"{seen}; expected rows (N, K) of 0 and 1 for {where}.kind=multilabel")
    if targets.dtype.kind != "f" or kind == "classification":
        other = "multilabel" if binary else "regression"
        raise BadInput(f"{seen}; expected a single class for each example, or give {where}.kind={other}")
    return number_targets(targets, where), "regression", ()


def names_by_number(count: int) -> tuple[str, ...]:
    return tuple(map(str, range(count)))


def are_labels(targets: Tensor) -> bool:
    """Whether targets `(N, K)` are rows of 0 and 1, some of them with several 1s or none."""
    return is_binary(targets) and not is_one_hot(targets)


def is_binary(targets: Tensor) -> bool:
    """Whether targets are rows `(N, K)` of 0 and 1."""
    return targets.ndim == 2 and targets.shape[1] > 1 and within_0_and_1(targets)


def within_0_and_1(targets: Tensor) -> bool:
    return bool(((targets == 0) | (targets == 1)).all())


def is_one_hot(targets: Tensor) -> bool:
    """Whether targets `(N, K)` are rows with a single 1."""
    return is_binary(targets) and bool((targets.sum(1) == 1).all())


def class_indices(targets: Tensor, whose: str = "the targets") -> Tensor:
    """Class indices, int64 `(N,)`, of integers or booleans `(N,)` or `(N, 1)`, or of rows `(N, K)` with a single 1.

    Args:
        whose: the subject of a message.

    Raises:
        BadInput: the targets have another shape, or are rows with several 1s or none.
    """
    if targets.ndim == 2 and targets.shape[1] == 1:
        targets = targets[:, 0]
    if is_one_hot(targets):
        return targets.to(torch.uint8).argmax(1)
    if targets.ndim != 1:
        seen = f"{whose} have the shape (N, {', '.join(map(str, targets.shape[1:]))})"
        others = "several values of an example are floats (N, D), several labels rows of 0 and 1 in all batches"
        masks = "masks need a LightningModule with its own loss"
        raise BadInput(f"data: {seen}; expected the class of each example as (N,), or as rows with a single 1; {others}; {masks}")
    return targets.long()


def checked_classes(targets: Tensor, whose: str = "the targets") -> Tensor:
    """Class indices as from `class_indices`, after a check of their values.

    Raises:
        BadInput: as `class_indices`; some are negative, or not whole numbers.
    """
    indices = class_indices(targets, whose)
    if targets.is_floating_point() and (odd := targets[targets % 1 != 0]).numel():
        raise BadInput(f"data: {whose} hold the class {float(odd[0]):g}; expected whole numbers")
    if indices.numel() and indices.min() < 0:
        raise BadInput(f"data: {whose} hold the class {int(indices.min())}; expected classes from 0 upwards")
    return indices
