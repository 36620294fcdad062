from functools import partial
from pathlib import Path

import pandas
from pyarrow.parquet import ParquetDataset

from autoopt.data.examples import Examples
from autoopt.data.files import Sheet, declared_schema, from_files, parts_of, read_file
from autoopt.data.table import with_index

WHERE = "data.parquet"


def parquet(
    *,
    target: str | list,
    path: str | None = None,
    train: str | None = None,
    val: str | None = None,
    test: str | None = None,
    kind: str | None = None,
    types: list | None = None,
    drop: list | None = None,
    na_values: list | None = None,
) -> Examples:
    """A table in a Parquet file or a folder of such files (`path`), or in one for each part; `target` is the column to predict.

    Columns are encoded as those of `csv`. Their types are those of the file; columns of texts are read as in a csv file. Columns
    of lists, mappings or bytes are left out. An index that pandas has stored under a name is a column, too.

    Apache Parquet 2013.

    Raises:
        Unavailable: no file is given for training.
        BadInput: a file cannot be read, or nothing can be learnt from it.
    """
    files, schema = parts_of(WHERE, path, train, val, test), declared_schema(WHERE, types, drop, na_values)
    return from_files(WHERE, partial(read_file, WHERE, read=sheet), target, kind, files, schema)


def sheet(file: Path) -> Sheet:
    names = ParquetDataset(file).schema.names
    if twice := [name for name in names if names.count(name) > 1]:
        raise ValueError(f"it has several columns '{twice[0]}'")
    return Sheet(with_index(pandas.read_parquet(file)))
