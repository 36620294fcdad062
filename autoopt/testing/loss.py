"""What a loss must do: be a finite scalar that is lower for better outputs."""

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from autoopt.domain import Unavailable
from autoopt.technique import Technique
from autoopt.testing.toys import examples_of
from autoopt.testing.worlds import Offered, situations


def is_lower_for_better_outputs(technique: Technique) -> None:
    """In each situation; in one of them for a loss that does not ask what is to be learnt."""
    built = situations(technique)
    failed = []
    for world, loss in built:
        try:
            compare_losses(loss, world, examples_of(world["task"])[1])
        except Exception as error:
            if technique.asks:
                raise
            failed.append(error)
    if len(failed) == len(built):
        raise failed[0]


def takes_class_probabilities(technique: Technique) -> None:
    if not {"task", "class_counts"} & set(technique.asks):
        raise Unavailable("it does not ask what is to be learnt")
    worlds = [(world, loss) for world, loss in situations(technique) if world["task"].kind == "classification"]
    if not worlds:
        raise Unavailable("it is not for classes")
    for world, loss in worlds:
        targets = examples_of(world["task"])[1]
        compare_losses(loss, world, one_hot(targets, world["task"].outputs).float())


def compare_losses(loss: Any, world: Offered, targets: Tensor) -> None:
    if loss is None:
        return
    exact = targets if targets.is_floating_point() else one_hot(targets, world["task"].outputs).float()
    good, bad = ((scale * exact).requires_grad_() for scale in (2.0, -2.0))
    if world["task"].kind == "regression":
        good, bad = ((exact + error).requires_grad_() for error in (0.1, 2.0))
    values = [loss(outputs, targets) for outputs in (good, bad)]
    for value in values:
        assert value.ndim == 0 and torch.isfinite(value), f"expected a finite scalar, got {value}"
    assert values[0] < values[1], f"{values[0]:g} for good outputs, {values[1]:g} for bad ones"
    values[1].backward()
    assert bad.grad is not None and torch.isfinite(bad.grad).all() and bad.grad.any(), "bad outputs have no finite gradient"


CHECKS = (is_lower_for_better_outputs, takes_class_probabilities)
