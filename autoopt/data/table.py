"""Tables: what kind of values a column holds, and how they become numbers by what the training part shows."""

import warnings
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import torch
from pandas.api import types
from torch import Tensor

from autoopt.data.parts import PARTS
from autoopt.data.splits import in_a_row
from autoopt.data.task import Encoded, Examples, embedding_width
from autoopt.domain import Unavailable
from autoopt.errors import BadInput, nearest

LEVELS = 20
"""More levels than that are embedded, or (where the model is a user's own) cut."""
EPOCH = pandas.Timestamp("1970-01-01", tz="UTC")


@dataclass(frozen=True)
class Column:
    """How a column becomes numbers; all of it was learnt from the training part.

    Args:
        type: number, truth value, date or category.
        fill: what stands for a gap: the median.
        indicator: a further column says where the gaps were.
        levels: of a category; none of them is any other.
        embedded: the level's code (from 1; 0: any other) is given, to be embedded; else a column of 0 and 1 a level.
        ignored: why it is none of the inputs, where it is not.
    """

    name: str
    type: str
    fill: float | None = None
    indicator: bool = False
    levels: tuple[str, ...] = ()
    embedded: bool = False
    ignored: str = ""

    @property
    def treatment(self) -> str:
        """What is done with it, in words."""
        if self.ignored:
            return f"left out: {self.ignored}"
        rest = "; a column says where the gaps are" if self.indicator else ""
        if self.embedded:
            return f"{len(self.levels)} levels, embedded in {embedding_width(len(self.levels) + 1)} numbers{rest}"
        if self.type == "category":
            return f"a column for each of {len(self.levels)} levels{rest}"
        how = {"number": "as it is", "truth value": "0 or 1", "date": "days since 1970"}[self.type]
        return f"{how}, gaps filled by the median {self.fill:g}{rest}" if self.indicator else how


@dataclass(frozen=True)
class Table:
    """The columns of a table that may be inputs."""

    frame: pandas.DataFrame

    def __len__(self) -> int:
        return len(self.frame)

    def content(self) -> bytes:
        return bytes(pandas.util.hash_pandas_object(self.frame, index=False).to_numpy().tobytes())

    def encoded(self, train: Tensor, without: Collection[str], embed: bool) -> Encoded:
        rows = train.numpy()
        columns = [learnt(self.frame[name], rows, embed) for name in self.frame if name not in without]
        columns += [Column(name, kind_of(self.frame[name]), ignored="the split goes by it") for name in self.frame if name in without]
        if all(column.ignored for column in columns):
            raise BadInput("data: the table has no column to learn from besides the target")
        categories = tuple(len(column.levels) + 1 for column in columns if column.embedded)
        words = {"columns": [asdict(column) | {"treatment": column.treatment} for column in columns]}
        return Encoded(encode(self.frame, columns), categories, words=words)


def kind_of(column: pandas.Series) -> str:
    """number, truth value, date or category."""
    values = column.dropna()
    if types.is_bool_dtype(column) or (column.dtype == object and len(values) and set(map(type, values)) <= {bool, np.bool_}):
        return "truth value"
    if types.is_numeric_dtype(column):
        return "number"
    if types.is_datetime64_any_dtype(column) or (len(values) and dates(values).notna().all()):
        return "date"
    return "category"


def dates(column: pandas.Series) -> pandas.Series:
    """As points in time, by ISO 8601; what is none is a gap."""
    if not types.is_datetime64_any_dtype(column) and not all(isinstance(value, str) and value[:4].isdigit() for value in column.dropna()):
        return pandas.Series(pandas.NaT, column.index)
    return pandas.to_datetime(column, format="ISO8601", utc=True, errors="coerce")


def numbers(column: pandas.Series, kind: str) -> np.ndarray:
    """A column that is no category, as float64; gaps are NaN."""
    values = (dates(column) - EPOCH) / pandas.Timedelta(days=1) if kind == "date" else column
    return pandas.to_numeric(values, errors="coerce").to_numpy("float64", na_value=np.nan)


