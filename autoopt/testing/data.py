"""What a data set must do: give sound examples, each in one split."""

from typing import Any

import torch
from torch import Tensor

from autoopt.data.arrays import TASK_KINDS
from autoopt.data.examples import Encoded, Examples, Raw
from autoopt.data.parts import PARTS
from autoopt.data.rows import all_rows
from autoopt.domain import Unavailable
from autoopt.technique import Technique
from autoopt.testing.worlds import situations


def gives_sound_inputs(technique: Technique) -> None:
    for examples in sets_of_examples(technique):
        encoding = encode_inputs(examples)
        inputs: Any = encoding.inputs
        dtypes = (torch.int64,) if encoding.tokens else (torch.float32, torch.uint8)
        assert inputs.dtype in dtypes, f"the inputs are {inputs.dtype}, expected {' or '.join(map(str, dtypes))}"
        assert len(inputs.shape) >= 2 and len(inputs), f"the inputs have the shape {tuple(inputs.shape)}, expected (N, F) or (N, C, H, W)"
        for piece in all_rows(inputs):
            check_inputs(piece, encoding.tokens)


def check_inputs(inputs: Tensor, tokens: int) -> None:
    assert torch.isfinite(inputs).all(), "some inputs are not finite"
    low, high = inputs.min().item(), inputs.max().item()
    if inputs.ndim == 4 and inputs.is_floating_point():
        assert low >= 0 and high <= 1, f"images have to be in [0, 1], these are in [{low:g}, {high:g}]"
    if tokens:
        assert low >= 0 and high < tokens, f"the words are {low} to {high}, of a vocabulary of {tokens}"


def encodes_alike_each_time(technique: Technique) -> None:
    for examples in sets_of_examples(technique):
        if not isinstance(examples.inputs, Raw):
            continue
        few = torch.arange(0, len(examples.inputs), 2)
        shown, again = (examples.inputs.encoded(few, (), True) for _ in range(2))
        assert torch.equal(shown.inputs, again.inputs), "encoded twice, the inputs differ"
        assert len(shown.inputs) == len(examples.inputs), f"{len(examples.inputs)} examples became {len(shown.inputs)}"


def gives_sound_targets(technique: Technique) -> None:
    for examples in sets_of_examples(technique):
        targets = examples.targets
        assert examples.kind in TASK_KINDS, f"the kind is {examples.kind!r}, expected {' or '.join(TASK_KINDS)}"
        assert len(targets) == len(examples.inputs), f"{len(targets)} targets for {len(examples.inputs)} inputs"
        dtype, ndim = (torch.int64, 1) if examples.kind == "classification" else (torch.float32, 2)
        seen = f"got {targets.dtype} in {targets.ndim} dimensions"
        assert (targets.dtype, targets.ndim) == (dtype, ndim), f"{examples.kind} needs targets of {dtype} in {ndim} dimensions, {seen}"
        assert torch.isfinite(targets.float()).all(), "some targets are not finite"
        if examples.kind == "classification":
            low, high, named = targets.min(), targets.max(), len(examples.classes)
            assert low >= 0 and (not named or high < named), f"the class indices are {low} to {high}, {named} classes are named"
        if examples.kind == "multilabel":
            assert ((targets == 0) | (targets == 1)).all(), "labels have to be 0 or 1"
            width, named = targets.shape[1], len(examples.classes)
            assert named in (0, width), f"there are {width} labels, {named} are named"


def gives_separate_splits(technique: Technique) -> None:
    for examples in sets_of_examples(technique):
        if examples.splits is None:
            continue
        known = {"train"} <= examples.splits.keys() <= set(PARTS)
        assert known, f"the splits are {', '.join(examples.splits)}, expected {', '.join(PARTS)}, train at least"
        together = torch.cat(list(examples.splits.values()))
        assert len(together.unique()) == len(together), "an example is in two splits"
        assert together.min() >= 0 and together.max() < len(examples.inputs), "a split has an index beyond the examples"


def encode_inputs(examples: Examples) -> Encoded:
    """The inputs as numbers; all of them are for training."""
    inputs = examples.inputs
    return inputs.encoded(torch.arange(len(inputs)), (), True) if isinstance(inputs, Raw) else Encoded(inputs)  # type: ignore[arg-type]


def sets_of_examples(technique: Technique) -> list[Examples]:
    examples = [result for _, result in situations(technique) if isinstance(result, Examples)]
    if not examples:
        raise Unavailable("a LightningDataModule is checked when it is used")
    return examples


CHECKS = (gives_sound_inputs, encodes_alike_each_time, gives_sound_targets, gives_separate_splits)
