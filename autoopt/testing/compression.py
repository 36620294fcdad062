"""What a compression must do: return a smaller model that predicts nearly the same and can be stored, and leave the given one alone."""

import json

import torch
from torch import Tensor, nn

from autoopt.deployment.structure import describe_modules, restore
from autoopt.module.flops import flops
from autoopt.technique import Technique
from autoopt.testing.worlds import WORLDS, Offered, differing_tensors, situations

OVERHEAD = 2
"""The description of a toy network's graph takes up to as many bytes as its weights."""


def makes_it_smaller(technique: Technique) -> None:
    """A graph that another runtime computes gains time by that alone, so it may be about as large as before."""
    for world, smaller in situations(technique):
        sizes = stored_bytes(world["model"]), stored_bytes(smaller)
        work = [flops(model, inputs_among(world)) or 0 for model in (world["model"], smaller)]
        fewer, elsewhere = 0 < work[1] < work[0], not list(smaller.parameters()) and sizes[1] < OVERHEAD * sizes[0]
        assert sizes[1] < sizes[0] or fewer or elsewhere, f"it takes {sizes[1]} bytes and {work[1]} FLOPs; it took {sizes[0]} and {work[0]}"


def stored_bytes(model: nn.Module) -> int:
    """Bytes of the weights, as they are written."""
    return sum(t.numel() * t.element_size() for t in model.state_dict().values() if isinstance(t, Tensor))


def stays_close(technique: Technique) -> None:
    for world, smaller in situations(technique):
        before, after = (outputs(model, world) for model in (world["model"].eval(), smaller.eval()))
        assert after.shape == before.shape, f"outputs {tuple(before.shape)} became {tuple(after.shape)}"
        assert after.dtype == before.dtype, f"outputs of {before.dtype} became {after.dtype}"
        same = (before.argmax(1) == after.argmax(1)).float().mean().item()
        assert same >= 0.8, f"only {same:.0%} of the predictions stay the same"


def can_be_stored(technique: Technique) -> None:
    for world, smaller in situations(technique):
        expected = outputs(smaller.eval(), world)
        kept = {name: tensor.clone() for name, tensor in smaller.state_dict().items()}
        taken_up = restore(json.loads(json.dumps(describe_modules(smaller, world["model"]))), kept, world["model"])
        assert torch.equal(outputs(taken_up, world), expected), "it gives other outputs after it was stored and loaded again"


def leaves_the_given_model_alone(technique: Technique) -> None:
    for (world, _), untouched in zip(situations(technique), WORLDS["compression"](), strict=True):
        old, new = untouched["model"].state_dict(), world["model"].state_dict()
        assert not differing_tensors(old, new), f"it changed the given model's {differing_tensors(old, new)}"


@torch.no_grad()
def outputs(model: nn.Module, world: Offered) -> Tensor:
    return model(inputs_among(world))


def inputs_among(world: Offered) -> Tensor:
    return torch.cat([inputs for inputs, _ in world["batches"]])


CHECKS = (makes_it_smaller, stays_close, can_be_stored, leaves_the_given_model_alone)
