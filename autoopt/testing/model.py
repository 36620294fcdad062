"""What a model must do: map a task's inputs to its outputs, with every parameter in use."""

import torch
from torch import nn

from autoopt.domain import Unavailable
from autoopt.technique import Technique
from autoopt.testing.toys import examples_of
from autoopt.testing.worlds import Offered, differing_tensors, situations


def maps_inputs_to_outputs(technique: Technique) -> None:
    for world, model in networks(technique):
        task = world["task"]
        for count, train in ((4, True), (1, False)):
            shape, expected = (count, *task.input_shape), (count, task.outputs)
            outputs = model.train(train)(examples_of(task, count)[0])
            assert tuple(outputs.shape) == expected, f"inputs {shape} gave outputs {tuple(outputs.shape)}, expected {expected}"
            assert torch.isfinite(outputs).all(), f"some outputs for inputs {shape} are not finite"


def gives_every_parameter_a_gradient(technique: Technique) -> None:
    for world, model in networks(technique):
        outputs = model.train()(examples_of(world["task"], 4)[0])
        (outputs * torch.randn_like(outputs)).sum().backward()
        without = [name for name, p in model.named_parameters() if p.requires_grad and p.grad is None]
        assert not without, f"no gradient reaches {', '.join(without)}"


@torch.no_grad()
def judges_each_example_by_itself(technique: Technique) -> None:
    for world, model in networks(technique):
        inputs = examples_of(world["task"], 4)[0]
        together, alone = model.eval()(inputs), torch.cat([model(each) for each in inputs.split(1)])
        off = (together - alone).abs().max()
        assert torch.allclose(together, alone, atol=1e-4), f"in evaluation, an output changes by {off:g} with the batch it is in"


def builds_the_same_under_a_seed(technique: Technique) -> None:
    states = []
    for _ in range(2):
        torch.manual_seed(1)
        states.append([model.state_dict() for _, model in networks(technique)])
    for first, second in zip(*states, strict=True):
        assert not differing_tensors(first, second), f"built twice under one seed, these differ: {differing_tensors(first, second)}"


def networks(technique: Technique) -> list[tuple[Offered, nn.Module]]:
    if "task" not in technique.asks:
        raise Unavailable("it asks for no task, so what goes in and out is not known")
    return situations(technique)


CHECKS = (maps_inputs_to_outputs, gives_every_parameter_a_gradient, judges_each_example_by_itself, builds_the_same_under_a_seed)
