"""Checks a composed tree: a line for every problem."""

import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from itertools import combinations
from math import isfinite
from types import NoneType
from typing import Any, NamedTuple, get_args

from omegaconf import MISSING

from autoopt import grammar
from autoopt.arguments import alternatives
from autoopt.config.overrides import Overrides, is_constraint
from autoopt.config.settings import BOUNDS, CONSTRAINTS, DURATION, DURATIONS, ONE_OF, RELATIVE, SEARCHED, SETTINGS, seconds
from autoopt.config.tree import FROM, Tree, selected, technique_of
from autoopt.domain import Choice, Range
from autoopt.errors import nearest
from autoopt.slots import PLUGGABLE, SLOTS
from autoopt.technique import REQUIRED, Param, Technique, available

LEAST_TRIALS = 4
"""Trials of each option of a comparison: its defaults, and a few more."""


class Position(NamedTuple):
    """The place of a value in the tree, and the values that are allowed there."""

    key: str
    node: dict[str, Any]
    last: str
    param: Param
    searched: bool
    technique: Technique | None = None


def positions(tree: Tree) -> Iterator[Position]:
    """Every value of the tree."""
    for slot in PLUGGABLE:
        for name, node in selected(tree, slot).items():
            technique = technique_of(slot, name, node)
            for key in (k for k in node if k != FROM):
                param = Param("use", bool) if key == "use" else technique.param(key)
                yield Position(f"{slot}.{name}.{key}", node, key, param, not PLUGGABLE[slot].fixed, technique)
    for key, (kind, _) in SETTINGS.items():
        head, _, tail = key.rpartition(".")
        param = Param(key, kind, bounds=BOUNDS.get(key))
        yield Position(key, tree[head] if head else tree, tail, param, key in SEARCHED)
    for metric in tree[CONSTRAINTS]:
        yield Position(f"{CONSTRAINTS}.{metric}", tree[CONSTRAINTS], metric, Param(metric, float), False)


def typed_pins(tree: Tree) -> Tree:
    """The tree with its pins in their arguments' types; a value of another type is left for `wrong_values`."""
    for place in positions(tree):
        value = place.node[place.last]
        if not grammar.is_sweep(value) and value != MISSING:
            with suppress(ValueError):
                number = isinstance(value, str) and place.param.scalar in (int, float)  # YAML takes 1e-3 for a text
                place.node[place.last] = place.param.accept(float(value) if number else value)
    return tree


def unknown_keys(overrides: Overrides, tree: Tree) -> Iterator[str]:
    """A line for each argument that no selected technique has, with the nearest one."""
    for key in overrides.values:
        if key in SETTINGS or is_constraint(key):
            continue
        slot, name, argument = key.split(".", 2)
        if slot in overrides.said - overrides.groups.keys():
            continue  # the override of the slot is a problem already
        nodes = selected(tree, slot)
        if name not in nodes:
            yield f"{key}: {slot}={name} is not selected. Selected: {', '.join(nodes) or 'none'}."
        elif argument not in (known := [k for k in nodes[name] if k != FROM]):
            yield f"No {slot}.{name} argument named '{argument}'. {nearest(argument, known)}"


def wrong_values(tree: Tree) -> Iterator[str]:
    """A line for each value that is missing, of the wrong type or out of range."""
    explained, sound = set[str](), {key: dict(node) if isinstance(node, dict) else node for key, node in tree.items()}
    for place in positions(tree):
        node = place.node[place.last]
        if told_of_the_model(place, tree):
            continue
        if node == MISSING:
            found = [f"{place.key} is missing: give {place.key}=…{factory(place, explained)}"]
        else:
            found = [f"{place.key}={node if isinstance(node, str) else grammar.spell(node)}: {problem}" for problem in problems(place)]
        yield from found
        if found and place.key in SETTINGS:  # the checks below take it for one that is not given
            head, _, tail = place.key.rpartition(".")
            (sound[head] if head else sound)[tail] = None
    yield from wrong_settings(sound)


def told_of_the_model(place: Position, tree: Tree) -> bool:
    """Whether a value of the data is that of the model, which brings its own loaders: a problem of it is reported once."""
    slot, name = place.key.split(".")[:2] if place.technique else ("", "")
    model = tree["model"].get(name, {}) if slot == "data" else {}
    return FROM in model and model[FROM] == place.node[FROM] and model[place.last] == place.node[place.last]


