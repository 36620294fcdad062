"""Tables: columns of all kinds as one tensor, by what the training part shows."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas
import torch
from torch import Tensor

from autoopt.data.cells import cell_texts, decimal_mark, native_kind, unwrapped
from autoopt.data.column import ASKED, Column, Locate, Schema, column_type, learn_column
from autoopt.data.task import Encoded
from autoopt.errors import BadInput, nearest

SPLITS = "the split goes by it"
SAMPLE_ROWS = 1000
"""As many training rows tell the decimal mark of a table."""


@dataclass(frozen=True)
class Table:
    """The columns of a table that may be inputs.

    Args:
        schema: what is known of them.
        lengths: of the files that it was read from, by the part that each is.
        source: how it was read, in words.
    """

    frame: pandas.DataFrame
    schema: Schema = field(default_factory=Schema)
    lengths: Mapping[str, int] = field(default_factory=dict)
    source: str = ""

    def __len__(self) -> int:
        return len(self.frame)

    def content(self) -> bytes:
        frame = self.frame
        odd = {name: frame[name].map(repr) for name in frame if frame[name].dtype == object}  # lists have no hash
        return bytes(pandas.util.hash_pandas_object(frame.assign(**odd), index=False).to_numpy().tobytes())

    def encoded(self, train: Tensor, without: Collection[str], embed: bool) -> Encoded:
        rows, known = train.numpy(), replace(self.schema, undecided=self.decimal(train.numpy()))
        columns = [
            Column(name, "category", ignored=SPLITS) if name in without else learn_column(self.frame[name], rows, embed, known, self.place)
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

    def decimal(self, rows: np.ndarray) -> str:
        """The decimal mark that most numbers of the training part tell."""
        shown = self.frame.iloc[rows[:SAMPLE_ROWS]]
        columns = (cell_texts(shown[name]).dropna().astype("str") for name in shown if not native_kind(unwrapped(shown[name])))
        return decimal_mark(columns, self.schema.undecided)

    def place(self, row: int) -> str:
        """Where a row is found: in which of the files, counted from 1."""
        return place_in(self.lengths, row)


def place_in(lengths: Mapping[str, int], row: int) -> str:
    for part, length in lengths.items():
        if row < length:
            return f"row {row + 1} of the {part} file" if len(lengths) > 1 else f"row {row + 1}"
        row -= length
    return f"row {row + 1}"


def left_out(columns: Iterable[Column]) -> str:
    """The columns that are no inputs, with the reasons, where the user does not know of it."""
    said = ", ".join(f"'{column.name}' ({column.ignored})" for column in columns if column.ignored not in ("", SPLITS, ASKED))
    return f"; columns left out: {said}" if said else ""


def encode_columns(frame: pandas.DataFrame, columns: Iterable[Column | Mapping[str, Any]], strict: bool = True) -> Tensor:
    """The columns of a table as float64 `(N, F)`, the codes of embedded categories last.

    Args:
        columns: as they were learnt; also as a `model.json` has them, under `encoding`.
        strict: refuse what cannot be read; else it is taken for a gap.

    Raises:
        BadInput: a column is missing, cannot be read, or holds what is infinite in float32.
    """
    known = [column if isinstance(column, Column) else Column.of(column) for column in columns]
    used = [column for column in known if not column.ignored]
    frame = frame.rename(columns=str)
    for column in used:
        if column.name not in frame:
            raise BadInput(f"data: the table has no column '{column.name}'. {nearest(column.name, frame.columns)}")
        if isinstance(frame[column.name], pandas.DataFrame):
            raise BadInput(f"data: the table has several columns '{column.name}'")
    place: Locate | None = (lambda row: f"row {row + 1}") if strict else None
    front = [part for column in used for part in column.encoded(frame[column.name], place)]
    codes = [column.codes(frame[column.name]) for column in used if column.embedded]
    return torch.from_numpy(np.stack([*front, *codes], 1))


class Columns(Mapping[str, np.ndarray]):
    """A table's columns as a split may go by them: numbers, days or texts, made when one is asked for."""

    def __init__(self, table: Table):
        self.table = table

    def __getitem__(self, name: str) -> np.ndarray:
        column, schema = self.table.frame[name], replace(self.table.schema, drop=frozenset())
        found = column_type(column, schema)
        if found is None or found.type == "category":
            missing = schema.missing(name)
            said = cell_texts(column)
            return said.where(~said.isin(missing)).to_numpy(object, na_value=np.nan)
        return found.readings(column)[0]

    def __iter__(self) -> Iterator[str]:
        return iter(map(str, self.table.frame.columns))

    def __len__(self) -> int:
        return self.table.frame.shape[1]
