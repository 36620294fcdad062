from pathlib import Path

import numpy as np

from autoopt.data.archive import Archive
from autoopt.data.arrays import array_inputs, targets_of
from autoopt.data.parts import PARTS
from autoopt.data.rows import Joined
from autoopt.data.splits import NAMES, contiguous_parts
from autoopt.data.task import Examples
from autoopt.errors import BadInput, nearest

WHERE = "data.npz"


def npz(*, path: str, inputs: str = "x", targets: str = "y", kind: str | None = None, layout: str | None = None) -> Examples:
    """Arrays in a numpy file: `inputs` and `targets` are their names, or what their names begin with (x_train, x_val, x_test).

    Inputs in four dimensions are images, and so are (N, H, W) of uint8 and uint16; `layout` (NCHW, NHWC, NHW, numbers) says it where
    the shape leaves doubt. Arrays that are not compressed stay in the file where memory cannot hold them. Texts, up to 20 different
    integers and rows with a single 1 are classes, real numbers a regression; `kind` says otherwise, and has to where both are
    possible. Other arrays of the same length can be named by `split.group` and its like.

    Harris et al. 2020, arXiv:2006.10256.

    Raises:
        BadInput: the file cannot be read, has no such arrays, or leaves doubt about what they are.
    """
    archive = Archive(Path(path).expanduser(), WHERE)
    names = {part: found for part in PARTS if (found := names_of(archive, part, inputs, targets))}
    if inputs in archive and targets in archive:
        names = {"train": (inputs, targets)}
    if "train" not in names:
        missing = inputs if inputs not in archive else targets
        raise BadInput(f"data.npz: {path} has no array '{missing}'. {nearest(missing, archive.members)}")
    arrays = {part: (array_inputs(archive.array(x), layout, WHERE), np.asarray(archive.array(y))) for part, (x, y) in names.items()}
    for role, kinds in {
        "inputs": {(tuple(x.shape[1:]), str(x.dtype)) for x, _ in arrays.values()},
        "targets": {(y.shape[1:], y.dtype.kind) for _, y in arrays.values()},
    }.items():
        if len(kinds) > 1:
            said = ", ".join(f"{shape} {dtype}" for shape, dtype in sorted(kinds))
            raise BadInput(f"{WHERE}: the {role} of the parts have different shapes or types: {said}")
    sources = [x for x, _ in arrays.values()]
    joined = sources[0] if len(sources) == 1 else Joined(*sources)
    y = np.concatenate([y for _, y in arrays.values()])
    columns = {n: a for n in archive.members if len(arrays) == 1 and (a := archive.array(n)).ndim == 1 and len(a) == len(y)}
    return Examples(joined, *targets_of(y, kind, WHERE), contiguous_parts({part: len(x) for part, (x, _) in arrays.items()}), columns)


def names_of(archive: Archive, part: str, inputs: str, targets: str) -> tuple[str, str] | None:
    """The names of a part's arrays, where it has some."""
    pairs = ((f"{inputs}_{word}", f"{targets}_{word}") for word in NAMES if NAMES[word] == part)
    return next((pair for pair in pairs if pair[0] in archive and pair[1] in archive), None)