def factory(place: Position, explained: set[str]) -> str:
    """The function to write where an argument may be something that no config says, once for each technique."""
    technique = place.technique
    if technique is None or technique.owner or place.param.scalar is not None or technique.path in explained:
        return ""
    explained.add(technique.path)
    module, _, name = technique.path.partition(":")
    required = ", ".join(f"{key}=…" for key, param in technique.params.items() if param.default is REQUIRED)
    return (
        f", a value or module:Name of a class or a function that makes it; or write make.py, and say {technique.slot}=make:make\n"
        f"  from {module} import {name}\n  def make() -> {name}:\n      return {name}({required})"
    )


def problems(place: Position) -> Iterator[str]:
    """The problems of one value."""
    param = place.param
    try:
        meant = grammar.interpret(place.node[place.last])
    except ValueError as error:
        yield str(error)
        return
    if isinstance(meant, Choice) and not place.searched and list in alternatives(param.type):
        yield f"a setting is not searched; give a list: '{place.key}=[{','.join(map(str, meant.options))}]'"
    elif isinstance(meant, Range | Choice) and not place.searched:
        yield "a setting is not searched; give one value"
    elif isinstance(meant, Range) and param.scalar is None and place.key in SETTINGS:
        yield "give the values to choose from, as integers and shares mean different things"
    elif isinstance(meant, Range) and param.scalar not in (int, float, None):
        yield f"expected {param.scalar.__name__}, got a range of numbers"
    else:
        if isinstance(meant, Range) and param.scalar is None:
            place = place._replace(param=replace(param, type=param.number))
        judged = [(part, place) for part in judged_values(meant)]
        if isinstance(meant, Range) and meant.step is not None:  # which what bounds a value does not bound
            judged.append((meant.step, place._replace(param=replace(place.param, bounds=None))))
        yield from (problem for part, where in judged if (problem := wrong(part, where)))


def judged_values(meant: grammar.Value) -> Iterator[Any]:
    """The single values of a pin, a choice or a range."""
    match meant:
        case Choice():
            yield from meant.options
        case Range():
            yield from (meant.low, meant.high)
        case _:
            yield meant


def wrong(value: Any, place: Position) -> str:
    if value in RELATIVE.get(place.key, ()):
        return ""
    if value is None and not optional(place.param):
        return f"expected {place.param.scalar.__name__}, got null"  # type: ignore[union-attr]
    try:
        accepted = place.param.accept(value)
    except ValueError as error:
        if not (place.searched and isinstance(value, list) and len(value) == 2):
            return str(error)
        low, high = value
        return f"{error}; give interval({low}, {high}) for a range, or {low},{high} for these two"
    if isinstance(accepted, float) and not isfinite(accepted):
        return f"expected a finite number, got {accepted}"
    if place.key in ONE_OF and accepted not in ONE_OF[place.key]:
        return f"expected {' or '.join(word if isinstance(word, str) else grammar.spell(word) for word in ONE_OF[place.key])}"
    if place.param.scalar is None and place.key in SETTINGS and type(value) not in (kinds := get_args(place.param.type)):
        return f"expected {' or '.join(kind.__name__ for kind in kinds if kind is not NoneType)}, got {value!r}"
    return place.param.refusal(accepted)


def optional(param: Param) -> bool:
    """Whether an argument may be None: its type, its default or its choice allows it, or it has no type."""
    options = param.domain.options if isinstance(param.domain, Choice) else ()
    return param.scalar is None or param.default is None or None in options or NoneType in get_args(param.type)


