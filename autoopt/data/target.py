"""The target columns of a table: one as numbers or classes, several as numbers or labels."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas
import torch
from pandas.api import types
from torch import Tensor

from autoopt.data.arrays import TASK_KINDS
from autoopt.data.cells import EXACT, cell_texts, structured_kind
from autoopt.data.column import UNREAD, Column
from autoopt.data.learn_column import MAX_LEVELS, column_type
from autoopt.data.table import Table
from autoopt.errors import BadInput

MANY = 0.2
"""Texts are not classes if more than this share of them is distinct."""
Targets = tuple[Tensor, str, tuple[str, ...]]
"""Class indices int64 `(N,)`, labels float32 `(N, K)` or values float64 `(N, D)`; the kind; the names of classes, labels or values."""


def learnt_from(where: str, table: Table, names: Sequence[str], kind: str | None) -> Targets:
    """Columns as the targets of a task.

    Args:
        where: the technique as a config names it, for messages.
        names: of the columns.
        kind: one of `TASK_KINDS`; by default, the columns decide.

    Raises:
        BadInput: the columns cannot be targets.
    """
    if kind not in (None, *TASK_KINDS):
        raise BadInput(f"{where}.kind={kind}: expected {' or '.join(TASK_KINDS)}")
    if len(names) == 1:
        return of_column(where, table, names[0], kind)
    if kind == "classification":
        raise BadInput(f"{where}.kind=classification: a class is one column, but {where}.target names {len(names)}")
    return of_columns(where, table, names, kind)


def of_columns(where: str, table: Table, names: Sequence[str], kind: str | None) -> Targets:
    """Several columns as targets: labels if all of them hold only 0 and 1, or truth values; else values.

    Raises:
        BadInput: a column holds something else, or they are of both kinds.
    """
    columns = [type_of(where, table, table.frame[name]) for name in names]
    if odd := next((how for how in columns if how.type not in ("number", "truth value")), None):
        seen = f"the target '{odd.name}' is a {odd.type} such as {table.frame[odd.name].iloc[0]!r}{as_number(where, odd)}"
        raise BadInput(f"{where}: {seen}; several targets are numbers, or labels of 0 and 1 (or true and false)")
    values = np.stack([target_values(where, table, how, table.frame[how.name]) for how in columns], 1)
    binary = np.isin(values, (0, 1)).all(0)
    if binary.all() and kind != "regression":
        return torch.tensor(values, dtype=torch.float32), "multilabel", tuple(names)
    if kind == "multilabel" or (kind is None and any(how.type == "truth value" for how in columns)):
        seen = f"the target '{names[int(binary.argmin())]}' holds other values than 0 and 1, which labels hold (or true and false)"
        raise BadInput(f"{where}: {seen}; if all targets are values, give {where}.kind=regression")
    return torch.tensor(values), "regression", tuple(names)


def of_column(where: str, table: Table, name: str, kind: str | None) -> Targets:
    """A single column as targets.

    Raises:
        BadInput: the column cannot be the only target.
    """
    if kind == "multilabel":
        raise BadInput(f"{where}.kind=multilabel: a label is a column of 0 and 1; name several: '{where}.target=[{name},…]'")
    column = table.frame[name]
    how = type_of(where, table, column)
    if kind == "regression" and how.type not in ("number", "time"):
        raise BadInput(f"{where}: a regression needs numbers, the target '{name}' holds {column.iloc[0]!r}{as_number(where, how)}")
    if how.type == "category":
        return of_texts(where, how, cell_texts(column), kind)
    if how.type == "date" and kind is None:
        raise BadInput(f"{where}: the target '{name}' holds dates such as {column.iloc[0]!r}; expected numbers or classes")
    values = target_values(where, table, how, column)
    if kind == "classification" or (kind is None and are_classes(how, column, values)):
        exact = np.abs(values).max() < EXACT  # else they are classes by their texts
        return of_numbers(where, how, column, values) if exact else of_texts(where, how, cell_texts(column), kind)
    return torch.tensor(values)[:, None], "regression", ()


def type_of(where: str, table: Table, column: pandas.Series) -> Column:
    """The type of a target, by its training file; by all rows if the split is not drawn yet.

    Raises:
        BadInput: the column has gaps, or cells that hold lists and the like.
    """
    name, schema = str(column.name), table.schema
    if holds := structured_kind(column):
        raise BadInput(
            f"{where}: the target '{name}' holds {holds}, such as {column.iloc[0]!r:.60}; expected a number or a class in each row"
        )
    texts = cell_texts(column)
    gaps = (texts.isna() | texts.isin(schema.missing(name))).to_numpy(bool)
    if gaps.any():
        row = int(gaps.argmax())
        word = texts.iloc[row]
        hint = f" ({word!r}; if that is a class, give {where}.types=[{name}:category])" if isinstance(word, str) and word else ""
        raise BadInput(f"{where}: the target '{name}' has gaps: {gaps.sum()} of {len(texts)}, the first in {table.place(row)}{hint}")
    rows = np.arange(table.lengths.get("train", len(table)))
    how = column_type(column.iloc[rows], replace(schema, undecided=table.decimal(rows)))
    assert how is not None
    guessed = how.style.sign and name not in schema.types  # a currency sign is no proof of numbers: the type of a target is not guessed
    return replace(how, type="category") if guessed else how


def as_number(where: str, how: Column) -> str:
    return f"; if these are numbers, give {where}.types=[{how.name}:number]" if how.style.sign else ""


def target_values(where: str, table: Table, how: Column, column: pandas.Series) -> np.ndarray:
    """The values of a target.

    Raises:
        BadInput: a value cannot be read, or is infinite in single precision.
    """
    values, unread = how.readings(column)
    if unread.any():
        row = int(unread.argmax())
        seen = f"{table.place(row)} holds {column.iloc[row]!r}, which {UNREAD[how.type]}"
        way = f"mend it, or give {where}.types=[{how.name}:category]"
        raise BadInput(f"{where}: the target '{how.name}' is a {how.type}, but {seen}; {way}")
    if not (np.abs(values) <= np.finfo("float32").max).all():
        raise BadInput(f"{where}: column '{how.name}' holds infinite values")
    return values


def are_classes(how: Column, column: pandas.Series, values: np.ndarray) -> bool:
    """Whether numbers are classes: integers with few distinct values, or two distinct whole numbers."""
    whole = bool((values == np.round(values)).all())
    few = len(np.unique(values)) <= (MAX_LEVELS if are_integers(column) else 2)
    return how.type == "truth value" or (how.type == "number" and whole and few)


def are_integers(column: pandas.Series) -> bool:
    """Whether numbers are written without a decimal mark."""
    return not types.is_float_dtype(column.dtype) and not cell_texts(column).str.contains("[.,]").any()


def of_numbers(where: str, how: Column, column: pandas.Series, values: np.ndarray) -> Targets:
    distinct, codes = np.unique(values, return_inverse=True)
    if how.type == "truth value":
        names = [str(bool(value)) for value in distinct]
    else:
        names = [str(int(value)) if are_integers(column) else str(float(value)) for value in distinct]
    return classes(where, how.name, codes, names)


def of_texts(where: str, how: Column, texts: pandas.Series, kind: str | None) -> Targets:
    names = sorted(texts.unique(), key=by_number)
    if kind is None and len(names) > max(MAX_LEVELS, MANY * len(texts)):
        seen = f"{len(names)} different texts in {len(texts)} rows, such as {texts.iloc[0]!r}"
        raise BadInput(f"{where}: the target '{how.name}' holds {seen}: too many to be classes{as_number(where, how)}")
    return classes(where, how.name, pandas.Categorical(texts, categories=names).codes, names)


def by_number(name: str) -> tuple[float, str]:
    try:
        return float(name), name
    except ValueError:
        return float("inf"), name


def classes(where: str, target: str, codes: np.ndarray, names: list[str]) -> Targets:
    if len(names) < 2:
        raise BadInput(f"{where}: the target '{target}' has one class only: {names[0]!r}")
    return torch.tensor(codes, dtype=torch.int64), "classification", tuple(names)
