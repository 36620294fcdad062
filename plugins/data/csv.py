import warnings
from pathlib import Path

import pandas
import torch

from autoopt.errors import BadInput, nearest
from autoopt.task import Examples

LEVELS = 20


def csv(*, path: str, target: str, kind: str | None = None, separator: str = ",") -> Examples:
    """A table in a text file with a header line; `target` is the column to be learnt.

    Numbers stay as they are; a gap is filled by the column's median, and a column that has gaps gets an indicator column.
    Texts and truth values become one column of 0 and 1 for each of their 20 most frequent levels, gaps being a level too.
    A target of texts, of truth values or of integers with at most 20 distinct values is classes, any other is a regression;
    `kind` (classification, regression) says otherwise.

    RFC 4180 (2005).

    Raises:
        BadInput: the file cannot be read, or nothing can be learnt from it.
    """
    table = read(path, separator)
    if target not in table:
        raise BadInput(f"data.csv.target: {path} has no column '{target}'. {nearest(target, map(str, table.columns))}")
    labels = table.pop(target)
    if labels.isna().any():
        line = int(labels.isna().to_numpy().argmax()) + 2
        raise BadInput(f"data.csv: the target '{target}' has gaps: {labels.isna().sum()} of {len(labels)}, the first in line {line}")
    inputs = features(table, path)
    if kind not in (None, "classification", "regression"):
        raise BadInput(f"data.csv.kind={kind}: expected classification or regression")
    numeric = pandas.api.types.is_numeric_dtype(labels) and not pandas.api.types.is_bool_dtype(labels)
    integers = pandas.api.types.is_integer_dtype(labels) and labels.nunique() <= LEVELS
    if kind == "classification" or (kind is None and (integers or not numeric)):
        return classification(inputs, labels)
    if not numeric:
        raise BadInput(f"data.csv: a regression needs numbers, the target '{target}' holds {labels.iloc[0]!r}")
    return Examples(inputs, tensor(labels.to_frame()), "regression")


def read(path: str, separator: str) -> pandas.DataFrame:
    file = Path(path).expanduser()
    if not file.is_file():
        raise BadInput(f"data.csv.path: there is no file {path}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pandas.errors.ParserWarning)
            table = pandas.read_csv(file, sep=separator.replace(r"\t", "\t"), engine="c", low_memory=False, index_col=False)
    except pandas.errors.EmptyDataError as error:
        raise BadInput(f"data.csv.path: {path} is empty") from error
    except pandas.errors.ParserWarning as error:
        raise BadInput(f"data.csv.path: {path} cannot be read as a table: its lines have more fields than its header") from error
    except (OSError, ValueError, TypeError) as error:  # ParserError and UnicodeDecodeError are ValueErrors
        raise BadInput(f"data.csv.path: {path} cannot be read as a table: {' '.join(str(error).split())}") from error
    if table.empty:
        raise BadInput(f"data.csv.path: {path} is empty: it has a header but no rows")
    return table


def features(table: pandas.DataFrame, path: str) -> torch.Tensor:
    """The columns as numbers (N, F)."""
    columns = [numbers(column) for _, column in table.items() if column.notna().any()]
    if not columns:
        raise BadInput(f"data.csv: {path} has no column to learn from besides the target")
    return tensor(pandas.concat(columns, axis=1))


def numbers(column: pandas.Series) -> pandas.DataFrame:
    gaps = column.isna()
    if pandas.api.types.is_numeric_dtype(column) and not pandas.api.types.is_bool_dtype(column):
        table = column.fillna(column.median()).to_frame()
    else:
        levels = sorted(column.value_counts().index[:LEVELS], key=str)
        table = pandas.DataFrame({f"{column.name}={level}": column == level for level in levels})
    return table.assign(**{f"{column.name} is missing": gaps}) if gaps.any() else table


def classification(inputs: torch.Tensor, labels: pandas.Series) -> Examples:
    codes, classes = pandas.factorize(labels, sort=True)
    if len(classes) < 2:
        raise BadInput(f"data.csv: the target '{labels.name}' has one class only: {classes[0]!r}")
    return Examples(inputs, torch.tensor(codes), "classification", tuple(map(str, classes)))


def tensor(table: pandas.DataFrame) -> torch.Tensor:
    """float32 (N, F), refusing what is infinite there."""
    values = torch.from_numpy(table.to_numpy("float64", copy=True)).float()
    infinite = torch.isinf(values).any(0)
    if infinite.any():
        raise BadInput(f"data.csv: column '{table.columns[int(infinite.int().argmax())]}' holds infinite values")
    return values