def wrong_settings(tree: Tree) -> Iterator[str]:
    """The problems that types alone do not show."""
    yield from wrong_objectives(tree)
    if isinstance(share := tree["executor"]["gpus_per_trial"], float) and share <= 0:
        yield f"executor.gpus_per_trial={share}: expected more than 0"
    for key in DURATIONS:
        head, _, tail = key.partition(".")
        try:
            if seconds(tree[head][tail]) == 0:
                raise ValueError(DURATION)
        except ValueError as error:
            yield f"{key}={tree[head][tail]}: {error}"
    if isinstance(name := tree["name"], str) and not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", name):
        yield f"name={name}: expected at most 64 letters, digits, '.', '_' or '-', the first a letter or digit"
    if tree["root"] == "":
        yield "root=: expected a folder; root=. is the working directory"
    shares = [tree["split"][part] for part in ("validation", "test")]
    if all(isinstance(s, int | float) for s in shares) and not (all(0 < s < 1 for s in shares) and sum(shares) < 1):
        yield f"split.validation={shares[0]}, split.test={shares[1]}: expected shares above 0 that leave some for training"
    yield from wrong_trainer(tree)
    yield from wrong_comparison(tree)
    for slot, about in PLUGGABLE.items():
        nodes = selected(tree, slot)
        if not about.many and not nodes and not filled(tree, slot):
            yield f"{slot}=: nothing is selected; give one of {', '.join(available(slot))}"
        if about.fixed and len(nodes) > 1:
            yield f"{slot}={','.join(nodes)}: all trials have the same {slot}; give one"
        always = {n: technique_of(slot, n, node).acts for n, node in nodes.items() if node.get("use") is True}
        for (one, acts), (other, others) in combinations(always.items(), 2):
            if reason := acts.clash(others):
                yield f"{slot}=[{one},{other}]: {reason}; give one of them, or search them: {slot}={one},{other}"


def wrong_objectives(tree: Tree) -> Iterator[str]:
    """Objectives that are named twice, and directions that are none, or not one for each objective."""
    objectives, directions = ((tree[key] or "").split() for key in ("objective", "direction"))
    if any(word not in ("maximize", "minimize") for word in directions):
        yield f"direction={tree['direction']}: expected maximize or minimize"
    elif directions and len(directions) != max(1, len(objectives)):
        yield f"direction={tree['direction']}: expected one for each objective, and {len(objectives) or 'none'} is named"
    if len({*objectives}) < len(objectives):
        yield f"objective={tree['objective']}: each objective once"


def wrong_trainer(tree: Tree) -> Iterator[str]:
    """Settings of the Trainer that another setting makes already."""
    accumulate, precision = tree["trainer"]["accumulate_grad_batches"], tree["trainer"]["precision"]
    if accumulate is not None and tree["batches"]["accumulate"] not in (None, 1):
        yield f"trainer.accumulate_grad_batches={accumulate} and batches.accumulate={tree['batches']['accumulate']}: give one of them"
    for name, node in selected(tree, "device").items():
        if precision is not None and "precision" in node:
            yield f"trainer.precision={precision}: device={name} has a precision of its own; give device.{name}.precision=…"


def wrong_comparison(tree: Tree) -> Iterator[str]:
    """What keeps the options of a slot from being compared."""
    slot, trials = tree["study"]["compare"], tree["study"]["trials"]
    if slot is None:
        return
    said = f"study.compare={slot}"
    if slot not in SLOTS:
        yield f"{said}: no slot of this name. {nearest(slot, SLOTS)}"
        return
    if slot == "compression" or selected(tree, "compression"):
        yield f"{said}: what is compared is the training; give compression=none, and compress the best of it in another study"
        return
    if len((tree["objective"] or "").split()) > 1:
        yield f"{said}: options are compared in one objective; give one of {', '.join(tree['objective'].split())}"
    for name in ("start", "from", "memory"):
        if given := tree["study"][name]:
            yield f"{said}: every option begins at its defaults; leave study.{name}={grammar.spell(given)} out"
    nodes = selected(tree, slot)
    names = [name for name, node in nodes.items() if not SLOTS[slot].many or grammar.is_sweep(node["use"])]
    sure = [name for name in names if "own" not in technique_of(slot, name, nodes[name]).asks]  # only a user's module has its own
    if len(names) + SLOTS[slot].many < 2:
        yield f"{said}: {slot}={','.join(nodes) or 'none'} leaves nothing to compare; give two options or more"
    elif isinstance(trials, int) and (problem := too_few_trials(trials, len(sure) + SLOTS[slot].many)):
        yield f"{said}: {problem}"


def too_few_trials(trials: int, options: int) -> str:
    """Why the options of a comparison cannot be tuned, if they cannot."""
    if trials >= LEAST_TRIALS * options:
        return ""
    each = f"{trials // options} of {trials} trials each for {options} options are too few to tune them"
    return f"{each}; give study.trials={LEAST_TRIALS * options} or more, or fewer options"


def filled(tree: Tree, slot: str) -> bool:
    """Whether every technique of another slot takes this slot over."""
    return any(
        tree[s] and all(technique_of(s, name, node).acts.fills == slot and node.get("use", True) is True for name, node in tree[s].items())
        for s in SLOTS
    )
