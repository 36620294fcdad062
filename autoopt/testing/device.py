"""What a device must do: train two steps, or say why not, and leave the model what it is."""

import torch

from autoopt.technique import Technique
from autoopt.testing.general import ends
from autoopt.testing.toys import Tiny, fit_toy, toy_network
from autoopt.testing.worlds import differing_tensors, situations


def trains_two_steps(technique: Technique) -> None:
    for values in ({}, *ends(technique)):
        for world, arguments in situations(technique, values):
            module = Tiny(world["model"])
            trainer = fit_toy(module, arguments.pop("callbacks", []), **arguments)
            assert trainer.global_step == 2, f"two batches made {trainer.global_step} steps"
            assert all(torch.isfinite(p).all() for p in module.parameters()), "after two steps some parameters are not finite"


def leaves_the_weights_alone(technique: Technique) -> None:
    expected = {name: tensor.double() for name, tensor in toy_network().state_dict().items()}
    for world, _ in situations(technique):
        seen = {name: tensor.double() for name, tensor in world["model"].state_dict().items()}
        assert not (names := differing_tensors(seen, expected)), f"it changed the model's {names}"


CHECKS = (trains_two_steps, leaves_the_weights_alone)
