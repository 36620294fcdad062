"""What a data set must do: give sound examples, each in one split."""

import torch

from autoopt.domain import Unavailable
from autoopt.task import PARTS, Examples
from autoopt.technique import Technique
from autoopt.testing.worlds import situations


def gives_sound_inputs(technique: Technique) -> None:
    for examples in sets_of_examples(technique):
        inputs = examples.inputs
        assert inputs.dtype == torch.float32, f"the inputs are {inputs.dtype}, expected torch.float32"
        assert inputs.ndim >= 2 and len(inputs), f"the inputs have the shape {tuple(inputs.shape)}, expected (N, F) or (N, C, H, W)"
        assert torch.isfinite(inputs).all(), "some inputs are not finite"
        if inputs.ndim == 4:
            low, high = inputs.min().item(), inputs.max().item()
            assert low >= 0 and high <= 1, f"images have to be in [0, 1], these are in [{low:g}, {high:g}]"


def gives_sound_targets(technique: Technique) -> None:
    for examples in sets_of_examples(technique):
        targets = examples.targets
        assert examples.kind in ("classification", "regression"), f"the kind is {examples.kind!r}, expected classification or regression"
        assert len(targets) == len(examples.inputs), f"{len(targets)} targets for {len(examples.inputs)} inputs"
        dtype, ndim = (torch.int64, 1) if examples.kind == "classification" else (torch.float32, 2)
        seen = f"got {targets.dtype} in {targets.ndim} dimensions"
        assert (targets.dtype, targets.ndim) == (dtype, ndim), f"{examples.kind} needs targets of {dtype} in {ndim} dimensions, {seen}"
        assert torch.isfinite(targets.float()).all(), "some targets are not finite"
        if examples.kind == "classification":
            low, high, named = targets.min(), targets.max(), len(examples.classes)
            assert low >= 0 and (not named or high < named), f"the class indices are {low} to {high}, {named} classes are named"


def gives_separate_splits(technique: Technique) -> None:
    for examples in sets_of_examples(technique):
        if examples.splits is None:
            continue
        assert examples.splits.keys() == set(PARTS), f"the splits are {', '.join(examples.splits)}, expected {', '.join(PARTS)}"
        together = torch.cat(list(examples.splits.values()))
        assert len(together.unique()) == len(together), "an example is in two splits"
        assert together.min() >= 0 and together.max() < len(examples.inputs), "a split has an index beyond the examples"


def sets_of_examples(technique: Technique) -> list[Examples]:
    found = [result for _, result in situations(technique) if isinstance(result, Examples)]
    if not found:
        raise Unavailable("a LightningDataModule is looked at when it is used")
    return found


CHECKS = (gives_sound_inputs, gives_sound_targets, gives_separate_splits)
