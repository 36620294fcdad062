from pathlib import Path

import numpy as np

from autoopt.data.archive import Archive, Columns
from autoopt.data.arrays import array_inputs, targets_of
from autoopt.data.examples import Examples
from autoopt.data.parts import PARTS
from autoopt.data.rows import Joined
from autoopt.data.splits import PART_NAMES, contiguous_parts
from autoopt.errors import BadInput, nearest

WHERE = "data.npz"


def npz(*, path: str, inputs: str = "x", targets: str = "y", kind: str | None = None, layout: str | None = None) -> Examples:
    """Arrays in a numpy file: `inputs` and `targets` are their names, or their names beside those of the parts (x_train, train_x).

    Inputs with four dimensions are images, and so are (N, H, W) of uint8 and uint16; `layout` (NCHW, NHWC, NHW, numbers) is needed
    if the shape leaves doubt. Uncompressed arrays stay in the file if they do not fit in memory. Targets are classes if they are
    texts, up to 20 distinct integers or rows with a single 1; other rows of 0 and 1 are labels, any number of which an example has;
    real numbers are a regression. `kind` (classification, multilabel, regression) overrides this, and is needed in doubt.
    `split.group`, `split.time` and `split.column` may name other arrays of the same length.

    Harris et al. 2020, arXiv:2006.10256.

    Raises:
        BadInput: the file cannot be read, lacks the arrays, or leaves the layout or the kind in doubt.
    """
    archive = Archive(Path(path).expanduser(), WHERE)
    names = {part: pair for part in PARTS if (pair := names_of(archive, part, inputs, targets))}
    if inputs in archive and targets in archive:
        names = {"train": (inputs, targets)}
    if "train" not in names:
        role, missing = ("inputs", inputs) if inputs not in archive else ("targets", targets)
        raise BadInput(f"{WHERE}.{role}: {path} has no array '{missing}'. {nearest(missing, archive.members)}")
    arrays = {part: (array_inputs(archive.array(x), layout, WHERE), np.asarray(archive.array(y))) for part, (x, y) in names.items()}
    for role, kinds in {
        "inputs": {(tuple(x.shape[1:]), str(x.dtype)) for x, _ in arrays.values()},
        "targets": {(y.shape[1:], y.dtype.kind) for _, y in arrays.values()},
    }.items():
        if len(kinds) > 1:
            seen = ", ".join(f"{shape} {dtype}" for shape, dtype in sorted(kinds))
            raise BadInput(f"{WHERE}: the {role} of the parts have different shapes or types: {seen}")
    sources = [x for x, _ in arrays.values()]
    joined = sources[0] if len(sources) == 1 else Joined(*sources)
    y = np.concatenate([y for _, y in arrays.values()])
    splits = contiguous_parts({part: len(x) for part, (x, _) in arrays.items()})
    return Examples(joined, *targets_of(y, kind, WHERE), splits, {} if splits else Columns(archive, len(y)))


def names_of(archive: Archive, part: str, inputs: str, targets: str) -> tuple[str, str] | None:
    """The names of the inputs and targets of a part, if both are in the archive."""
    words = [word for word in PART_NAMES if PART_NAMES[word] == part]
    pairs = [pair for word in words for pair in ((f"{inputs}_{word}", f"{targets}_{word}"), (f"{word}_{inputs}", f"{word}_{targets}"))]
    return next((pair for pair in pairs if pair[0] in archive and pair[1] in archive), None)
