"""What is wrong with a composed tree: every problem, a line each."""

import re
from collections.abc import Iterator
from contextlib import suppress
from types import NoneType
from typing import Any, NamedTuple, get_args

from omegaconf import MISSING

from autoopt import grammar
from autoopt.config.overrides import Overrides
from autoopt.config.settings import AT_LEAST, DURATION, ONE_OF, RELATIVE, SEARCHED, SETTINGS, seconds
from autoopt.config.tree import FROM, Tree, selected, technique_of
from autoopt.domain import Choice, Range
from autoopt.errors import nearest
from autoopt.slots import PLUGGABLE, SLOTS
from autoopt.technique import Param, available


class Position(NamedTuple):
    """Where a value stands in the tree, and what may stand there."""

    key: str
    node: dict[str, Any]
    last: str
    param: Param
    searched: bool


def positions(tree: Tree) -> Iterator[Position]:
    """Every value of the tree."""
    for slot in PLUGGABLE:
        for name, node in selected(tree, slot).items():
            params = {"use": Param("use", bool), **technique_of(slot, name, node).params}
            for key in (k for k in node if k != FROM):
                yield Position(f"{slot}.{name}.{key}", node, key, params[key], not PLUGGABLE[slot].fixed)
    for key, (kind, _) in SETTINGS.items():
        head, _, tail = key.rpartition(".")
        yield Position(key, tree[head] if head else tree, tail, Param(key, kind), key in SEARCHED)


def typed_pins(tree: Tree) -> Tree:
    """The tree with its pins in their arguments' types; what is of another type stays as it is said, for `wrong_values`."""
    for place in positions(tree):
        said = place.node[place.last]
        if not grammar.is_sweep(said) and said != MISSING:
            with suppress(ValueError):
                number = isinstance(said, str) and place.param.scalar in (int, float)  # YAML takes 1e-3 for a text
                place.node[place.last] = place.param.accept(float(said) if number else said)
    return tree


def unknown_keys(overrides: Overrides, tree: Tree) -> Iterator[str]:
    """A line for each argument that no selected technique has, with the nearest one."""
    for key in overrides.values:
        if key in SETTINGS:
            continue
        slot, name, argument = key.split(".")
        if slot in overrides.said - overrides.groups.keys():
            continue  # what was to fill it is a problem already
        nodes = selected(tree, slot)
        if name not in nodes:
            yield f"{key}: {slot}={name} is not selected. Selected: {', '.join(nodes) or 'none'}."
        elif argument not in (known := [k for k in nodes[name] if k != FROM]):
            yield f"No {slot}.{name} argument named '{argument}'. {nearest(argument, known)}"


def wrong_values(tree: Tree) -> Iterator[str]:
    """A line for each value of the wrong type or out of what can be."""
    for place in positions(tree):
        said = place.node[place.last]
        if said == MISSING:
            yield f"{place.key} is missing: say {place.key}=…"
        else:
            yield from (f"{place.key}={said if isinstance(said, str) else grammar.spell(said)}: {problem}" for problem in problems(place))
    yield from wrong_settings(tree)


def problems(place: Position) -> Iterator[str]:
    """What is wrong with one value."""
    param = place.param
    try:
        meant = grammar.interpret(place.node[place.last])
    except ValueError as error:
        yield str(error)
        return
    if isinstance(meant, Range | Choice) and not place.searched:
        yield "a setting is not searched; give one value"
    elif isinstance(meant, Range) and param.scalar not in (int, float, None):
        yield f"expected {param.scalar.__name__}, got a range of numbers"
    else:
        yield from (problem for one in judged_values(meant) if (problem := wrong(one, place)))


def judged_values(meant: grammar.Value) -> Iterator[Any]:
    """The values by which a pin, a choice or a range can be judged."""
    match meant:
        case Choice():
            yield from meant.options
        case Range():
            yield from (meant.low, meant.high, *(() if meant.step is None else (meant.step,)))
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
        return str(error)
    if place.key in ONE_OF and value not in ONE_OF[place.key]:
        return f"expected {' or '.join('null' if word is None else word for word in ONE_OF[place.key])}"
    least = AT_LEAST.get(place.key)
    return f"expected {least} or more" if least is not None and accepted is not None and accepted < least else ""


def optional(param: Param) -> bool:
    """Whether an argument may be None: it says so in its type, its default or its choice, or says no type."""
    options = param.domain.options if isinstance(param.domain, Choice) else ()
    return param.scalar is None or param.default is None or None in options or NoneType in get_args(param.type)


def wrong_settings(tree: Tree) -> Iterator[str]:
    """What types alone do not tell."""
    if tree["direction"] not in (None, "maximize", "minimize"):
        yield f"direction={tree['direction']}: expected maximize or minimize"
    if isinstance(share := tree["executor"]["gpus_per_trial"], float) and share <= 0:
        yield f"executor.gpus_per_trial={share}: expected more than 0"
    for key in ("study.time", "executor.trial_time"):
        head, _, tail = key.partition(".")
        try:
            if seconds(tree[head][tail]) == 0:
                raise ValueError(DURATION)
        except ValueError as error:
            yield f"{key}={tree[head][tail]}: {error}"
    if isinstance(name := tree["name"], str) and not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", name):
        yield f"name={name}: expected at most 64 letters, digits, '.', '_' or '-', the first a letter or digit"
    shares = [tree["split"][part] for part in ("validation", "test")]
    if all(isinstance(s, int | float) for s in shares) and not (all(0 < s < 1 for s in shares) and sum(shares) < 1):
        yield f"split.validation={shares[0]}, split.test={shares[1]}: expected shares above 0 that leave some for training"
    for slot, about in PLUGGABLE.items():
        nodes = selected(tree, slot)
        if not about.many and not nodes and not filled(tree, slot):
            yield f"{slot}=: nothing is selected; give one of {', '.join(available(slot))}"
        if about.fixed and len(nodes) > 1:
            yield f"{slot}={','.join(nodes)}: all trials have the same {slot}; give one"
        always = [n for n, node in nodes.items() if node.get("use") is True and technique_of(slot, n, node).acts.last]
        if len(always) > 1:
            yield f"{slot}=[{','.join(always)}]: each of these has to act last; give one of them, or say {slot}={','.join(always)}"


def filled(tree: Tree, slot: str) -> bool:
    """Whether the techniques of another slot take this one over, whichever is drawn."""
    return any(
        tree[s] and all(technique_of(s, name, node).acts.fills == slot and node.get("use", True) is True for name, node in tree[s].items())
        for s in SLOTS
    )
