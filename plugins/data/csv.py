from functools import partial

import pandas

from autoopt.data.table import from_files, read_file
from autoopt.data.task import Examples

WHERE = "data.csv"


def csv(
    *,
    target: str,
    path: str | None = None,
    train: str | None = None,
    val: str | None = None,
    test: str | None = None,
    kind: str | None = None,
    separator: str = ",",
) -> Examples:
    """A table in a text file with a header line (`path`), or in a file a part; `target` is the column to be learnt.

    Numbers, truth values, dates and categories are told by their values. Categories become one column of 0 and 1 for each level,
    or are embedded where they have more than 20; gaps are filled by the median of the training part, with an indicator.
    A target of texts, of truth values or of integers with at most 20 distinct values is classes, any other is a regression;
    `kind` (classification, regression) says otherwise.

    RFC 4180 (2005).

    Raises:
        Unavailable: no file is given.
        BadInput: a file cannot be read, or nothing can be learnt from it.
    """
    options = {"sep": separator.replace(r"\t", "\t"), "engine": "c", "low_memory": False, "index_col": False}
    read = partial(read_file, WHERE, read=partial(pandas.read_csv, **options))
    return from_files(WHERE, read, target, kind, path, train, val, test)
