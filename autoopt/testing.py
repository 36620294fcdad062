"""What every technique of a slot must do, as named checks that run over any of them: ours and a stranger's.

from autoopt.technique import find
from autoopt.testing import check

def test_mine():
    assert [f for f in check(find("optimizer", "my_plugin.optimizers:mine")) if not f.skipped] == []
"""

import copy
import logging
import re
import warnings
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import zip_longest
from typing import Any, NamedTuple

import lightning.pytorch as L
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, mse_loss, one_hot
from torch.optim import SGD, Optimizer
from torch.optim.lr_scheduler import ReduceLROnPlateau, StepLR
from torch.utils.data import DataLoader

from autoopt.domain import Choice, Range, Unavailable
from autoopt.slots import SLOTS
from autoopt.task import PARTS, Examples, Task
from autoopt.technique import REQUIRED, Technique, build, from_source, reflect, resolve

World = dict[str, Any]
"""What a slot offers in one situation, by name."""

SOURCE = re.compile(r"\b(1[6-9]\d\d|20\d\d|2100)\b|\barXiv\b|\bDOI\b|^Source: \S", re.MULTILINE)
STEPS = 60


class Finding(NamedTuple):
    """A check that a technique did not pass, or that could not be made."""

    check: str
    reason: str
    skipped: bool = False


def check(technique: Technique) -> list[Finding]:
    """Run all checks of a technique's slot: the failures, and what was skipped. Nothing means that it passed everything."""
    outcomes = [outcome(name, run) for name, run in checks(technique).items()]
    return [finding for finding in outcomes if finding is not None]


def checks(technique: Technique) -> dict[str, Callable[[], None]]:
    """The checks that a technique has to pass, by name; each raises on failure, and Unavailable where it cannot be made."""
    return {c.__name__.replace("_", " "): partial(c, technique) for c in (*GENERAL, *OF_SLOT[technique.slot])}


def outcome(name: str, run: Callable[[], None]) -> Finding | None:
    try:
        with quiet(), torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            run()
    except Unavailable as error:
        return Finding(name, str(error), skipped=True)
    except AssertionError as error:
        return Finding(name, str(error))
    except Exception as error:
        return Finding(name, f"{type(error).__name__}: {error}")
    return None


