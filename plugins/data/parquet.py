from functools import partial

import pandas
import pyarrow  # noqa: F401  # what pandas reads it with

from autoopt.data.table import from_files, read_file
from autoopt.data.task import Examples

WHERE = "data.parquet"


def parquet(
    *,
    target: str,
    path: str | None = None,
    train: str | None = None,
    val: str | None = None,
    test: str | None = None,
    kind: str | None = None,
) -> Examples:
    """A table in a Parquet file or a folder of such files (`path`), or in one a part; `target` is the column to be learnt.

    Columns are treated as those of a csv file, but that their types are the file's.

    Apache Parquet 2013.

    Raises:
        Unavailable: no file is given.
        BadInput: a file cannot be read, or nothing can be learnt from it.
    """
    return from_files(WHERE, partial(read_file, WHERE, read=pandas.read_parquet), target, kind, path, train, val, test)
