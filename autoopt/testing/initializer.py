"""What an initializer must do: set the same finite weights under a seed, and nothing else."""

import copy

import torch
from torch import nn

from autoopt.technique import Technique
from autoopt.testing.worlds import WORLDS, differing_tensors, situations


def sets_the_same_weights_under_a_seed(technique: Technique) -> None:
    states = []
    for _ in range(2):
        torch.manual_seed(1)
        states.append([world["model"].state_dict() for world, _ in situations(technique)])
    for first, second in zip(*states, strict=True):
        assert not differing_tensors(first, second), f"called twice under one seed, these differ: {differing_tensors(first, second)}"


def leaves_shapes_and_norms_alone(technique: Technique) -> None:
    worlds = [*WORLDS["initializer"]()]
    before = {world["model"]: copy.deepcopy(world["model"].state_dict()) for world in worlds}
    for world, _ in situations(technique, worlds=worlds):
        old = before[world["model"]]
        new, norms = world["model"].state_dict(), norm_names(world["model"])
        changed = [name for name in old if name not in new or new[name].shape != old[name].shape]
        assert not changed and len(new) == len(old), f"it changed the shape of {', '.join(changed) or 'the model'}"
        touched = [name for name in norms if not torch.equal(new[name], old[name])]
        assert not touched, f"it changed the norm layers' {', '.join(touched)}"
        bad = [name for name, value in new.items() if not torch.isfinite(value).all()]
        assert not bad, f"not finite: {', '.join(bad)}"


def norm_names(model: nn.Module) -> list[str]:
    norms = [(prefix, m) for prefix, m in model.named_modules() if isinstance(m, nn.BatchNorm2d | nn.LayerNorm)]
    return [f"{prefix}.{name}" for prefix, norm in norms for name in norm.state_dict()]


CHECKS = (sets_the_same_weights_under_a_seed, leaves_shapes_and_norms_alone)