def texts(column: pandas.Series) -> pandas.Series:
    """A category's levels as texts; gaps stay gaps."""
    return column.astype(object).where(column.notna()).map(str, na_action="ignore")


def learnt(column: pandas.Series, train: np.ndarray, embed: bool) -> Column:
    """What the training part says of a column."""
    name, kind = str(column.name), kind_of(column)
    shown = column.iloc[train]
    gaps = bool(shown.isna().any())
    if shown.isna().all():
        return Column(name, kind, ignored="it is empty in the training part")
    if kind != "category":
        return Column(name, kind, float(np.nanmedian(numbers(shown, kind))), gaps)
    counts = texts(shown).value_counts()
    if len(counts) > LEVELS:  # a level that is seen once says nothing of itself, but shows what an unknown one is like
        counts = counts[counts > 1]
    if counts.empty:
        return Column(name, kind, ignored="every value is another")
    large = len(counts) > LEVELS
    return Column(name, kind, None, gaps, tuple(sorted(counts.index if embed or not large else counts.index[:LEVELS])), embed and large)


def encode(frame: pandas.DataFrame, columns: Iterable[Column | Mapping[str, Any]]) -> Tensor:
    """The columns of a table as float32 `(N, F)`, the codes of embedded categories last.

    Args:
        columns: as they were learnt; also as a `model.json` has them, under `encoding`.

    Raises:
        BadInput: one of them is not there, or holds what is infinite in float32.
    """
    known = [c if isinstance(c, Column) else Column(**{k: v for k, v in c.items() if k != "treatment"}) for c in columns]
    used = [column for column in known if not column.ignored]
    for column in used:
        if column.name not in frame:
            raise BadInput(f"data: the table has no column '{column.name}'. {nearest(column.name, map(str, frame.columns))}")
    front = [part for column in used for part in as_numbers(frame[column.name], column)]
    codes = [code(frame[column.name], column.levels) for column in used if column.embedded]
    values = np.stack([*front, *codes], 1).astype("float32")
    return torch.from_numpy(values)


def as_numbers(column: pandas.Series, how: Column) -> list[np.ndarray]:
    """All that stands for a column, but for the code of its level."""
    gaps = column.isna().to_numpy()
    indicator = [gaps.astype("float64")] if how.indicator else []
    if how.embedded:
        return indicator
    if how.type == "category":
        codes = code(column, how.levels)
        return [*((codes == number).astype("float64") for number in range(1, len(how.levels) + 1)), *indicator]
    values = numbers(column, how.type)
    values = np.where(np.isnan(values), float(how.fill or 0), values)
    if not (np.abs(values) <= np.finfo("float32").max).all():
        raise BadInput(f"data: column '{how.name}' holds infinite values")
    return [values, *indicator]


def code(column: pandas.Series, levels: Iterable[str]) -> np.ndarray:
    """The number of each value's level, from 1; 0 where it is none of them."""
    return pandas.Categorical(texts(column), categories=list(levels)).codes.astype("float64") + 1


# ------------------------------------------------------------------------------------------------------------------- from files


def from_files(
    where: str,
    read: Callable[[str], pandas.DataFrame],
    target: str,
    kind: str | None,
    path: str | None,
    train: str | None,
    val: str | None,
    test: str | None,
) -> Examples:
    """The examples of one file, or of a file a part.

    Args:
        where: the technique, as a config names it, for what is said of problems.
        read: reads one file.
        kind: classification or regression; by default as the target tells.

    Raises:
        Unavailable: no file is given.
        BadInput: a file cannot be read, or nothing can be learnt from it.
    """
    files = parts_of(where, path, train, val, test)
    frames = {part: read(file) for part, file in files.items()}
    first = frames["train"]
    for part, frame in frames.items():
        if missing := [str(name) for name in first.columns if name not in frame]:
            raise BadInput(f"{where}: {files[part]} has no column '{missing[0]}', which {files['train']} has")
    table = pandas.concat([frame[list(first.columns)] for frame in frames.values()], ignore_index=True)
    return examples_of(where, table, target, kind, in_a_row({part: len(frame) for part, frame in frames.items()}))


