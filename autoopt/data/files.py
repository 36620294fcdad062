"""Tables from files: a single file, or a file for each part."""

import re
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import pandas

from autoopt.data.cells import GAPS, TYPES, cell_texts
from autoopt.data.examples import Examples
from autoopt.data.learn_column import Schema
from autoopt.data.parts import PARTS
from autoopt.data.splits import contiguous_parts
from autoopt.data.table import Columns, Table
from autoopt.data.target import learnt_from
from autoopt.domain import Unavailable
from autoopt.errors import BadInput, nearest, no_file, one_line

FORMATTED = re.compile(r"(.+?):([^:]*%.*)")
"""A column and the format of its dates."""
FIRST_ROWS = 100


class Sheet(NamedTuple):
    """A table as it was read from a file.

    Args:
        source: how it was read, in words.
        undecided: the decimal mark of a column that can be read in two ways.
    """

    frame: pandas.DataFrame
    source: str = ""
    undecided: str = "."


def declared_schema(where: str, types: Any, drop: Any, na_values: Any, decimal: str | None = None) -> Schema:
    """The schema that the settings of a data technique declare.

    Args:
        where: the technique as a config names it, for messages.
        types: texts `column:type`, or `column:format` for dates, such as `day:%d/%m/%Y`.
        drop: names of columns to leave out.
        na_values: texts that mean a missing value, beside the usual ones; with an empty list, only empty cells are missing.
        decimal: the decimal mark.

    Raises:
        BadInput: a type or the decimal mark is not valid.
    """
    formats = {found[1]: found[2] for text in listed(types) if (found := FORMATTED.fullmatch(text))}
    if wrong := next((name for name, form in formats.items() if not is_format(form)), None):
        raise BadInput(f"{where}.types: '{wrong}:{formats[wrong]}' is no format of dates, such as %d/%m/%Y or %Y-%m-%d %H:%M")
    pairs = [text.rpartition(":")[::2] for text in listed(types) if not FORMATTED.fullmatch(text)]
    for name, kind in pairs:
        if not name or kind not in TYPES:
            raise BadInput(f"{where}.types: expected column:type, got '{f'{name}:' if name else ''}{kind}'. {nearest(kind, TYPES)}")
    if decimal not in (None, ".", ","):
        raise BadInput(f"{where}.decimal={decimal}: expected . or ,")
    gaps = frozenset([""]) if na_values is not None and not listed(na_values) else GAPS.union(listed(na_values))
    return Schema(dict(pairs) | dict.fromkeys(formats, "date"), frozenset(listed(drop)), gaps, decimal, formats=formats)


def is_format(form: str) -> bool:
    """Whether dates can be written and read like this."""
    try:
        datetime.strptime(datetime(2024, 2, 1, 13).strftime(form), form)
    except ValueError:
        return False
    return True


def listed(value: Any) -> list[str]:
    """The values of a setting that takes one value or several, as texts."""
    return [] if value is None else list(map(str, value)) if isinstance(value, list | tuple) else [str(value)]


def from_files(
    where: str,
    read: Callable[[str], Sheet],
    target: str | list[str],
    kind: str | None,
    files: Mapping[str, str],
    schema: Schema,
) -> Examples:
    """The examples of a single file, or of a file for each part.

    Args:
        where: the technique as a config names it, for messages.
        read: reads one file.
        target: the name of the target column, or of several.
        kind: one of `TASK_KINDS`; by default, the target columns decide.
        files: the path of each part, from `parts_of`.
        schema: what the user declares of the columns.

    Raises:
        BadInput: a file cannot be read, or nothing can be learnt from it.
    """
    sheets = {part: read(file) for part, file in files.items()}
    first = sheets["train"]
    for part, sheet in sheets.items():
        if missing := [name for name in first.frame if name not in sheet.frame]:
            raise BadInput(f"{where}: {files[part]} has no column '{missing[0]}', which {files['train']} has")
    return from_sheets(where, sheets, target, kind, schema)


