"""A trained model for use: it takes examples as their source has them, and predicts in the units of the data."""

from collections.abc import Callable, Iterable, Mapping, Set
from functools import partial
from itertools import compress
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import torch
from torch import Tensor, nn

from autoopt.data import table, words
from autoopt.data.rows import as_tensor
from autoopt.data.scale import Scale
from autoopt.data.task import Task
from autoopt.deployment import pictures
from autoopt.errors import BadInput

PROBABILITIES: Mapping[str, Callable[[Tensor], Tensor]] = {"classification": partial(torch.softmax, dim=1), "multilabel": torch.sigmoid}
"""Of logits `(N, K)`, by the kind of the task."""


class Deployed(nn.Module):
    """A trained model that takes inputs before scaling and returns outputs in the units of the data.

    Args:
        model: the trained network.
        task: what it was trained on: its scales, its encoding, and its `classes`, the names in the order of the outputs.
        logits: classes and labels have logits as outputs; those of a LightningModule may be anything.
    """

    def __init__(self, model: nn.Module, task: Task, logits: bool = True):
        super().__init__()
        self.model, self.task, self.logits = model, task, logits
        self.inputs, self.targets, self.classes, self.encoding = task.inputs, task.targets, task.classes, task.encoding

    def forward(self, inputs: Tensor) -> Tensor:
        floats = self.encoding.get("numbers") or inputs.is_floating_point()
        outputs = self.model(self.inputs.apply(inputs) if self.inputs is not None else inputs.float() if floats else inputs)
        return outputs if self.targets is None else self.targets.invert(outputs)

    def encode(self, examples: Any) -> Tensor:
        """Examples in the form of their source as inputs of the model.

        Args:
            examples: rows of a table (a `pandas.DataFrame`, or data for one) with the columns of the training data; texts;
                images (`autoopt.deployment.pictures.encode_images`); or inputs `(N, …)`.

        Raises:
            BadInput: a column is missing, a value cannot be read, or images or inputs have another shape or range than in
                training.
        """
        try:
            return self.encoded(examples)
        except BadInput as error:
            raise BadInput(*(f"predict: {problem.removeprefix('data: ')}" for problem in error.problems)) from error

    def encoded(self, examples: Any) -> Tensor:
        """As `encode`; errors do not name `predict`."""
        if np.ma.is_masked(examples):
            raise BadInput("the array has masked values; fill them")
        if "values" in self.encoding:
            return pictures.encode_images(examples, self.task)
        if isinstance(examples, Tensor):
            return self.checked(examples)
        if "columns" in self.encoding:
            return table.encode_columns(frame_of(examples), self.encoding["columns"])
        if "vocabulary" in self.encoding:
            return words.encode_texts([words.words(text) for text in texts_of(examples)], **self.encoding)
        numbers = pictures.array_of(examples)
        if numbers.dtype.kind not in "biuf":
            raise BadInput(f"expected numbers, got {type(examples).__name__}; call `.model` with what its forward takes")
        return self.checked(as_tensor(numbers))

    def checked(self, inputs: Tensor) -> Tensor:
        """The inputs, unchanged.

        Raises:
            BadInput: rows of numbers have another length than the model takes.
        """
        shape = self.task.input_shape
        if len(shape) == 1 and inputs.shape[1:] != shape:
            raise BadInput(f"expected {shape[0]} numbers in each row, got the shape {tuple(inputs.shape)}")
        return inputs

    def predict(self, examples: Any) -> list[str] | list[tuple[Any, ...]] | Tensor:
        """Predictions for examples as `encode` takes them.

        Returns:
            the class names, or class indices int64 `(N,)` if the classes have no names; or a tuple for each example with its labels,
            those with a probability above 0.5, by name or by index; or values `(N, D)`; or the outputs of a LightningModule as they
            are, if it was trained on labels, or if they are not scores `(N, K)` of classes.

        Raises:
            BadInput: as `encode`; the scores of an example are NaN, as those of inputs that hold NaN.
        """
        outputs = self.outputs_for(examples)
        if self.task.kind == "multilabel" and self.logits:
            refuse_nan(outputs)
            names = self.classes or range(outputs.shape[1])
            return [tuple(compress(names, row)) for row in (PROBABILITIES["multilabel"](outputs) > 0.5).tolist()]
        if self.task.kind != "classification" or not isinstance(outputs, Tensor) or outputs.ndim != 2:
            return outputs
        refuse_nan(outputs)
        indices = outputs.argmax(1)
        return [self.classes[index] for index in indices.tolist()] if self.classes else indices

    def predict_proba(self, examples: Any) -> Tensor:
        """The probability `(N, K)` of each class, which add up to 1, or of each label by itself, for examples as `encode` takes them.

        Raises:
            BadInput: the model gives values, or is a LightningModule, whose outputs may be anything.
        """
        if self.task.kind not in PROBABILITIES or not self.logits:
            seen = f"the task is {self.task.kind}" if self.logits else "a LightningModule's outputs are its author's"
            raise BadInput(f"predict_proba: {seen}, not the logits of classes or labels; call model(model.encode(examples))")
        return PROBABILITIES[self.task.kind](self.outputs_for(examples))

    @torch.no_grad()
    def outputs_for(self, examples: Any) -> Any:
        """The outputs for examples as `encode` takes them."""
        device = next((t.device for t in (*self.parameters(), *self.buffers())), torch.device("cpu"))
        return self(self.encode(examples).to(device))

    def stages(self) -> list[nn.Module]:
        """The steps of `forward` as modules."""
        before = [] if self.inputs is None else [Scaled(self.inputs)]
        return [*before, self.model, *([] if self.targets is None else [Scaled(self.targets, inverted=True)])]


def refuse_nan(scores: Tensor) -> None:
    """Raise BadInput where the scores `(N, K)` of an example name no class."""
    if (rows := scores.isnan().any(1)).any():
        raise BadInput(f"predict: the outputs for row {int(rows.int().argmax()) + 1} are NaN, which is no class; do its inputs hold NaN?")


class Scaled(nn.Module):
    """A scale, applied or inverted."""

    def __init__(self, scale: Scale, inverted: bool = False):
        super().__init__()
        self.scale, self.inverted = scale, inverted

    def forward(self, values: Tensor) -> Tensor:
        return self.scale.invert(values) if self.inverted else self.scale.apply(values)


def frame_of(examples: Any) -> pandas.DataFrame:
    """Rows of a table as a `pandas.DataFrame`.

    Raises:
        BadInput: the examples are not rows of a table.
    """
    try:
        return pandas.DataFrame(examples)
    except (ValueError, TypeError) as error:
        read = "; read the file first, as with pandas.read_csv" if isinstance(examples, str | Path) else f": {error}"
        raise BadInput(f"expected a DataFrame or a list of rows, got {type(examples).__name__}{read}") from error


def texts_of(examples: Any) -> list[str]:
    """Texts as a list.

    Raises:
        BadInput: the examples are no list but a single text, a table or the like, or are not all texts.
    """
    if isinstance(examples, str | Mapping | Set) or getattr(examples, "ndim", 1) != 1 or not isinstance(examples, Iterable):
        raise BadInput(f"expected a list of texts, got {type(examples).__name__}")
    texts = list(examples)
    if wrong := [(number, text) for number, text in enumerate(texts, 1) if not isinstance(text, str)]:
        raise BadInput(f"expected texts, but number {wrong[0][0]} is {wrong[0][1]!r:.60}")
    return texts
