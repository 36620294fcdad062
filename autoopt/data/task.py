"""The task: the split examples, and what a model must know about them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from lightning.pytorch import LightningDataModule
from torch import Tensor

from autoopt.data.image_values import full_scale
from autoopt.data.loaders import BatchSize
from autoopt.data.rows import random_indices
from autoopt.data.scale import Scale

EXAMPLE_SIZE = 64


@dataclass(frozen=True)
class Task:
    """The split examples, or the user's data module, and what a model must know about them.

    Args:
        kind: "classification" (one class), "multilabel" (any number of labels) or "regression" (values); "unknown" for batches that
            only their author's module understands.
        input_shape: of one example, without the batch.
        outputs: how many outputs a model has: the classes, the labels, or the values of an example; 0 if that is not known.
        classes: the names of the classes, labels or values, in the order of the outputs.
        parts: the inputs and targets of train, validation and test; empty with a data module.
        inputs: the scale that was applied to the features of a table or of sequences, or to the channels of images.
        targets: the scale that was applied to regression targets.
        class_counts: how many training examples each class has, int64 `(K,)`; None for labels and values.
        datamodule: the user's, with its training stage set up.
        testing: a copy of it with its test stage set up.
        batch_size: of the data module.
        sized: the data module's training loader knows how many batches it has.
        tokens: the size of the vocabulary, if the inputs are indices into one, int64 `(N, T)`; 0 is padding.
        categories: how many levels the categories have whose codes are the last columns of a table. A model is built without
            these columns: they are embedded in front of it.
        encoding: how raw inputs became numbers; for images, the span of their `values` before they are scaled; for other arrays,
            whether they are `numbers`, which models take as floats, or integers, which they take as they are.
        folds: the tasks of the other folds of a cross-validation.
        groups: the index of the group of each test example, int64 `(N,)`, if the split is by groups.
        unoffered: by name, why the batches cannot be offered to augmentations under it.
        notes: lines for the user.
    """

    kind: str
    input_shape: tuple[int, ...] = ()
    outputs: int = 0
    classes: tuple[str, ...] = ()
    parts: dict[str, tuple[Tensor, Tensor]] = field(default_factory=dict)
    inputs: Scale | None = None
    targets: Scale | None = None
    class_counts: Tensor | None = None
    datamodule: LightningDataModule | None = None
    testing: LightningDataModule | None = None
    batch_size: BatchSize = field(default_factory=BatchSize)
    sized: bool = True
    tokens: int = 0
    categories: tuple[int, ...] = ()
    encoding: Mapping[str, Any] = field(default_factory=dict)
    folds: "tuple[Task, ...]" = ()
    groups: Tensor | None = None
    unoffered: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def images(self) -> bool:
        return len(self.input_shape) == 3

    @property
    def pixels(self) -> Scale | None:
        """The scale that was applied to images, for pixels in [0, 1]."""
        return self.inputs.per(full_scale(self.encoding["values"][1])) if self.images and self.inputs else None

    def example(self) -> tuple[Tensor, Tensor] | None:
        """64 training examples drawn at random, the same ones each time; None with a data module."""
        if not self.parts:
            return None
        inputs, targets = self.parts["train"]
        numbers = random_indices(len(inputs), EXAMPLE_SIZE)
        return inputs[numbers], targets[numbers]
