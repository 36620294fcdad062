"""What is to be learnt: the examples, their split, and what a model has to know of them."""

from dataclasses import dataclass, field
from typing import Any

import torch
from lightning.pytorch import LightningDataModule
from sklearn.model_selection import train_test_split
from torch import Tensor

from autoopt.errors import BadInput
from autoopt.parts import PARTS


@dataclass(frozen=True)
class Examples:
    """What a data technique returns.

    Args:
        inputs: float32; a table `(N, F)`, or images `(N, C, H, W)` in [0, 1].
        targets: class indices, int64 `(N,)`, or values, float32 `(N, D)`.
        kind: "classification" or "regression".
        classes: the class names, in the order of the indices.
        splits: index tensors for train, validation and test, where the source fixes them.
    """

    inputs: Tensor
    targets: Tensor
    kind: str
    classes: tuple[str, ...] = ()
    splits: dict[str, Tensor] | None = None


@dataclass(frozen=True)
class Scale:
    """An affine map to mean 0 and variance 1, as measured on the training part: `(x - mean) / deviation`."""

    mean: Tensor
    deviation: Tensor

    @classmethod
    def of(cls, values: Tensor) -> "Scale":
        deviation = values.std(0, correction=0)
        return cls(values.mean(0), torch.where(deviation > 0, deviation, torch.ones_like(deviation)))

    def apply(self, values: Tensor) -> Tensor:
        return (values - self.mean.to(values)) / self.deviation.to(values)

    def invert(self, values: Tensor) -> Tensor:
        return values * self.deviation.to(values) + self.mean.to(values)

    def lists(self) -> dict[str, list[float]]:
        return {"mean": self.mean.tolist(), "deviation": self.deviation.tolist()}


@dataclass(frozen=True)
class Task:
    """The split examples, or the user's data module, and what a model has to know of them.

    `input_shape` is without the batch; `inputs` and `targets` are the scales that were applied (tables and regression
    targets only); `class_counts` are the training examples of each class, int64 `(K,)`.
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

    @property
    def images(self) -> bool:
        return len(self.input_shape) == 3

    def example(self) -> tuple[Tensor, Tensor] | None:
        """A training batch, where one can be had without asking the user's data module for it."""
        return tuple(t[:64] for t in self.parts["train"]) if self.parts else None  # type: ignore[return-value]


def make_task(examples: Examples | LightningDataModule, split: dict[str, Any], scan: bool = True) -> Task:
    """Split and scale the examples.

    Args:
        scan: go through a data module's training targets once, for a model that has to know the classes.

    Raises:
        BadInput: there is nothing to learn, or too little to split.
    """
    if isinstance(examples, LightningDataModule):
        return task_of_module(examples, scan)
    check(examples)
    indices = examples.splits or split_indices(examples, split)
    inputs, targets = examples.inputs, examples.targets
    table = split["normalise"] and inputs.ndim == 2
    in_scale = Scale.of(inputs[indices["train"]]) if table else None
    out_scale = Scale.of(targets[indices["train"]]) if split["normalise"] and examples.kind == "regression" else None
    x = in_scale.apply(inputs) if in_scale else inputs
    y = out_scale.apply(targets) if out_scale else targets
    parts = {part: (x[indices[part]].contiguous(), y[indices[part]].contiguous()) for part in PARTS}
    outputs = len(examples.classes) or int(targets.max()) + 1 if examples.kind == "classification" else targets.shape[1]
    counts = torch.bincount(parts["train"][1], minlength=outputs) if examples.kind == "classification" else None
    return Task(examples.kind, tuple(inputs.shape[1:]), outputs, examples.classes, parts, in_scale, out_scale, counts)


def task_of_module(datamodule: LightningDataModule, scan: bool) -> Task:
    """What a data module's first batch, and its training targets, tell of the task."""
    datamodule.prepare_data()
    datamodule.setup("fit")
    batch = next(iter(datamodule.train_dataloader()))
    if not (isinstance(batch, list | tuple) and len(batch) >= 2 and all(isinstance(t, Tensor) for t in batch[:2])):
        if scan:
            raise BadInput("data: the data module's batches are no (inputs, targets) tensors; give a LightningModule that takes them")
        return Task("unknown", datamodule=datamodule)
    inputs, targets = batch[:2]
    shape = tuple(inputs.shape[1:])
    if targets.is_floating_point():
        return Task("regression", shape, targets.shape[1] if targets.ndim > 1 else 1, datamodule=datamodule)
    counts = torch.bincount(torch.cat([b[1] for b in datamodule.train_dataloader()])) if scan else None
    outputs = 0 if counts is None else len(counts)
    return Task("classification", shape, outputs, class_counts=counts, datamodule=datamodule)


def check(examples: Examples) -> None:
    """Raise BadInput for examples that nothing can be learnt from."""
    if len(examples.inputs) != len(examples.targets):
        raise BadInput(f"data: {len(examples.inputs)} inputs but {len(examples.targets)} targets")
    if not torch.isfinite(examples.inputs).all() or not torch.isfinite(examples.targets.float()).all():
        raise BadInput("data: some values are not finite (NaN or infinity)")
    if examples.kind == "classification" and len(examples.targets.unique()) < 2:
        raise BadInput("data: all targets are of one class")


def split_indices(examples: Examples, split: dict[str, Any]) -> dict[str, Tensor]:
    """Validation, test and the rest, drawn by `split.seed`; by default with the same share of each class.

    Raises:
        BadInput: there are too few examples for that.
    """
    labels = examples.targets.numpy() if split["stratify"] and examples.kind == "classification" else None

    def cut(indices: Any, share: float, seed: int) -> tuple[Any, Any]:
        strata = labels[indices] if labels is not None else None
        return train_test_split(indices, test_size=share, random_state=seed, stratify=strata)

    held = split["validation"] + split["test"]
    try:
        train, rest = cut(torch.arange(len(examples.inputs)).numpy(), held, split["seed"])
        validation, test = cut(rest, split["test"] / held, split["seed"])
    except ValueError as error:
        hint = " (split.stratify=false splits without regard to the classes)" if labels is not None else ""
        raise BadInput(f"data: {len(examples.inputs)} examples cannot be split: {error}{hint}") from error
    return {part: torch.as_tensor(indices).sort().values for part, indices in zip(PARTS, (train, validation, test), strict=True)}
