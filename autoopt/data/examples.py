"""Examples, as a data technique returns them, and what is refused."""

import hashlib
import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from autoopt.data.arrays import checked_classes, within_0_and_1
from autoopt.data.image_values import Span, span_of
from autoopt.data.rows import Mapped, Source, all_rows
from autoopt.errors import BadInput

SAMPLED = 1024


@dataclass(frozen=True)
class Encoded:
    """Inputs as numbers, and how to encode further inputs in the same way.

    Args:
        inputs: of all examples.
        categories: how many levels each embedded category has, the unknown level included; their codes are the last columns
            of a table.
        tokens: the size of the vocabulary of texts.
        words: the encoding as plain values, for `model.json`.
        notes: lines for the user.
    """

    inputs: Tensor
    categories: tuple[int, ...] = ()
    tokens: int = 0
    words: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def embedding_width(levels: int) -> int:
    """The width of the embedding of a category: half the number of its levels, at most 50."""
    return min(50, levels // 2)


@runtime_checkable
class Raw(Protocol):
    """Inputs whose encoding is learnt from the training part, since they hold categories, missing values or words."""

    def __len__(self) -> int: ...

    def content(self) -> bytes:
        """Bytes that differ where inputs differ."""
        ...

    def encoded(self, train: Tensor, without: Collection[str], embed: bool) -> Encoded:
        """All inputs as numbers.

        Args:
            train: the indices of the training examples; the encoding is learnt from these alone.
            without: columns that are not inputs.
            embed: large categories may become codes, which the model embeds.
        """
        ...


@dataclass(frozen=True)
class Examples:
    """What a data technique returns.

    Args:
        inputs: a table `(N, F)` of floats or uint8, or images `(N, C, H, W)` of floats or of uint8 in 0 to 255, in memory or read on
            demand (`autoopt.data.rows.Source`); or inputs whose encoding is learnt from the training part (`Raw`).
        targets: class indices `(N,)` of any integer type, or rows `(N, K)` with a single 1; labels `(N, K)`, each 0 or 1; or values
            `(N, D)`. Values in float64 are centred before they become float32.
        kind: "classification", "multilabel" or "regression".
        classes: the names of the classes, in the order of the indices; or those of the labels or values, in the order of the columns.
        splits: the indices of the train, validation and test examples, where the source fixes them; a part that is missing is
            cut from train.
        columns: by name, a value for each example, which `split` may use.
        notes: lines for the user about how the source was read.
    """

    inputs: Tensor | Source | Raw
    targets: Tensor
    kind: str
    classes: tuple[str, ...] = ()
    splits: dict[str, Tensor] | None = None
    columns: Mapping[str, np.ndarray] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def fingerprint(examples: Examples) -> str:
    """A digest of the examples, the same wherever they are kept; of inputs that are read on demand, 1024 are included."""
    inputs = examples.inputs
    digest = hashlib.sha256(examples.targets.reshape(-1).numpy().data)
    if isinstance(inputs, Raw):
        digest.update(inputs.content())
    else:
        spread = torch.linspace(0, len(inputs) - 1, min(len(inputs), SAMPLED), dtype=torch.float64)
        rows = inputs if isinstance(inputs, Tensor) else inputs[spread.long()]
        digest.update(rows.reshape(-1).numpy().data)
    return digest.hexdigest()[:16]


def validated(examples: Examples) -> tuple[Examples, Span | None]:
    """The examples with class indices `(N,)`, labels `(N, K)` or values `(N, D)` as targets, and the span of their inputs, if any.

    Raises:
        BadInput: nothing can be learnt from the examples.
    """
    if not len(examples.inputs):
        raise BadInput("data: there are no examples")
    if len(examples.inputs) != len(examples.targets):
        raise BadInput(f"data: {len(examples.inputs)} inputs but {len(examples.targets)} targets")
    span = span_of_inputs(examples.inputs)
    if not all(map(math.isfinite, span or ())) or not torch.isfinite(examples.targets.float()).all():
        raise BadInput("data: some values are not finite (NaN or infinity)")
    if examples.kind == "regression":
        values = examples.targets.reshape(len(examples.targets), -1)
        if (values == values[0]).all():
            raise BadInput(f"data: all targets are {', '.join(f'{value:g}' for value in values[0].tolist())}: there is nothing to learn")
        return replace(examples, targets=values), span
    targets = checked_classes(examples.targets) if examples.kind == "classification" else checked_labels(examples.targets)
    if len(targets.unique(dim=0)) < 2:
        raise BadInput(f"data: all targets are {'of one class' if examples.kind == 'classification' else 'the same labels'}")
    return replace(examples, targets=targets), span


def checked_labels(targets: Tensor) -> Tensor:
    """Labels as float32 `(N, K)`.

    Raises:
        BadInput: they have another shape, or hold something else than 0 and 1.
    """
    if targets.ndim != 2 or not within_0_and_1(targets):
        seen = f"the targets are {tuple(targets.shape)} and hold {float(targets.min()):g} to {float(targets.max()):g}"
        raise BadInput(f"data: labels are rows (N, K) of 0 and 1; {seen}")
    return targets.float()


def span_of_inputs(inputs: Tensor | Source | Raw) -> Span | None:
    """The span of the inputs, which are read once, piece by piece; None for raw inputs, and for arrays of integers."""
    if isinstance(inputs, Raw) or (isinstance(inputs, Tensor | Mapped) and not inputs.dtype.is_floating_point):
        return None
    return span_of(all_rows(inputs))
