"""An exported folder as an MLflow model: `mlflow.pyfunc.load_model` loads it, `mlflow models serve` serves it; nothing is pickled.

MLflow finds a loader by its module: this one, by `_load_pyfunc`.
"""

import shutil
import warnings
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

import mlflow.pyfunc
import numpy as np
import pandas
import torch
from mlflow.models import Model, ModelSignature, infer_signature
from mlflow.types import ColSpec, DataType, Schema
from mlflow.types.schema import AnyType
from mlflow.utils import environment

from autoopt.config import paths_in_recipe
from autoopt.data.cells import PLAIN_STYLE
from autoopt.data.column import Column
from autoopt.deployment.card import read_card, shaping
from autoopt.deployment.deployed import Deployed
from autoopt.deployment.graph import in_a_line, inputs_for
from autoopt.deployment.load import load
from autoopt.errors import BadInput

ONNX, TEXT = "model.onnx", "text"
"""The graph in an exported folder, and the column of the texts where a model takes texts."""
EXAMPLES, WORDS_SHOWN = 2, 8
REQUIREMENTS = ("autoopt", "mlflow", "torch", "lightning")
DAY = 86_400


class Served:
    """A trained model as MLflow calls it."""

    def __init__(self, model: Deployed):
        self.model = model

    def predict(self, model_input: Any, params: Mapping[str, Any] | None = None) -> pandas.DataFrame | np.ndarray:
        """The prediction for each example.

        Args:
            model_input: a frame with the columns of the training data, or with the column `text`; or an array of images or numbers.
            params: none are known.

        Returns:
            a frame with the column `prediction` (the class, a tuple of labels, or the value; `prediction_0` and so on for several
            values) and, for classes, `probability`; or the outputs of a LightningModule as they are.

        Raises:
            BadInput: the examples do not fit the model.
        """
        examples = texts_of_frame(model_input) if "vocabulary" in self.model.encoding else model_input
        predicted = self.model.predict(examples)
        if isinstance(predicted, torch.Tensor) and predicted.is_floating_point():
            return values_frame(predicted) if self.model.task.kind == "regression" else predicted.numpy(force=True)
        if not isinstance(predicted, list | torch.Tensor):
            raise BadInput(f"predict: the model returns a {type(predicted).__name__}, which MLflow cannot pass on; use autoopt.load")
        columns = {"prediction": predicted.tolist() if isinstance(predicted, torch.Tensor) else predicted}
        if self.model.task.kind == "classification" and self.model.logits:
            columns["probability"] = self.model.predict_proba(examples).amax(1).tolist()
        return pandas.DataFrame(columns)


def values_frame(values: torch.Tensor) -> pandas.DataFrame:
    """Predicted values `(N, D)` as columns."""
    rows = values.flatten(1) if values.ndim > 1 else values[:, None]
    names = ["prediction"] if rows.shape[1] == 1 else [f"prediction_{i}" for i in range(rows.shape[1])]
    return pandas.DataFrame(rows.numpy(force=True), columns=names)


def texts_of_frame(examples: Any) -> Any:
    """The texts of a frame: of its column `text`, or of its only column; other examples as they are."""
    if not isinstance(examples, pandas.DataFrame):
        return np.ravel(examples).tolist() if isinstance(examples, np.ndarray) else examples
    if TEXT in examples or len(examples.columns) == 1:
        return examples[TEXT if TEXT in examples else examples.columns[0]].tolist()
    raise BadInput(f"predict: the table has no column '{TEXT}'")


def _load_pyfunc(path: str, model_config: Mapping[str, Any] | None = None) -> Served:
    """The model of an exported folder, for MLflow.

    Args:
        model_config: `trust`, the import paths of the code that may be imported, as MLmodel names them: MLflow asks nobody.
    """
    return Served(load(path, trust=(model_config or {}).get("trust", ())))


