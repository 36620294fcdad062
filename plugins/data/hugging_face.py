import json
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pyarrow
import pyarrow.compute
from PIL import Image
from torch import Tensor

from autoopt.data.arrays import targets_of
from autoopt.data.examples import Examples
from autoopt.data.images import Images
from autoopt.data.parts import PARTS
from autoopt.data.splits import PART_NAMES, contiguous_parts
from autoopt.data.words import Texts
from autoopt.domain import Bounds
from autoopt.errors import BadInput, nearest, one_line

WHERE = "data.hugging_face"
TARGET_COLUMNS = ("label", "labels", "target", "y")


def hugging_face(
    *,
    path: str,
    inputs: str | None = None,
    target: str | None = None,
    kind: str | None = None,
    size: Annotated[int, Bounds(1)] = 32,
    grey: bool = False,
    length: Annotated[int, Bounds(1)] = 128,
    vocabulary: Annotated[int, Bounds(3)] = 10_000,
) -> Examples:
    """A Hugging Face data set of images or texts as `save_to_disk` writes it, read without the library `datasets`.

    `inputs` and `target` are columns; by default, the only column of images, else of texts, and the column with a usual name
    (label, labels, target, y). Splits with the usual names are the parts. Images are resized to `size` by `size`; the first `length`
    words of a text become indices into a vocabulary of at most `vocabulary` entries. Lists of class labels, or of 0 and 1, are labels, any
    number of which an example has. Use `parquet` for tables.

    Lhoest et al. 2021, arXiv:2109.02846.

    Raises:
        BadInput: the data set cannot be read or has gaps, or a column is missing or in doubt.
    """
    root = Path(path).expanduser()
    parts, notes = splits_in(root)
    tables = {part: read_split(folder) for part, folder in parts.items()}
    if not isinstance(features := read_info(next(iter(parts.values())) / "dataset_info.json").get("features"), dict):
        raise BadInput(f"{WHERE}.path: dataset_info.json in {path} has no features")
    x, is_image = inputs_in(features, inputs)
    y = choose_column("target", target, features, [name for name in TARGET_COLUMNS if name in features])
    whole = pyarrow.concat_tables(tables.values())
    if whole[x].null_count:
        raise BadInput(f"{WHERE}: the column '{x}' has gaps")
    targets, kind, classes = learn_targets(whole[y], y, features[y], kind)
    rows = Images(pictures(whole[x], root, x), (size, size), grey) if is_image else Texts(whole[x].to_pylist(), length, vocabulary)
    return Examples(rows, targets, kind, classes, contiguous_parts({part: len(table) for part, table in tables.items()}), notes=notes)


def learn_targets(column: pyarrow.ChunkedArray, name: str, feature: Any, kind: str | None) -> tuple[Tensor, str, tuple[str, ...]]:
    """The targets, the kind of the task, and the class names, as `targets_of` returns them."""
    if in_lists := hasattr(column.type, "value_field"):
        feature = feature[0] if isinstance(feature, list) else feature.get("feature")
    values = pyarrow.compute.list_flatten(column) if in_lists else column
    if column.null_count or values.null_count:
        raise BadInput(f"{WHERE}: the column '{name}' has gaps")
    names, labels = feature.get("names") if isinstance(feature, dict) else None, values.to_numpy()
    if names and (odd := labels[(labels < 0) | (labels >= len(names))]).size:
        meaning = "which means no label" if odd[0] < 0 else f"but the classes are 0 to {len(names) - 1}"
        raise BadInput(f"{WHERE}: {(odd == odd[0]).sum()} rows have the label {odd[0]}, {meaning}; remove these rows or their split")
    labels = labels.astype(str) if labels.dtype == object else labels
    if in_lists:
        labels = label_rows(labels, pyarrow.compute.list_value_length(column).to_numpy(), names, name)
    usual = names and ("multilabel" if in_lists else "classification")
    targets, kind, classes = targets_of(labels, kind or usual, WHERE)
    return targets, kind, tuple(names[int(code)] for code in classes) if names and kind != "regression" else classes


