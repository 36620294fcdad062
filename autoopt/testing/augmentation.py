"""What an augmentation must do: return a batch like the given one, which it leaves alone."""

from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor

from autoopt.domain import Range, Unavailable
from autoopt.errors import summary
from autoopt.technique import Technique, build
from autoopt.testing.worlds import SEEDS, WORLDS, Offered, differing_tensors, situations


def keeps_shape_dtype_and_range(technique: Technique) -> None:
    for name, old, new in changed_tensors(technique):
        assert new.shape == old.shape, f"{name} {tuple(old.shape)} became {tuple(new.shape)}"
        assert new.dtype == old.dtype, f"{name} of {old.dtype} became {new.dtype}"
        assert torch.isfinite(new).all(), f"some {name} are not finite"
        if old.ndim == 4:
            low, high = new.min().item(), new.max().item()
            assert low >= -1e-6 and high <= 1 + 1e-6, f"images in [0, 1] became images in [{low:g}, {high:g}]"


def keeps_the_mass_of_labels(technique: Technique) -> None:
    for world, batch in batches_made(technique):
        if "targets" in batch and "images" in world:  # the situations with classes
            mass = batch["targets"].sum(1)
            seen = f"{mass.min():g} to {mass.max():g}"
            assert torch.allclose(mass, torch.ones_like(mass), atol=1e-5), f"class probabilities sum to {seen}, expected 1"
            assert batch["targets"].min() >= 0, f"a class has the probability {batch['targets'].min():g}"


def moves_all_planes_alike(technique: Technique) -> None:
    if "planes" not in technique.asks:
        return
    for world in WORLDS["augmentation"]():
        if "planes" in world:
            alike = world["planes"][:, :1].expand(-1, 5, -1, -1)
            result = build(technique, {**world, "planes": alike}, {})
            planes = dict(zip(technique.asks, result if isinstance(result, tuple) else (result,), strict=True))["planes"]
            assert torch.equal(planes, planes[:, :1].expand_as(planes)), "five planes that are alike were moved in different ways"


def leaves_the_given_batch_alone(technique: Technique) -> None:
    for world, _ in situations(technique):
        untouched = next(w for w in WORLDS["augmentation"]() if w.keys() == world.keys() and w["inputs"].shape == world["inputs"].shape)
        assert not differing_tensors(world, untouched), f"it wrote into the given {differing_tensors(world, untouched)}"


def changes_nothing_at_strength_zero(technique: Technique) -> None:
    strengths = [name for name, p in technique.params.items() if isinstance(p.domain, Range) and p.scalar is float]
    if not strengths:
        raise Unavailable("it has no strength, a float with a range, to be set to 0")
    zeros = [dict.fromkeys(strengths, 0.0), *({name: 0.0} for name in strengths)]
    reasons = [reason for reason in (changed_by(technique, values) for values in zeros) if reason]
    assert len(reasons) < len(zeros), f"no zero of {', '.join(strengths)} turns it off: {reasons[0]}"


def changed_by(technique: Technique, values: dict[str, Any]) -> str:
    """What the augmentation changes with these values, or how it fails; empty if it changes nothing."""
    try:
        # an interpolation between a pixel and its neighbour is exact up to the rounding of its place
        changed = [name for name, old, new in changed_tensors(technique, values) if not torch.allclose(old, new, atol=1e-5)]
    except Exception as error:
        return summary(error)
    return f"it changed the {', '.join(changed)}" if changed else ""


def repeats_under_a_seed(technique: Technique) -> None:
    runs = []
    for _ in range(2):
        torch.manual_seed(1)
        runs.append([batch for _, batch in batches_made(technique)])
    for first, second in zip(*runs, strict=True):
        assert not differing_tensors(first, second), f"called twice under one seed, these differ: {differing_tensors(first, second)}"


def draws_anew_under_each_seed(technique: Technique) -> None:
    """Several ranks have seeds of their own, which torch's generator follows, and one that a technique makes does not.

    Raises:
        Unavailable: it draws nothing: it makes the same of the same examples.
    """
    runs = []
    for seed in SEEDS:
        torch.manual_seed(seed)
        runs.append([batch for _, batch in batches_made(technique)])
    alike = all(not differing_tensors(first, batch) for run in runs for first, batch in zip(runs[0], run, strict=True))
    if alike:
        repeated = [{name: part[:1].expand_as(part).clone() for name, part in world.items()} for world, _ in batches_made(technique)]
        if all((part == part[:1]).all() for _, batch in batches_made(technique, worlds=repeated) for part in batch.values()):
            raise Unavailable("it draws nothing")
    assert not alike, "under five seeds it makes the same batches"


def changed_tensors(technique: Technique, values: Offered | None = None) -> Iterator[tuple[str, Tensor, Tensor]]:
    """Each tensor that the augmentation returned, by name, with the one that it was given."""
    for world, batch in batches_made(technique, values):
        yield from ((name, world[name], new) for name, new in batch.items())


def batches_made(
    technique: Technique, values: Offered | None = None, worlds: Iterable[Offered] | None = None
) -> list[tuple[Offered, dict[str, Tensor]]]:
    batches = []
    for world, result in situations(technique, values, worlds):
        parts = result if isinstance(result, tuple) else (result,)
        assert len(parts) == len(technique.asks), f"it asks for {', '.join(technique.asks)} and returned {len(parts)} tensors"
        batches.append((world, dict(zip(technique.asks, parts, strict=True))))
    return batches


CHECKS = (
    keeps_shape_dtype_and_range,
    keeps_the_mass_of_labels,
    moves_all_planes_alike,
    leaves_the_given_batch_alone,
    changes_nothing_at_strength_zero,
    repeats_under_a_seed,
    draws_anew_under_each_seed,
)
