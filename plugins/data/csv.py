from functools import partial
from pathlib import Path

import pandas

from autoopt.data.dialect import encoding_of, separator_of
from autoopt.data.examples import Examples
from autoopt.data.files import Sheet, declared_schema, from_files, parts_of, read_file

WHERE = "data.csv"


def csv(
    *,
    target: str | list,
    path: str | None = None,
    train: str | None = None,
    val: str | None = None,
    test: str | None = None,
    kind: str | None = None,
    separator: str | None = None,
    encoding: str | None = None,
    decimal: str | None = None,
    types: list | None = None,
    drop: list | None = None,
    na_values: list | None = None,
) -> Examples:
    """A table in a text file with a header line (`path`), or in one file for each part; `target` is the column to predict.

    Encoding, separator and decimal mark are detected. The training part decides whether a column holds numbers, truth values,
    dates, times or categories; a few cells of another type count as missing. A category becomes one column of 0 and 1 for each
    level, or is embedded if it has more than 20 levels. Missing values get the median of the training part, and a column that
    marks them. `types=[zip:category,day:date]` sets the type of a column, `types=[day:%d/%m/%Y]` the format of its dates, `drop=[id]`
    leaves columns out, and `na_values=[unknown]` adds words for missing values (`na_values=[]`: only empty cells are missing).
    The target is classes if it holds texts, truth values, integers with at most 20 distinct values, or two distinct whole
    numbers; else it is a regression. Several columns (`target=[wet,cold]`) are labels, any number of which an example has, if all
    hold 0 and 1 or truth values; else a regression of several values. `kind` (classification, multilabel, regression) overrides this.

    RFC 4180 (2005).

    Raises:
        Unavailable: no file is given for training.
        BadInput: a file cannot be read, or nothing can be learnt from it.
    """
    files, schema = parts_of(WHERE, path, train, val, test), declared_schema(WHERE, types, drop, na_values, decimal)
    read = partial(read_file, WHERE, read=partial(sheet, separator=separator, encoding=encoding))
    return from_files(WHERE, read, target, kind, files, schema)


def sheet(file: Path, separator: str | None, encoding: str | None) -> Sheet:
    """A file with all cells as texts; their types are learnt from the training part."""
    encoding = encoding or encoding_of(file)
    separator = separator_of(file, encoding) if separator is None else separator.replace(r"\t", "\t")
    options = {"sep": separator, "encoding": encoding, "skipinitialspace": separator != "\t", "engine": "c", "index_col": False}
    frame = pandas.read_csv(file, dtype=str, na_filter=False, low_memory=False, **options)
    return Sheet(frame, f"{encoding}, {separator!r} between fields", "," if separator == ";" else ".")
