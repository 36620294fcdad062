"""Data from Python: arrays, a DataFrame, data sets or loaders."""

from collections.abc import Callable
from functools import partial
from typing import Any

import lightning.pytorch as L
import numpy as np
import pandas
from torch.utils.data import DataLoader, Dataset

from autoopt.data.arrays import array_inputs, targets_of
from autoopt.data.examples import Examples
from autoopt.data.files import Sheet, declared_schema, from_sheets
from autoopt.data.loaders import Loaders, TestedLoaders, ValidatedLoaders, own_loaders
from autoopt.errors import BadInput, one_line


def as_datamodule(data: Any) -> Any:
    """A data module for a sequence (train, validation) or (train, validation, test) of loaders or data sets, or for a LightningModule.

    A LightningModule may train without validation, on a training loader alone. Inputs and targets become examples. Anything else is
    returned as it is.

    Raises:
        BadInput: the sequence has another length, or an element is neither; a LightningModule has no training loader.
    """
    if are_arrays(data):
        return given_examples(*data)()
    if isinstance(data, L.LightningModule):
        return own_loaders(data)
    if isinstance(data, Dataset):
        raise BadInput(f"data: a single {type(data).__name__}; give (train, validation) or (train, validation, test)")
    if isinstance(data, DataLoader):
        return Loaders([data])
    if not isinstance(data, tuple | list):
        return data
    if len(data) not in (1, 2, 3):
        raise BadInput(f"data: {len(data)} parts; give (train, validation) or (train, validation, test)")
    if odd := [part for part in data if not isinstance(part, DataLoader | Dataset)]:
        raise BadInput(f"data: a part is {type(odd[0]).__name__}; expected torch.utils.data.DataLoader or Dataset, or two arrays")
    return (Loaders, ValidatedLoaders, TestedLoaders)[len(data) - 1](data)


def given_parts(data: Any) -> Callable[..., Any]:
    """What makes the data of a sequence from Python: of two arrays or tables examples, anything else is for `as_datamodule`."""
    return given_examples(*data) if are_arrays(data) else partial(as_datamodule, data)


def given_examples(inputs: Any, targets: Any) -> Callable[..., Examples]:
    """What makes examples of inputs and targets, with the settings of `data.frame`, or of `data.arrays`."""
    make, given = (frame, table_of(inputs, targets)) if isinstance(inputs, pandas.DataFrame) else (arrays, map(as_array, (inputs, targets)))
    made: Any = partial(make, *given)
    made.__qualname__ = make.__name__  # so that its settings are data.frame.kind
    return made


def are_arrays(data: Any) -> bool:
    """Whether a sequence is inputs and targets."""
    if not isinstance(data, tuple | list) or len(data) != 2 or not any(hasattr(part, "__array__") for part in data):
        return False
    return all(hasattr(part, "__array__") or isinstance(part, list | tuple) for part in data)


def as_array(part: Any) -> np.ndarray:
    """What numpy makes of an array, a tensor or a list.

    Raises:
        BadInput: it cannot be made an array.
    """
    if np.ma.is_masked(part):
        raise BadInput("data: an array has masked values, which are no examples; leave them out, or fill them")
    texts = isinstance(part, list | tuple) and any(isinstance(value, str) for value in part)
    try:
        gaps = texts and bool(pandas.Series(part, dtype=object).hasnans)  # numpy would make texts of them
        return np.asarray(part, object if gaps else None)
    except Exception as error:  # rows of different lengths, a tensor with a gradient, on a device, or of a type that numpy lacks
        raise BadInput(f"data: the {type(part).__name__} is no array: {one_line(error)}") from error


def arrays(inputs: np.ndarray, targets: np.ndarray, *, kind: str | None = None, layout: str | None = None) -> Examples:
    """The examples of two arrays, as `data=npz` has them, with the same settings.

    Raises:
        BadInput: they leave the layout or the kind in doubt.
    """
    where = f"data.{arrays.__name__}"
    return Examples(array_inputs(inputs, layout, where), *targets_of(targets, kind, where))


def table_of(inputs: pandas.DataFrame, targets: Any) -> tuple[pandas.DataFrame, list[str]]:
    """Inputs and targets as one table, row by row whatever their indices say, and the names of the columns of targets.

    Raises:
        BadInput: they have different lengths, or two columns have one name.
    """
    columns = pandas.DataFrame(targets if isinstance(targets, pandas.Series | pandas.DataFrame) else as_array(targets))
    if len(columns) != len(inputs):
        raise BadInput(f"data: {len(inputs)} inputs but {len(columns)} targets")
    features, names = [str(name) for name in inputs], named(columns)
    if both := [name for name in names if name in features]:
        raise BadInput(f"data: the inputs have the target '{both[0]}' among their columns; leave it out (inputs.drop(columns=…))")
    table = pandas.concat([inputs.reset_index(drop=True), columns.reset_index(drop=True)], axis=1).set_axis([*features, *names], axis=1)
    if twice := table.columns[table.columns.duplicated()].tolist():
        raise BadInput(f"data: the table has several columns '{twice[0]}'")
    return table, names


def named(columns: pandas.DataFrame) -> list[str]:
    """The names of the columns of targets; `target` where these are numbers, as pandas counts columns that have none."""
    if all(isinstance(name, str) for name in columns):
        return [*columns]
    return ["target"] if columns.shape[1] == 1 else [f"target_{place}" for place in range(columns.shape[1])]


def frame(
    table: pandas.DataFrame,
    targets: list[str],
    *,
    kind: str | None = None,
    types: list | None = None,
    drop: list | None = None,
    na_values: list | None = None,
) -> Examples:
    """The examples of a DataFrame, as `data=parquet` has them, with the same settings.

    Raises:
        BadInput: nothing can be learnt from them.
    """
    where = f"data.{frame.__name__}"
    return from_sheets(where, {"train": Sheet(table)}, targets, kind, declared_schema(where, types, drop, na_values))
