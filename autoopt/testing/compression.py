"""What a compression must do: return a smaller model that predicts nearly the same and can be stored, and leave the given one alone."""

import json
from functools import lru_cache

import torch
from torch import Tensor, nn

from autoopt.deployment.packed import unpacked
from autoopt.deployment.structure import describe_modules, restore
from autoopt.domain import Unavailable
from autoopt.module.flops import flops
from autoopt.technique import Technique
from autoopt.testing.toys import sparse_network
from autoopt.testing.worlds import WORLDS, Offered, differing_tensors, situations, sorted_worlds

OVERHEAD = 2
"""The description of a toy network's graph takes up to as many bytes as its weights."""


@lru_cache(maxsize=1)
def compressed(technique: Technique) -> list[tuple[Offered, nn.Module]]:
    """What the technique makes of the toy network: once for all checks of it, which only read, since some export for a second."""
    return situations(technique)


def makes_it_smaller(technique: Technique) -> None:
    """A graph that another runtime computes gains time by that alone, so it may be about as large as before."""
    for world, smaller in compressed(technique):
        sizes = stored_bytes(world["model"]), stored_bytes(smaller)
        work = [flops(model, inputs_among(world)) or 0 for model in (world["model"], smaller)]
        fewer, elsewhere = 0 < work[1] < work[0], not list(smaller.parameters()) and sizes[1] < OVERHEAD * sizes[0]
        assert sizes[1] < sizes[0] or fewer or elsewhere, f"it takes {sizes[1]} bytes and {work[1]} FLOPs; it took {sizes[0]} and {work[0]}"


def stored_bytes(model: nn.Module) -> int:
    """Bytes of the weights, as they are written."""
    return sum(t.numel() * t.element_size() for t in model.state_dict().values() if isinstance(t, Tensor))


def stays_close(technique: Technique) -> None:
    for world, smaller in compressed(technique):
        before, after = (outputs(model, world) for model in (world["model"].eval(), smaller.eval()))
        assert after.shape == before.shape, f"outputs {tuple(before.shape)} became {tuple(after.shape)}"
        assert after.dtype == before.dtype, f"outputs of {before.dtype} became {after.dtype}"
        same = (before.argmax(1) == after.argmax(1)).float().mean().item()
        assert same >= 0.8, f"only {same:.0%} of the predictions stay the same"


def stays_close_on_sorted_classes(technique: Technique) -> None:
    """Calibration shows all classes only to a technique that looks at enough of its examples."""
    if "batches" not in technique.asks:
        raise Unavailable("it asks for no batches")
    for world, smaller in situations(technique, worlds=sorted_worlds()):
        targets = torch.cat([classes for _, classes in world["batches"]])
        before, after = (outputs(model, world).argmax(1) for model in (world["model"].eval(), smaller.eval()))
        for label in targets.unique():
            same = (before == after)[targets == label].float().mean().item()
            assert same >= 0.6, f"of class {label} only {same:.0%} of the predictions stay the same, if the classes are of other scales"


def says_what_it_leaves(technique: Technique) -> None:
    """By what a compression declares, a search draws combinations that can work together."""
    for _, smaller in compressed(technique):
        weights = [p.detach() for p in unpacked(smaller).parameters() if p.is_floating_point()]
        assert weights or technique.acts.last, "it leaves no weights for a later compression, and does not say so: Acts(last=True)"
        matrices = [weight for weight in weights if weight.ndim > 1]
        zeros = sum(int((weight == 0).sum()) for weight in matrices) / max(1, sum(weight.numel() for weight in matrices))
        assert zeros < 0.3 or technique.acts.sparse, f"{zeros:.0%} of the weights that it leaves are 0; say so: Acts(sparse=True)"
        assert zeros > 0 or not technique.acts.sparse, "it says Acts(sparse=True), and leaves no zeros"


def says_whether_it_stores_zeros(technique: Technique) -> None:
    """What acts last is used after pruning as well, unless it says that zeros do not pay with it."""
    if not technique.acts.last or technique.acts.dense:
        raise Unavailable("it is not used after a compression that leaves zeros")
    for world in WORLDS["compression"]():
        pruned = sparse_network(world["model"])
        ((_, smaller),) = situations(technique, worlds=[{**world, "model": pruned}])
        sizes = stored_bytes(pruned), stored_bytes(smaller)
        assert sizes[1] < 1.5 * sizes[0], f"of a pruned network of {sizes[0]} bytes it makes {sizes[1]}; say so: Acts(dense=True)"


def can_be_stored(technique: Technique) -> None:
    for world, smaller in compressed(technique):
        expected = outputs(smaller.eval(), world)
        kept = {name: tensor.clone() for name, tensor in smaller.state_dict().items()}
        taken_up = restore(json.loads(json.dumps(describe_modules(smaller, world["model"]))), kept, world["model"])
        assert torch.equal(outputs(taken_up, world), expected), "it gives other outputs after it was stored and loaded again"


def leaves_the_given_model_alone(technique: Technique) -> None:
    for (world, _), untouched in zip(compressed(technique), WORLDS["compression"](), strict=True):
        old, new = untouched["model"].state_dict(), world["model"].state_dict()
        assert not differing_tensors(old, new), f"it changed the given model's {differing_tensors(old, new)}"


@torch.no_grad()
def outputs(model: nn.Module, world: Offered) -> Tensor:
    return model(inputs_among(world))


def inputs_among(world: Offered) -> Tensor:
    return torch.cat([inputs for inputs, _ in world["batches"]])


CHECKS = (
    makes_it_smaller,
    stays_close,
    stays_close_on_sorted_classes,
    says_what_it_leaves,
    says_whether_it_stores_zeros,
    can_be_stored,
    leaves_the_given_model_alone,
)