def write_served(folder: Path) -> Path:
    """Make an exported folder an MLflow model: write MLmodel, an input example and the packages that it needs beside the weights.

    Raises:
        BadInput: the folder names code that the user has not named, no inputs of the model are known, or it cannot predict for them.
    """
    served = Served(load(folder))
    named = list(dict.fromkeys(paths_in_recipe(shaping(read_card(folder)["recipe"]))))
    try:
        example = input_example(served.model)
        signature = signature_of(served, example)
    except Exception as error:
        raise in_a_line(error) from error
    # MLflow reads the files of every package to compare the requirements with what is installed, which these are
    unchecked = patch.object(environment, "warn_dependency_requirement_mismatches", create=True)
    with TemporaryDirectory(prefix="autoopt-mlflow-") as scratch, unchecked:  # MLflow takes an escape in a path, such as %20, for a space
        draft = Path(scratch) / "model"
        mlflow.pyfunc.save_model(
            draft,
            loader_module=__name__,
            signature=signature,
            input_example=example,
            pip_requirements=[f"{name}=={version(name).partition('+')[0]}" for name in REQUIREMENTS],
            model_config={"trust": named} if named else None,
        )
        if (folder / ONNX).exists():
            add_onnx(draft)
        for path in draft.iterdir():
            shutil.move(path, folder / path.name)
    return folder / "MLmodel"


def add_onnx(draft: Path) -> None:
    """Name the graph beside the weights, so that `mlflow.onnx.load_model` loads it."""
    model = Model.load(draft)
    options = {"providers": ["CPUExecutionProvider"], "onnx_session_options": None, "save_as_external_data": False}
    model.add_flavor("onnx", onnx_version=version("onnx"), data=ONNX, code=None, **options)
    model.save(draft / "MLmodel")


def signature_of(served: Served, example: pandas.DataFrame | np.ndarray) -> ModelSignature:
    """The types of the inputs and of the predictions."""
    predicted = served.predict(example)
    with warnings.catch_warnings(action="ignore"):  # integers have no missing values: a prediction is a class's number, and never missing
        signature = infer_signature(example, predicted)
    if "columns" in served.model.encoding:
        signature.inputs = Schema([ColSpec(column_spec_type(column), column.name) for column in columns_of(served.model)])
    return signature


def columns_of(model: Deployed) -> list[Column]:
    """The columns of a table that a model takes."""
    return [column for column in map(Column.of, model.encoding["columns"]) if not column.ignored]


def column_spec_type(column: Column) -> DataType | AnyType:
    """The type of a column's cells in MLflow: numbers may be given as any number; what is read from texts may have any type."""
    return DataType.double if column.type == "number" and column.style == PLAIN_STYLE else AnyType()


def input_example(model: Deployed) -> pandas.DataFrame | np.ndarray:
    """Two examples in the form of the model's source: rows of a table, texts, images or numbers.

    Raises:
        BadInput: the inputs of the model are not known.
    """
    if "columns" in model.encoding:
        return pandas.DataFrame({column.name: list(cells(column)) for column in columns_of(model)})
    if "vocabulary" in model.encoding:
        return pandas.DataFrame({TEXT: [" ".join(model.encoding["vocabulary"][:WORDS_SHOWN])] * EXAMPLES})
    if "values" in model.encoding:
        low, high = model.encoding["values"]
        values = torch.rand(EXAMPLES, *model.task.input_shape, generator=torch.Generator().manual_seed(0))
        return (low + (high - low) * values).numpy()
    return inputs_for(model)[:EXAMPLES].numpy(force=True)


def cells(column: Column) -> Iterator[Any]:
    """Cells that a column can read: levels of a category, else its median."""
    for number in range(EXAMPLES):
        if column.type == "category":
            yield column.levels[number % len(column.levels)]
        elif column.type == "date":
            moment = pandas.Timestamp((column.fill or 0.0) * DAY, unit="s").round("s")
            yield moment.strftime(column.style.format) if "%" in column.style.format else moment.isoformat()
        elif column.type == "truth value":
            yield bool(column.fill)
        else:
            yield written_number(column)


def written_number(column: Column) -> Any:
    """The median of a column of numbers: as a number, or as its texts are written."""
    value = float(column.fill or 0.0)
    return value if column.style == PLAIN_STYLE and column.type == "number" else str(value).replace(".", column.style.decimal)
