"""What plain arrays are: images by their shape and type, classes by their values. What cannot be told apart is asked about."""

import numpy as np
import torch
from torch import Tensor

from autoopt.data.rows import Mapped
from autoopt.errors import BadInput

CHANNELS = (1, 3, 4)
LAYOUTS = ("NCHW", "NHWC", "NHW", "numbers")
MOST_CLASSES = 20
"""More different integers than these may be values as well as classes."""
OWN_LOSS = "several labels of an example, or masks, need a LightningModule with its own loss"
TASK_KINDS = ("classification", "regression")


def array_inputs(array: np.ndarray, layout: str | None, where: str) -> Mapped:
    """An array as inputs: images `(N, C, H, W)`, or numbers.

    Args:
        layout: one of `LAYOUTS`, where the shape does not tell.
        where: the node that the settings stand under.

    Raises:
        BadInput: it holds no numbers, is not of the layout, or may be of several.
    """
    seen = f"{where}: the inputs are {array.dtype} {array.shape}"
    if layout not in (None, *LAYOUTS):
        raise BadInput(f"{where}.layout={layout}: expected one of {', '.join(LAYOUTS)}")
    if array.ndim < 2 or array.dtype.kind not in "uifb":
        raise BadInput(f"{seen}; expected numbers (N, …), or images")
    found = layout or array_layout(array.shape, array.dtype, seen, where)
    if found != "numbers" and array.ndim != len(found):
        raise BadInput(f"{where}.layout={layout}: the inputs have the shape {array.shape}")
    eight_bits = array.dtype == np.uint8 and found != "numbers"
    exact = found != "numbers" or np.can_cast(array.dtype, np.float32)
    dtype = torch.uint8 if eight_bits else torch.float32 if exact else torch.float64  # which is centred before it is rounded
    return Mapped(array, dtype, channels_last=found == "NHWC", grey=found == "NHW")


def array_layout(shape: tuple[int, ...], dtype: np.dtype, seen: str, where: str) -> str:
    """The layout that a shape and a type leave no doubt about."""
    if len(shape) == 4:
        signs = set(channel_signs(*shape[1:]))
        if len(signs) == 1:
            return signs.pop()
        raise BadInput(f"{seen}: the channels may stand first or last; say {where}.layout=NCHW or {where}.layout=NHWC")
    if len(shape) == 3 and dtype in (np.uint8, np.uint16):
        return "NHW"
    if len(shape) == 3 and shape[1] == shape[2]:
        raise BadInput(f"{seen}: grey images or sequences; say {where}.layout=NHW or {where}.layout=numbers")
    return "numbers"


def channel_signs(first: int, middle: int, last: int) -> list[str]:
    """What speaks for channels first or last: a usual number of channels on one side, square images on the other."""
    usual = {"NCHW": first in CHANNELS, "NHWC": last in CHANNELS}
    square = {"NCHW": middle == last, "NHWC": first == middle}
    return [next(name for name in sign if sign[name]) for sign in (usual, square) if sum(sign.values()) == 1]


def targets_of(targets: np.ndarray, kind: str | None, where: str) -> tuple[Tensor, str, tuple[str, ...]]:
    """The targets, what they are, and the names of the classes.

    Args:
        kind: one of `KINDS`, where the values do not tell.
        where: the node that the settings stand under.

    Raises:
        BadInput: they are something else, or may be both.
    """
    if kind not in (None, *TASK_KINDS):
        raise BadInput(f"{where}.kind={kind}: expected {' or '.join(TASK_KINDS)}")
    if targets.ndim == 2 and targets.shape[1] == 1:
        targets = targets[:, 0]
    if targets.ndim not in (1, 2):
        raise BadInput(f"{where}: the targets have the shape {targets.shape}; expected a class (N,) or values (N, D) for each example")
    if targets.dtype.kind not in "uifbUS":
        raise BadInput(f"{where}: the targets are {targets.dtype}; expected integers or texts for classes, numbers for values")
    if kind == "regression":
        return number_targets(targets, where), kind, ()
    if targets.ndim == 2:
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
    """What targets `(N,)` are."""
    both = f"say {where}.kind=classification or {where}.kind=regression"
    if targets.dtype.kind in "ui" and (count := len(np.unique(targets))) > MOST_CLASSES:
        span = f"{targets.min()} to {targets.max()}"
        raise BadInput(f"{where}: the targets are {count} different integers, {span}: classes or values; {both}")
    if targets.dtype.kind == "f":
        if np.isin(targets, (0, 1)).all():
            raise BadInput(f"{where}: the targets are 0.0 and 1.0 in {targets.dtype}: classes or values; {both}")
        return "regression"
    return "classification"


def rows_of(targets: np.ndarray, kind: str | None, where: str) -> tuple[Tensor, str, tuple[str, ...]]:
    """Targets `(N, K)`: rows with a single 1 are classes, other real numbers are values."""
    if targets.dtype.kind in "uifb" and np.isin(targets, (0, 1)).all():
        if (targets.sum(1) == 1).all():
            return torch.from_numpy(targets.argmax(1)).long(), "classification", tuple(map(str, range(targets.shape[1])))
        raise BadInput(
            f"{where}: the targets {targets.shape} are multi-label, rows with several ones or none; {OWN_LOSS}; "
            f"or say {where}.kind=regression"
        )
    if targets.dtype.kind != "f" or kind == "classification":
        raise BadInput(f"{where}: the targets are {targets.dtype} {targets.shape}; expected a single class for each example, "
                       f"or say {where}.kind=regression")  # fmt: skip
    return number_targets(targets, where), "regression", ()


def multi_label(targets: Tensor) -> bool:
    """Whether targets `(N, K)` are rows of 0 and 1 with several ones, or none, in some."""
    return targets.ndim == 2 and targets.shape[1] > 1 and bool(((targets == 0) | (targets == 1)).all()) and not one_hot(targets)


def one_hot(targets: Tensor) -> bool:
    """Whether targets `(N, K)` are rows with a single 1."""
    return targets.ndim == 2 and targets.shape[1] > 1 and bool(((targets == 0) | (targets == 1)).all() and (targets.sum(1) == 1).all())


def class_indices(targets: Tensor, whose: str = "the targets") -> Tensor:
    """Class indices, int64 `(N,)`, of integers or truths `(N,)` or `(N, 1)`, or of rows with a single 1.

    Raises:
        BadInput: they are of another shape, or rows with several ones or none.
    """
    if targets.ndim == 2 and targets.shape[1] == 1:
        targets = targets[:, 0]
    if one_hot(targets):
        return targets.to(torch.uint8).argmax(1)
    if targets.ndim != 1:
        seen = f"{whose} have the shape (N, {', '.join(map(str, targets.shape[1:]))})"
        way = f"several values of an example are floats (N, D); {OWN_LOSS}"
        raise BadInput(f"data: {seen}; expected the class of each example as (N,), or as rows with a single 1; {way}")
    return targets.long()


def checked_classes(targets: Tensor, whose: str = "the targets") -> Tensor:
    """The same of targets whose values are looked at too.

    Raises:
        BadInput: some are no whole numbers, or negative.
    """
    found = class_indices(targets, whose)
    if targets.is_floating_point() and (odd := targets[targets % 1 != 0]).numel():
        raise BadInput(f"data: {whose} hold the class {float(odd[0]):g}; expected whole numbers")
    if found.numel() and found.min() < 0:
        raise BadInput(f"data: {whose} hold the class {int(found.min())}; expected classes from 0 upwards")
    return found