def parts_of(where: str, path: str | None, train: str | None, val: str | None, test: str | None) -> dict[str, str]:
    """The file of each part that has one.

    Raises:
        Unavailable: there is none to train on.
        BadInput: there are two.
    """
    if path is not None and train is not None:
        raise BadInput(f"{where}.path={path}, {where}.train={train}: give one of the two")
    files = dict(zip(PARTS, (path or train, val, test), strict=True))
    if files["train"] is None:
        raise Unavailable(f"{where}.path is missing: say {where}.path=…, or {where}.train=… with {where}.val=… and {where}.test=…")
    return {part: file for part, file in files.items() if file is not None}


def read_file(where: str, path: str, read: Callable[[Path], pandas.DataFrame]) -> pandas.DataFrame:
    """A file as a table.

    Raises:
        BadInput: there is none, it is empty, or it cannot be read.
    """
    file = Path(path).expanduser()
    if not file.exists():
        raise BadInput(f"{where}.path: there is no file {path}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pandas.errors.ParserWarning)
            table = read(file)
    except pandas.errors.EmptyDataError as error:
        raise BadInput(f"{where}.path: {path} is empty") from error
    except pandas.errors.ParserWarning as error:
        raise BadInput(f"{where}.path: {path} cannot be read as a table: its lines have more fields than its header") from error
    except (OSError, ValueError, TypeError) as error:  # ParserError, UnicodeDecodeError and ArrowInvalid are ValueErrors
        raise BadInput(f"{where}.path: {path} cannot be read as a table: {' '.join(str(error).split())}") from error
    if table.empty:
        raise BadInput(f"{where}.path: {path} is empty: it has a header but no rows")
    return table.rename(columns=str)


def examples_of(where: str, table: pandas.DataFrame, target: str, kind: str | None, splits: dict[str, Tensor] | None) -> Examples:
    """What is to be learnt from a table; `target` is the column to be learnt.

    Raises:
        BadInput: the target cannot be learnt.
    """
    if target not in table:
        raise BadInput(f"{where}.target: the table has no column '{target}'. {nearest(target, map(str, table.columns))}")
    if kind not in (None, "classification", "regression"):
        raise BadInput(f"{where}.kind={kind}: expected classification or regression")
    labels = table[target]
    if labels.isna().any():
        row = int(labels.isna().to_numpy().argmax()) + 1
        raise BadInput(f"{where}: the target '{target}' has gaps: {labels.isna().sum()} of {len(labels)}, the first in row {row}")
    inputs, columns = Table(table.drop(columns=target)), Columns(table)
    numeric = kind_of(labels) == "number"
    integers = types.is_integer_dtype(labels) and labels.nunique() <= LEVELS
    if kind == "classification" or (kind is None and (integers or not numeric)):
        codes, classes = pandas.factorize(labels, sort=True)
        if len(classes) < 2:
            raise BadInput(f"{where}: the target '{target}' has one class only: {str(classes[0])!r}")
        return Examples(inputs, torch.tensor(codes), "classification", tuple(map(str, classes)), splits, columns)
    if not numeric:
        raise BadInput(f"{where}: a regression needs numbers, the target '{target}' holds {labels.iloc[0]!r}")
    values = encode(table, [Column(target, "number", 0.0)])
    return Examples(inputs, values, "regression", (), splits, columns)


class Columns(Mapping[str, np.ndarray]):
    """A table's columns as a split may go by them: numbers, days or texts, made when one is asked for."""

    def __init__(self, frame: pandas.DataFrame):
        self.frame = frame

    def __getitem__(self, name: str) -> np.ndarray:
        column, kind = self.frame[name], kind_of(self.frame[name])
        return texts(column).to_numpy(object, na_value=np.nan) if kind == "category" else numbers(column, kind)

    def __iter__(self) -> Iterator[str]:
        return iter(map(str, self.frame.columns))

    def __len__(self) -> int:
        return self.frame.shape[1]