def label_rows(values: np.ndarray, lengths: np.ndarray, names: list[str] | None, name: str) -> np.ndarray:
    """The lists of a column as rows: of 0 and 1 if they hold the classes of an example, else as they are.

    Args:
        values: of all lists, one after the other.
        names: of the classes.
        name: of the column.

    Raises:
        BadInput: they are of several lengths, or of texts, and hold no classes.
    """
    if names:
        rows = np.zeros((len(lengths), len(names)), int)
        rows[np.repeat(np.arange(len(lengths)), lengths), values] = 1
        return rows
    if values.dtype.kind == "U":
        raise BadInput(f"{WHERE}: the column '{name}' holds lists of texts; expected lists of 0 and 1, or of class labels (ClassLabel)")
    widths = sorted({*lengths.tolist()})
    if len(widths) > 1 or widths == [0]:
        seen = f"the column '{name}' holds lists of {widths[0]} to {widths[-1]} values"
        raise BadInput(f"{WHERE}: {seen}; expected lists of one length, or of class labels")
    return values.reshape(-1, *widths)


def splits_in(root: Path) -> tuple[dict[str, Path], tuple[str, ...]]:
    """The folder of each part, and notes on other splits."""
    if not (root / "dataset_dict.json").is_file():
        return {"train": root}, ()
    splits = read_info(root / "dataset_dict.json").get("splits", [])
    parts = {PART_NAMES[split.lower()]: root / split for split in splits if split.lower() in PART_NAMES}
    if "train" not in parts:
        raise BadInput(f"{WHERE}.path: {root} has the splits {', '.join(splits)}, but none for train")
    others = [split for split in splits if root / split not in parts.values()]
    return {p: parts[p] for p in PARTS if p in parts}, (f"splits that are no parts were not read: {', '.join(others)}",) if others else ()


def read_info(file: Path) -> dict[str, Any]:
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise BadInput(f"{WHERE}.path: {file} cannot be read: {error}; expected a folder that save_to_disk has written") from error


def read_split(folder: Path) -> pyarrow.Table:
    """The rows of one split, mapped into memory."""
    state = read_info(folder / "state.json")
    if state.get("_indices_data_files"):
        raise BadInput(f"{WHERE}.path: {folder} holds a selection of its rows; write it anew after flatten_indices()")
    try:
        files = [pyarrow.memory_map(str(folder / file["filename"])) for file in state["_data_files"]]
        return pyarrow.concat_tables(pyarrow.ipc.open_stream(file).read_all() for file in files)
    except (OSError, KeyError, pyarrow.ArrowInvalid) as error:
        raise BadInput(f"{WHERE}.path: the rows in {folder} cannot be read: {one_line(error)}") from error


def inputs_in(features: dict[str, Any], inputs: str | None) -> tuple[str, bool]:
    """The column of the inputs, and whether it holds images.

    Raises:
        BadInput: the column is missing, in doubt, or of another type.
    """
    images = [name for name, feature in features.items() if isinstance(feature, dict) and feature.get("_type") == "Image"]
    texts = [
        n for n, f in features.items() if isinstance(f, dict) and f.get("dtype") in ("string", "large_string") and n not in TARGET_COLUMNS
    ]
    name = choose_column("inputs", inputs, features, images or texts)
    if name not in images + texts:
        raise BadInput(f"{WHERE}.inputs={name}: expected a column of images or texts; for a table, use data=parquet")
    return name, name in images


def choose_column(setting: str, name: str | None, features: dict[str, Any], usual: list[str]) -> str:
    """The column that a setting names, or else the only usual column.

    Raises:
        BadInput: the column is missing; or no column is named, and not exactly one is usual.
    """
    if name is None and len(usual) == 1:
        return usual[0]
    if name is None or name not in features:
        problem = "no such column" if name else "give the name of the column"
        raise BadInput(f"{WHERE}.{setting}={name or '…'}: {problem}. {nearest(name or '', features)}")
    return name


@dataclass(frozen=True)
class Picture:
    """An image in a column, which is opened like a file."""

    column: pyarrow.ChunkedArray
    row: int
    root: Path
    name: str

    def __str__(self) -> str:
        return f"{self.root}: row {self.row} of '{self.name}'"

    def open(self) -> Image.Image:
        image = self.column[self.row].as_py()
        return Image.open(BytesIO(image["bytes"]) if image.get("bytes") is not None else Path(image["path"]))


def pictures(column: pyarrow.ChunkedArray, root: Path, name: str) -> list[Picture]:
    return list(map(partial(Picture, column, root=root, name=name), np.arange(len(column)).tolist()))
