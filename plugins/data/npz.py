from pathlib import Path

import numpy as np
import torch

from autoopt.data.archive import Archive
from autoopt.data.rows import Joined, Mapped, Source
from autoopt.data.splits import in_a_row
from autoopt.data.task import Examples
from autoopt.errors import BadInput, nearest

PARTS = {"train": ("train",), "validation": ("val", "validation", "valid"), "test": ("test",)}
CHANNELS = (1, 3, 4)


def npz(*, path: str, inputs: str = "x", targets: str = "y", kind: str | None = None) -> Examples:
    """Arrays in a numpy file: `inputs` and `targets` are their names, or what their names begin with (x_train, x_val, x_test).

    Images (N, H, W), (N, C, H, W) or (N, H, W, C) of uint8 are scaled to [0, 1]. Arrays that are not compressed stay in the file
    where memory cannot hold them. Targets of integers are classes, others a regression; `kind` says otherwise. Other arrays of
    the same length can be named by `split.group` and its like.

    Harris et al. 2020, arXiv:2006.10256.

    Raises:
        BadInput: the file cannot be read, or has no such arrays.
    """
    archive = Archive(Path(path).expanduser(), "data.npz")
    names = {part: found for part in PARTS if (found := names_of(archive, part, inputs, targets))}
    if inputs in archive and targets in archive:
        names = {"train": (inputs, targets)}
    if "train" not in names:
        missing = inputs if inputs not in archive else targets
        raise BadInput(f"data.npz: {path} has no array '{missing}'. {nearest(missing, archive.members)}")
    arrays = {part: (source(archive.array(x)), np.asarray(archive.array(y))) for part, (x, y) in names.items()}
    shapes = {tuple(x.shape[1:]) for x, _ in arrays.values()}
    if len(shapes) > 1:
        raise BadInput(f"data.npz: the inputs of the parts have different shapes: {', '.join(map(str, shapes))}")
    sources = [x for x, _ in arrays.values()]
    joined = sources[0] if len(sources) == 1 else Joined(*sources)
    y = np.concatenate([y for _, y in arrays.values()])
    columns = {n: a for n in archive.members if len(arrays) == 1 and (a := archive.array(n)).ndim == 1 and len(a) == len(y)}
    return Examples(joined, *learnt(y, kind), in_a_row({part: len(x) for part, (x, _) in arrays.items()}), columns)


def names_of(archive: Archive, part: str, inputs: str, targets: str) -> tuple[str, str] | None:
    """The names of a part's arrays, where it has some."""
    pairs = ((f"{inputs}_{word}", f"{targets}_{word}") for word in PARTS[part])
    return next((pair for pair in pairs if pair[0] in archive and pair[1] in archive), None)


def source(array: np.ndarray) -> Source:
    """An array as inputs: images by their shape and type, else numbers."""
    if array.ndim < 2 or array.dtype.kind not in "uifb":
        raise BadInput(f"data.npz: the inputs are {array.dtype} {array.shape}; expected numbers (N, …), or images of uint8")
    image = array.dtype == np.uint8 and array.ndim in (3, 4)
    last = image and array.ndim == 4 and array.shape[3] in CHANNELS and array.shape[1] not in CHANNELS
    return Mapped(array, torch.uint8 if image else torch.float32, channels_last=last, grey=image and array.ndim == 3)


def learnt(targets: np.ndarray, kind: str | None) -> tuple[torch.Tensor, str, tuple[str, ...]]:
    """The targets, what they are, and the names of the classes."""
    if kind not in (None, "classification", "regression"):
        raise BadInput(f"data.npz.kind={kind}: expected classification or regression")
    if kind == "classification" or (kind is None and targets.dtype.kind not in "f"):
        classes, codes = np.unique(targets.reshape(len(targets)), return_inverse=True)
        return torch.from_numpy(codes).long(), "classification", tuple(map(str, classes))
    return torch.from_numpy(targets.reshape(len(targets), -1).astype("float32")), "regression", ()
