"""What an activation must do: keep the shape, and be a module of its own at each call."""

import torch

from autoopt.technique import Technique
from autoopt.testing.worlds import situations


def keeps_the_shape(technique: Technique) -> None:
    for _, activation in situations(technique):
        for shape in ((4, 6), (2, 3, 5, 5)):
            inputs = torch.randn(shape, requires_grad=True)
            outputs = inputs if activation is None else activation(inputs)
            assert outputs.shape == inputs.shape, f"{shape} became {tuple(outputs.shape)}"
            outputs.sum().backward()
            assert torch.isfinite(outputs).all() and torch.isfinite(inputs.grad).all(), f"not finite for inputs {shape}"  # type: ignore[arg-type]


def is_new_each_time(technique: Technique) -> None:
    first, second = (situations(technique)[0][1] for _ in range(2))
    assert first is None or first is not second, "two calls gave one and the same module"


CHECKS = (keeps_the_shape, is_new_each_time)