def from_sheets(where: str, sheets: Mapping[str, Sheet], target: str | list[str], kind: str | None, schema: Schema) -> Examples:
    """The examples of a single table, or of a table for each part; the arguments are those of `from_files`.

    Raises:
        BadInput: nothing can be learnt from them.
    """
    first = sheets["train"]
    frame = pandas.concat([sheet.frame[list(first.frame)] for sheet in sheets.values()], ignore_index=True)
    lengths = {part: len(sheet.frame) for part, sheet in sheets.items()}
    targets = target_names(where, target)
    for name in (*targets, *schema.types, *schema.drop):
        if name not in frame:
            setting = "target" if name in targets else "types" if name in schema.types else "drop"
            raise BadInput(f"{where}.{setting}: the table has no column '{name}'. {nearest(name, frame)}")
    table, splits = Table(frame, replace(schema, undecided=first.undecided), lengths, first.source), contiguous_parts(lengths)
    inputs, learnt = replace(table, frame=frame.drop(columns=targets)), learnt_from(where, table, targets, kind)
    notes = tuple(given_away(where, inputs, frame[targets], learnt[1] != "regression"))
    return Examples(inputs, *learnt, splits, Columns(table), notes)


def given_away(where: str, inputs: Table, targets: pandas.DataFrame, are_classes: bool) -> Iterator[str]:
    """A note for each input that tells a target: a copy of it, or another name for each class."""
    for name in [name for name in inputs.frame if name not in inputs.schema.drop]:
        column = inputs.frame[name]
        told = next((target for target in targets if tells(column, targets[target], are_classes)), None)
        if told is not None:
            way = f"if it is made of the target, leave it out ({where}.drop=[{name}])"
            yield f"column '{name}' tells the target '{told}' without fail in all {len(column)} rows: {way}"


def tells(column: pandas.Series, target: pandas.Series, are_classes: bool) -> bool:
    """Whether a column has the values of the target; of classes, whether each has a value of its own in it."""
    for rows in (slice(FIRST_ROWS), slice(None)):  # most columns differ in the first rows
        values, told = (cell_texts(cells.iloc[rows]) for cells in (column, target))
        if are_classes:
            values, told = (pandas.Series(pandas.factorize(texts)[0]) for texts in (values, told))
        if not (values.to_numpy(object) == told.to_numpy(object)).all():
            return False
    return True


def target_names(where: str, target: str | list[str]) -> list[str]:
    """The names of the target columns.

    Raises:
        BadInput: there is none, or one is named twice.
    """
    names = listed(target)
    if twice := [name for name in names if names.count(name) > 1]:
        raise BadInput(f"{where}.target names the column '{twice[0]}' twice")
    if not names:
        raise BadInput(f"{where}.target=[]: name a column, or several")
    return names


def parts_of(where: str, path: str | None, train: str | None, val: str | None, test: str | None) -> dict[str, str]:
    """The file of each part that has one.

    Raises:
        Unavailable: no file is given for training.
        BadInput: two files are given for training.
    """
    if path is not None and train is not None:
        raise BadInput(f"{where}.path={path}, {where}.train={train}: give one of the two")
    files = dict(zip(PARTS, (path or train, val, test), strict=True))
    if files["train"] is None:
        raise Unavailable(f"{where}.path is missing: give {where}.path=…, or {where}.train=… with {where}.val=… and {where}.test=…")
    return {part: file for part, file in files.items() if file is not None}


def read_file(where: str, path: str, read: Callable[[Path], Sheet]) -> Sheet:
    """A file as a table.

    Raises:
        BadInput: the file is missing or empty, or it cannot be read.
    """
    file = Path(path).expanduser()
    if not file.exists():
        raise BadInput(f"{where}.path: {no_file(file)}")
    if not (file.is_file() or file.is_dir()):  # a pipe or a device may have no end
        raise BadInput(f"{where}.path: {path} is not a regular file")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pandas.errors.ParserWarning)
            sheet = read(file)
    except pandas.errors.EmptyDataError as error:
        raise BadInput(f"{where}.path: {path} is empty") from error
    except pandas.errors.ParserWarning as error:
        raise BadInput(f"{where}.path: {path} cannot be read as a table: its lines have more fields than its header") from error
    except (OSError, ValueError, TypeError, LookupError) as error:  # ParserError, UnicodeError and ArrowInvalid are ValueErrors
        raise BadInput(f"{where}.path: {path} cannot be read as a table: {one_line(error)}") from error
    if sheet.frame.empty:
        raise BadInput(f"{where}.path: {path} is empty: it has a header but no rows")
    return sheet._replace(frame=sheet.frame.rename(columns=str))
