"""Tables: columns of all types as one tensor, encoded as learnt from the training part."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas
import torch
from pandas.api import types
from torch import Tensor

from autoopt.data.cells import cell_texts, native_kind, unwrapped
from autoopt.data.column import Column, Locate
from autoopt.data.examples import Encoded
from autoopt.data.learn_column import ASKED, Schema, column_type, learn_column
from autoopt.data.text_type import decimal_mark
from autoopt.errors import BadInput, nearest

SPLITS = "the split uses it"
SAMPLE_ROWS = 1000
"""How many training rows decide the decimal mark of a table."""


@dataclass(frozen=True)
class Table:
    """The columns of a table that may be inputs.

    Args:
        frame: the columns.
        schema: what is known about them.
        lengths: the number of rows in the file of each part, in their order.
        source: how the files were read, in words.
    """

    frame: pandas.DataFrame
    schema: Schema = field(default_factory=Schema)
    lengths: Mapping[str, int] = field(default_factory=dict)
    source: str = ""

    def __len__(self) -> int:
        return len(self.frame)

    def content(self) -> bytes:
        hashable = {name: cells.map(repr) if cells.dtype == object else cells for name, cells in self.frame.items()}  # lists have no hash
        return bytes(pandas.util.hash_pandas_object(pandas.DataFrame(hashable), index=False).to_numpy().tobytes())

    def encoded(self, train: Tensor, without: Collection[str], embed: bool) -> Encoded:
        rows, schema = train.numpy(), replace(self.schema, undecided=self.decimal(train.numpy()))
        columns = [
            self.of_split(name) if name in without else learn_column(self.frame[name], rows, embed, schema, self.place)
            for name in sorted(self.frame, key=lambda name: name in without)
        ]
        if all(column.ignored for column in columns):
            raise BadInput(f"data: the table has no column to learn from besides the target{left_out(columns)}")
        categories = tuple(len(column.levels) + 1 for column in columns if column.embedded)
        words = {"columns": [column.described() for column in columns], "source": self.source}
        notes = [column.note for column in columns if column.note]
        if left := left_out(columns):
            notes.append(left.removeprefix("; "))
        return Encoded(encode_columns(self.frame, columns, strict=False), categories, words=words, notes=tuple(notes))

    def of_split(self, name: str) -> Column:
        """A column that the split uses, and that is no input therefore."""
        read = self.as_a_whole(name)
        return Column(name, "category", ignored=SPLITS, note=read.note if read else "")

    def as_a_whole(self, name: str) -> Column | None:
        """A column as a split reads it: with the type and the style of all its rows, since no part is drawn yet."""
        return column_type(self.frame[name], self.schema)

    def decimal(self, rows: np.ndarray) -> str:
        """The decimal mark of the table, by the first of these rows."""
        sample = self.frame.iloc[rows[:SAMPLE_ROWS]]
        columns = (cell_texts(sample[name]).dropna().astype("str") for name in sample if not native_kind(unwrapped(sample[name])))
        return decimal_mark(columns, self.schema.undecided)

    def place(self, row: int) -> str:
        """A row in words: its file, and its number there, counted from 1."""
        return place_in(self.lengths, row)


def place_in(lengths: Mapping[str, int], row: int) -> str:
    for part, length in lengths.items():
        if row < length:
            return f"row {row + 1} of the {part} file" if len(lengths) > 1 else f"row {row + 1}"
        row -= length
    return f"row {row + 1}"


def left_out(columns: Iterable[Column]) -> str:
    """The columns that are left out and why, without those that the user left out."""
    reasons = ", ".join(f"'{column.name}' ({column.ignored})" for column in columns if column.ignored not in ("", SPLITS, ASKED))
    return f"; columns left out: {reasons}" if reasons else ""


def with_index(frame: pandas.DataFrame) -> pandas.DataFrame:
    """A table with the columns that were made its index."""
    return frame.reset_index([name for name in frame.index.names if name is not None and name not in frame])


def encode_columns(frame: pandas.DataFrame, columns: Iterable[Column | Mapping[str, Any]], strict: bool = True) -> Tensor:
    """The columns of a table as float64 `(N, F)`, the codes of embedded categories last.

    Args:
        columns: as they were learnt, or as `model.json` has them under `encoding`.
        strict: a value that cannot be read is an error; else it is a gap.

    Raises:
        BadInput: a column is missing or occurs twice, or a value cannot be read or is infinite in float32.
    """
    learnt = [column if isinstance(column, Column) else Column.of(column) for column in columns]
    used = [column for column in learnt if not column.ignored]
    frame = with_index(frame)
    frame = frame.set_axis([str(name) for name in frame.columns], axis=1)  # of several levels, too
    for column in used:
        if column.name not in frame:
            raise BadInput(f"data: the table has no column '{column.name}'. {nearest(column.name, frame.columns)}")
        if isinstance(frame[column.name], pandas.DataFrame):
            raise BadInput(f"data: the table has several columns '{column.name}'")
    place: Locate | None = (lambda row: f"row {row + 1}") if strict else None
    front = [part for column in used for part in column.encoded(frame[column.name], place)]
    codes = [column.codes(frame[column.name]) for column in used if column.embedded]
    return torch.from_numpy(np.stack([*front, *codes], 1))


def texts_of(column: pandas.Series, missing: Collection[str]) -> np.ndarray:
    """The cells of a column as texts, with NaN for gaps."""
    texts = cell_texts(column)
    return texts.where(~texts.isin(missing)).to_numpy(object, na_value=np.nan)


class Columns(Mapping[str, np.ndarray]):
    """A table's columns for a split, read on demand: numbers, days since 1970, seconds or texts, with NaN for gaps.

    Whole numbers are integers, since floating point does not tell long identifiers apart.
    """

    def __init__(self, table: Table):
        self.table = table

    def __getitem__(self, name: str) -> np.ndarray:
        column, schema = self.table.frame[name], self.table.schema
        typed = self.table.as_a_whole(name)
        if typed is None or typed.type == "category":
            return texts_of(column, schema.missing(name))
        if typed.type == "number":
            whole = pandas.to_numeric(unwrapped(column), errors="coerce")
            if types.is_integer_dtype(whole) and whole.notna().all():
                return whole.to_numpy()
        values, unread = typed.readings(column)
        return texts_of(column, schema.missing(name)) if unread.any() else values  # such as 7 and 7b, which are no gaps

    def __iter__(self) -> Iterator[str]:
        return iter(map(str, self.table.frame.columns))

    def __len__(self) -> int:
        return self.table.frame.shape[1]