@contextmanager
def quiet() -> Iterator[None]:
    """Without the remarks that Lightning makes on tiny trainings."""
    loggers = [logging.getLogger(f"lightning.{name}") for name in ("pytorch", "pytorch.utilities.rank_zero", "fabric.utilities.rank_zero")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def situations(technique: Technique, values: World | None = None, worlds: Iterable[World] | None = None) -> list[tuple[World, Any]]:
    """What the technique returns in each situation of its slot in which it applies.

    Raises:
        Unavailable: it applies in none, or does not work without a setting.
    """
    chosen = values or {}
    missing = [p.name for p in technique.params.values() if p.default is REQUIRED and p.name not in chosen]
    if missing:
        raise Unavailable(f"needs a value for {', '.join(missing)}")
    found, reason = [], f"nothing offers all of {', '.join(technique.asks)}"
    for world in WORLDS[technique.slot]() if worlds is None else worlds:
        if world.keys() >= set(technique.asks):
            try:
                found.append((world, build(technique, world, chosen)))
            except Unavailable as error:
                reason = str(error)
    if not found:
        raise Unavailable(reason)
    return found


def differing(first: dict[str, Tensor], second: dict[str, Tensor]) -> str:
    """The names under which two sets of tensors differ."""
    names = [n for n in first.keys() | second.keys() if n not in first or n not in second or not torch.equal(first[n], second[n])]
    return ", ".join(sorted(names))


# ------------------------------------------------------------------------------------------------------------- of any technique


def reads_without_importing(technique: Technique) -> None:
    imported = reflect(technique.slot, technique.name, technique.path, technique.owner)
    try:
        read = from_source(technique.slot, technique.name, technique.path, technique.owner)
    except Exception as error:
        raise Unavailable(f"it is imported to be described, its source does not say all: {type(error).__name__}: {error}") from error
    for seen, is_ in zip_longest(signature(read), signature(imported)):
        assert seen == is_, f"the source says {seen}, the imported object {is_}"


def signature(technique: Technique) -> list[Any]:
    params = technique.params.values()
    return [("asks for", technique.asks), *((p.name, p.scalar, p.domain, p.default) for p in params), technique.acts, technique.doc]


def names_its_source(technique: Technique) -> None:
    summary, _, rest = technique.doc.partition("\n\n")
    assert summary.strip() and rest.strip(), "the docstring needs a line on what it does, an empty line, and its source"
    assert SOURCE.search(rest), "the docstring names no source: a year, arXiv, DOI, or a line 'Source: …'"


def asks_for_what_is_offered(technique: Technique) -> None:
    unknown = sorted(set(technique.asks) - set(SLOTS[technique.slot].offers))
    assert not unknown, f"asks for {', '.join(unknown)}; {technique.slot} offers {', '.join(SLOTS[technique.slot].offers) or 'nothing'}"
    fills = technique.acts.fills
    assert fills is None or fills in SLOTS, f"Acts(fills='{fills}'): there is no such slot"


def has_defaults_in_their_domains(technique: Technique) -> None:
    for name, param in technique.params.items():
        default, domain = param.default, param.domain
        if default is REQUIRED or domain is None:
            continue
        accepted = param.accept(default)
        if isinstance(domain, Range):
            assert domain.low <= accepted <= domain.high, f"{name}={default!r} lies outside of {domain.low} to {domain.high}"
        else:
            assert (type(accepted), accepted) in [(type(o), o) for o in domain.options], f"{name}={default!r} is none of {domain.options}"


def builds_at_the_ends_of_its_domains(technique: Technique) -> None:
    expected = SLOTS[technique.slot].returns
    names = " or ".join("nothing" if path is None else path.rpartition(":")[2] for path in expected)
    for values in ({}, *ends(technique)):
        said = ", ".join(f"{name}={value!r}" for name, value in values.items()) or "its defaults"
        try:
            built = situations(technique, values)
        except Unavailable:
            if not values:
                raise
            continue
        except Exception as error:
            raise AssertionError(f"does not build with {said}: {type(error).__name__}: {error}") from error
        for _, result in built:
            fits = any(result is None if path is None else isinstance(result, resolve(path)) for path in expected)
            assert fits, f"with {said} it returned {type(result).__name__}, expected {names}"


def ends(technique: Technique) -> Iterator[dict[str, Any]]:
    """One argument at a time at the ends of its range, or at each of its options."""
    for name, param in technique.params.items():
        match param.domain:
            case Range(low, high):
                yield from ({name: param.accept(value)} for value in (low, high))
            case Choice(options=options):
                yield from ({name: value} for value in options)


# ------------------------------------------------------------------------------------------------------------------------ data


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


# ----------------------------------------------------------------------------------------------------------------------- model


def maps_inputs_to_outputs(technique: Technique) -> None:
    for world, model in networks(technique):
        task = world["task"]
        for count, train in ((4, True), (1, False)):
            shape, expected = (count, *task.input_shape), (count, task.outputs)
            outputs = model.train(train)(torch.rand(shape))
            assert tuple(outputs.shape) == expected, f"inputs {shape} gave outputs {tuple(outputs.shape)}, expected {expected}"
            assert torch.isfinite(outputs).all(), f"some outputs for inputs {shape} are not finite"


def gives_every_parameter_a_gradient(technique: Technique) -> None:
    for world, model in networks(technique):
        outputs = model.train()(torch.rand(4, *world["task"].input_shape))
        (outputs * torch.randn_like(outputs)).sum().backward()
        without = [name for name, p in model.named_parameters() if p.requires_grad and p.grad is None]
        assert not without, f"no gradient reaches {', '.join(without)}"


def builds_the_same_under_a_seed(technique: Technique) -> None:
    states = []
    for _ in range(2):
        torch.manual_seed(1)
        states.append([model.state_dict() for _, model in networks(technique)])
    for first, second in zip(*states, strict=True):
        assert not differing(first, second), f"built twice under one seed, these differ: {differing(first, second)}"


def networks(technique: Technique) -> list[tuple[World, nn.Module]]:
    if "task" not in technique.asks:
        raise Unavailable("it asks for no task, so what goes in and out is not known")
    return situations(technique)


# ------------------------------------------------------------------------------------------------------------------ activation


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


# ----------------------------------------------------------------------------------------------------------------- initializer


def sets_the_same_weights_under_a_seed(technique: Technique) -> None:
    states = []
    for _ in range(2):
        torch.manual_seed(1)
        states.append([world["model"].state_dict() for world, _ in situations(technique)])
    for first, second in zip(*states, strict=True):
        assert not differing(first, second), f"called twice under one seed, these differ: {differing(first, second)}"


def leaves_shapes_and_norms_alone(technique: Technique) -> None:
    before = [world["model"].state_dict() for world in WORLDS["initializer"]()]
    for old, (world, _) in zip(before, situations(technique), strict=True):
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


# ---------------------------------------------------------------------------------------------------------------- augmentation


def keeps_shape_dtype_and_range(technique: Technique) -> None:
    for name, old, new in changes(technique):
        assert new.shape == old.shape, f"{name} {tuple(old.shape)} became {tuple(new.shape)}"
        assert new.dtype == old.dtype, f"{name} of {old.dtype} became {new.dtype}"
        assert torch.isfinite(new).all(), f"some {name} are not finite"
        if old.ndim == 4:
            low, high = new.min().item(), new.max().item()
            assert low >= -1e-6 and high <= 1 + 1e-6, f"images in [0, 1] became images in [{low:g}, {high:g}]"


def keeps_the_mass_of_labels(technique: Technique) -> None:
    for world, batch in batches_made(technique):
        if "targets" in batch and "images" in world:  # the situation with classes
            mass = batch["targets"].sum(1)
            seen = f"{mass.min():g} to {mass.max():g}"
            assert torch.allclose(mass, torch.ones_like(mass), atol=1e-5), f"class probabilities sum to {seen}, expected 1"
            assert batch["targets"].min() >= 0, f"a class has the probability {batch['targets'].min():g}"


def leaves_the_given_batch_alone(technique: Technique) -> None:
    for world, _ in situations(technique):
        untouched = next(w for w in WORLDS["augmentation"]() if w.keys() == world.keys())
        assert not differing(world, untouched), f"it wrote into the given {differing(world, untouched)}"


def changes_nothing_at_strength_zero(technique: Technique) -> None:
    strengths = [name for name, p in technique.params.items() if isinstance(p.domain, Range) and p.scalar is float]
    if not strengths:
        raise Unavailable("it has no strength, a float with a range, to be set to 0")
    zeros = [dict.fromkeys(strengths, 0.0), *({name: 0.0} for name in strengths)]
    reasons = [reason for reason in (changed_by(technique, values) for values in zeros) if reason]
    assert len(reasons) < len(zeros), f"no zero of {', '.join(strengths)} turns it off: {reasons[0]}"


def changed_by(technique: Technique, values: dict[str, Any]) -> str:
    """What the augmentation changes with these values; nothing, nothing."""
    try:
        changed = [name for name, old, new in changes(technique, values) if not torch.allclose(old, new)]
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return f"it changed the {', '.join(changed)}" if changed else ""


def repeats_under_a_seed(technique: Technique) -> None:
    runs = []
    for _ in range(2):
        torch.manual_seed(1)
        runs.append([batch for _, batch in batches_made(technique)])
    for first, second in zip(*runs, strict=True):
        assert not differing(first, second), f"called twice under one seed, these differ: {differing(first, second)}"


def changes(technique: Technique, values: World | None = None) -> Iterator[tuple[str, Tensor, Tensor]]:
    """Each tensor that the augmentation returned, by name, with the one that it was given."""
    for world, batch in batches_made(technique, values):
        yield from ((name, world[name], new) for name, new in batch.items())


def batches_made(technique: Technique, values: World | None = None) -> list[tuple[World, dict[str, Tensor]]]:
    made = []
    for world, result in situations(technique, values):
        parts = result if isinstance(result, tuple) else (result,)
        assert len(parts) == len(technique.asks), f"it asks for {', '.join(technique.asks)} and returned {len(parts)} tensors"
        made.append((world, dict(zip(technique.asks, parts, strict=True))))
    return made


# ----------------------------------------------------------------------------------------------------------------- regularizer


def trains_two_finite_steps(technique: Technique) -> None:
    for world, callback in situations(technique):
        module = Tiny(world["model"])
        trainer = fit(module, [] if callback is None else [callback], accelerator="cpu", devices=1)
        assert trainer.global_step <= 2, f"two batches made {trainer.global_step} steps"
        bad = [name for name, p in module.named_parameters() if not torch.isfinite(p).all()]
        assert not bad, f"after two steps these are not finite: {', '.join(bad)}"


# ------------------------------------------------------------------------------------------------------------------------ loss


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
    if "class_counts" not in technique.asks:
        raise Unavailable("it does not ask for class_counts, so it is not for classes alone")
    for world, loss in situations(technique):
        targets = examples_of(world["task"])[1]
        compare_losses(loss, world, one_hot(targets, world["task"].outputs).float())


def compare_losses(loss: Any, world: World, targets: Tensor) -> None:
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


# ------------------------------------------------------------------------------------------------------------------- optimizer


def descends_a_bowl(technique: Technique) -> None:
    for world, optimizer in situations(technique):
        before = world["model"]().item()
        step(optimizer, world["model"], STEPS)
        getattr(optimizer, "eval", lambda: None)()
        after = world["model"]().item()
        assert after < before, f"{STEPS} steps down a bowl went from {before:g} to {after:g}"


def resumes_bit_for_bit(technique: Technique) -> None:
    (world, optimizer), (other, resumed) = (situations(technique)[0] for _ in range(2))
    step(optimizer, world["model"], 3)
    other["model"].load_state_dict(copy.deepcopy(world["model"].state_dict()))
    resumed.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    for model, each in ((world["model"], optimizer), (other["model"], resumed)):
        torch.manual_seed(1)
        step(each, model, 3)
    same = all(torch.equal(a, b) for a, b in zip(world["model"].parameters(), other["model"].parameters(), strict=True))
    assert same, "three steps from its state_dict differ from three steps without a break"


def leaves_parameters_without_gradient_alone(technique: Technique) -> None:
    for world, optimizer in situations(technique):
        before = world["model"].idle.clone()
        step(optimizer, world["model"], 3)
        assert torch.equal(world["model"].idle, before), "it changed a parameter that has no gradient"


def steps_with_a_closure(technique: Technique) -> None:
    for world, optimizer in situations(technique):
        calls: list[None] = []
        before = world["model"].weight.clone()
        returned = step(optimizer, world["model"], 1, calls.append)
        assert calls, "step(closure) did not call the closure"
        assert returned is not None, "step(closure) did not return the loss"
        step(optimizer, world["model"], world["steps_per_epoch"])
        assert not torch.equal(world["model"].weight, before), "step(closure) changed no parameter"


def step(optimizer: Optimizer, model: nn.Module, count: int, seen: Callable[[None], None] = lambda _: None) -> Any:
    def closure() -> Tensor:
        seen(None)
        optimizer.zero_grad()
        with torch.enable_grad():
            loss: Tensor = model()
            loss.backward()
        return loss

    getattr(optimizer, "train", lambda: None)()
    return [optimizer.step(closure) for _ in range(count)][-1]  # type: ignore[arg-type]


# -------------------------------------------------------------------------------------------------------------------- schedule


def gives_finite_rates_up_to_the_base_rate(technique: Technique) -> None:
    for total in (1, 2, 1000):
        shares = rates(technique, total)
        assert torch.isfinite(shares).all(), f"of {total} steps, some have a rate that is not finite"
        assert shares.min() >= 0, f"of {total} steps, one has {shares.min():g} times the base rate"
        peak = shares[:total].max().item()
        assert 0 < peak < 1 + 1e-6, f"of {total} steps, the highest has {peak:g} times the base rate"
    assert peak > 0.99, f"of {total} steps, the highest has only {peak:g} times the base rate"


def rates(technique: Technique, total: int) -> Tensor:
    """The rate at each step, and at a few beyond the end, as a share of the base rate: (steps, groups)."""
    world = next(schedule_worlds(total))
    optimizer, base, seen = world["optimizer"], [group["lr"] for group in world["optimizer"].param_groups], []
    ((_, schedule),) = situations(technique, worlds=[world])
    for _ in range(total + 3):
        seen.append([group["lr"] for group in optimizer.param_groups])
        optimizer.step()
        if isinstance(schedule, ReduceLROnPlateau):
            schedule.step(1.0)
        elif schedule is not None:
            schedule.step()
    return torch.tensor(seen, dtype=torch.float64) / torch.tensor(base, dtype=torch.float64)


# ---------------------------------------------------------------------------------------------------------------------- device


def trains_two_steps(technique: Technique) -> None:
    for world, arguments in situations(technique):
        module = Tiny(world["model"])
        trainer = fit(module, [], **arguments)
        assert trainer.global_step == 2, f"two batches made {trainer.global_step} steps"
        assert all(torch.isfinite(p).all() for p in module.parameters()), "after two steps some parameters are not finite"


# ----------------------------------------------------------------------------------------------------------------- compression


def makes_it_smaller(technique: Technique) -> None:
    for world, smaller in situations(technique):
        if packed(smaller):
            sizes = packed(world["model"]), packed(smaller)
            assert sizes[1] < sizes[0], f"the weights, packed, took {sizes[0]} bytes and now take {sizes[1]}"


def packed(model: nn.Module) -> int:
    """Bytes of the weights after general compression, which sees zeros, shared values and shorter types alike."""
    tensors = [t.detach().cpu().contiguous() for t in model.state_dict().values() if isinstance(t, Tensor)]
    return sum(len(zlib.compress(t.reshape(-1).view(torch.uint8).numpy().tobytes())) for t in tensors)


def stays_close(technique: Technique) -> None:
    for world, smaller in situations(technique):
        inputs = torch.cat([batch for batch, _ in world["batches"]])
        with torch.no_grad():
            before, after = world["model"].eval()(inputs), smaller.eval()(inputs)
        assert after.shape == before.shape, f"outputs {tuple(before.shape)} became {tuple(after.shape)}"
        assert after.dtype == before.dtype, f"outputs of {before.dtype} became {after.dtype}"
        same = (before.argmax(1) == after.argmax(1)).float().mean().item()
        assert same >= 0.8, f"only {same:.0%} of the predictions are what they were"


def leaves_the_given_model_alone(technique: Technique) -> None:
    for (world, _), untouched in zip(situations(technique), WORLDS["compression"](), strict=True):
        old, new = untouched["model"].state_dict(), world["model"].state_dict()
        assert not differing(old, new), f"it changed the given model's {differing(old, new)}"


# ----------------------------------------------------------------------------------------------- the situations that slots offer

TASKS = (
    Task("classification", (6,), 3, ("a", "b", "c")),
    Task("classification", (1, 8, 8), 3, ("a", "b", "c")),
    Task("classification", (3, 20, 16), 5),
    Task("regression", (6,), 2),
)


def examples_of(task: Task, count: int = 12) -> tuple[Tensor, Tensor]:
    """Inputs, each class told by a bright stripe, and targets; all alike at each call."""
    generator = torch.Generator().manual_seed(0)
    inputs = torch.rand(count, *task.input_shape, generator=generator) / 2
    if task.kind == "regression":
        return inputs, torch.randn(count, task.outputs, generator=generator)
    targets = torch.arange(count) % task.outputs
    inputs[torch.arange(count), ..., targets] += 0.5
    return inputs, targets


def network() -> nn.Module:
    """A small image classifier with norm layers that are no longer as they were made."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = nn.Sequential(
            nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(512, 32), nn.LayerNorm(32), nn.ReLU(),
            nn.Linear(32, 3),
        )  # fmt: skip
        for norm in (model[1], model[5]):
            nn.init.uniform_(norm.weight, 0.5, 1.5)  # type: ignore[arg-type]
    return model


class Bowl(nn.Module):
    """A quadratic with its minimum at 1, and a parameter that has no part in it."""

    def __init__(self) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.zeros(4, 3)), nn.Parameter(torch.zeros(3))
        self.idle = nn.Parameter(torch.ones(2, 2))

    def forward(self) -> Tensor:
        curvature = torch.linspace(0.1, 1.0, 12).view(4, 3)
        return (curvature * (self.weight - 1) ** 2).sum() + ((self.bias - 1) ** 2).sum()


class Tiny(L.LightningModule):
    """A classifier that logs what a regularizer may follow."""

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model

    def training_step(self, batch: tuple[Tensor, Tensor], _: int) -> Tensor:
        return cross_entropy(self.model(batch[0]), batch[1])

    def validation_step(self, batch: tuple[Tensor, Tensor], _: int) -> None:
        self.log("val_loss", cross_entropy(self.model(batch[0]), batch[1]))

    def configure_optimizers(self) -> Optimizer:
        return SGD(self.parameters(), lr=0.01)


def fit(module: L.LightningModule, callbacks: list[L.Callback], **arguments: Any) -> L.Trainer:
    """Two training batches and a validation batch by a real Trainer."""
    off: dict[str, Any] = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False)
    trainer = L.Trainer(**off, max_epochs=1, num_sanity_val_steps=0, callbacks=callbacks, **arguments)
    loaders: list[Any] = [DataLoader([examples_of(TASKS[1])] * count, batch_size=None) for count in (2, 1)]  # type: ignore[arg-type]
    trainer.fit(module, *loaders)
    return trainer


def loss_worlds() -> Iterator[World]:
    for task in TASKS:
        classes = task.kind == "classification"
        counts = {"class_counts": torch.bincount(examples_of(task)[1])} if classes else {}
        yield {"task": task, "own": cross_entropy if classes else mse_loss, **counts}


def augmentation_worlds() -> Iterator[World]:
    inputs, classes = examples_of(TASKS[1])
    yield {"images": inputs, "inputs": inputs, "targets": one_hot(classes, 3).float()}
    table, values = examples_of(TASKS[3])
    yield {"inputs": table, "targets": values}


def optimizer_worlds() -> Iterator[World]:
    model = Bowl()
    groups = [{"params": [model.weight, model.idle]}, {"params": [model.bias], "weight_decay": 0.0}]
    own = SGD(model.parameters(), lr=0.01)
    yield {"params": groups, "model": model, "total_steps": STEPS, "steps_per_epoch": 10, "own": own}


def schedule_worlds(total: int = 1000) -> Iterator[World]:
    parameters = [nn.Parameter(torch.ones(2)) for _ in range(2)]
    for parameter in parameters:
        parameter.grad = torch.zeros(2)
    optimizer = SGD([{"params": [p], "lr": lr} for p, lr in zip(parameters, (0.1, 0.3), strict=True)])
    yield {"optimizer": optimizer, "total_steps": total, "steps_per_epoch": min(10, total), "own": StepLR(optimizer, total)}


def compression_worlds() -> Iterator[World]:
    inputs, targets = examples_of(TASKS[1], 48)
    batches = list(zip(inputs.split(16), targets.split(16), strict=True))

    def finetune(model: nn.Module, epochs: int, loss: Callable[..., Tensor] | None = None) -> nn.Module:
        optimizer = SGD(model.train().parameters(), lr=0.05)
        for batch, classes in batches * epochs:
            optimizer.zero_grad()
            (loss or cross_entropy)(model(batch), classes).backward()
            optimizer.step()
        return model.eval()

    yield {"model": finetune(network(), 5), "batches": batches, "finetune": finetune, "build": lambda **_: network()}


WORLDS: dict[str, Callable[[], Iterable[World]]] = {
    "data": lambda: [{}],
    "model": lambda: [{"task": task} for task in TASKS],
    "activation": lambda: [{}],
    "initializer": lambda: [{"model": network(), "batch": examples_of(TASKS[1])}],
    "augmentation": augmentation_worlds,
    "regularizer": lambda: [{"model": network(), "total_steps": 2, "objective": "val_loss"}],
    "loss": loss_worlds,
    "optimizer": optimizer_worlds,
    "schedule": schedule_worlds,
    "device": lambda: [{"model": network()}],
    "compression": compression_worlds,
}
Check = Callable[[Technique], None]
GENERAL: tuple[Check, ...] = (
    reads_without_importing,
    names_its_source,
    asks_for_what_is_offered,
    has_defaults_in_their_domains,
    builds_at_the_ends_of_its_domains,
)
OF_SLOT: dict[str, tuple[Check, ...]] = {
    "data": (gives_sound_inputs, gives_sound_targets, gives_separate_splits),
    "model": (maps_inputs_to_outputs, gives_every_parameter_a_gradient, builds_the_same_under_a_seed),
    "activation": (keeps_the_shape, is_new_each_time),
    "initializer": (sets_the_same_weights_under_a_seed, leaves_shapes_and_norms_alone),
    "augmentation": (
        keeps_shape_dtype_and_range,
        keeps_the_mass_of_labels,
        leaves_the_given_batch_alone,
        changes_nothing_at_strength_zero,
        repeats_under_a_seed,
    ),
    "regularizer": (trains_two_finite_steps,),
    "loss": (is_lower_for_better_outputs, takes_class_probabilities),
    "optimizer": (descends_a_bowl, resumes_bit_for_bit, leaves_parameters_without_gradient_alone, steps_with_a_closure),
    "schedule": (gives_finite_rates_up_to_the_base_rate,),
    "device": (trains_two_steps,),
    "compression": (makes_it_smaller, stays_close, leaves_the_given_model_alone),
}
