"""What is wrong with a composed tree: every problem, a line each."""

import re
from collections.abc import Iterator
from typing import Any

from omegaconf import MISSING

from autoopt import grammar
from autoopt.config.overrides import GROUPS, Overrides
from autoopt.config.settings import AT_LEAST, SEARCHED, SETTINGS, seconds
from autoopt.config.tree import FROM, Tree, leaves, technique_of
from autoopt.domain import Choice, Range
from autoopt.errors import nearest
from autoopt.slots import SLOTS
from autoopt.technique import Param, available


def unknown_keys(overrides: Overrides, tree: Tree) -> Iterator[str]:
    """A line for each key that the tree does not have, with the nearest one."""
    keys = list(leaves(tree))
    for key in overrides.values:
        if key in keys:
            continue
        parts = key.split(".")
        if parts[0] in SLOTS and len(parts) > 1 and parts[1] not in tree[parts[0]]:
            yield f"{key}: {parts[0]}={parts[1]} is not selected. Selected: {', '.join(tree[parts[0]]) or 'none'}."
        elif parts[0] in SLOTS and len(parts) == 3:
            yield f"No {'.'.join(parts[:2])} argument named '{parts[2]}'. {nearest(parts[2], tree[parts[0]][parts[1]])}"
        else:
            beside = [k for k in keys if k.split(".")[0] == parts[0] and k.split(".")[0] not in SLOTS]
            yield f"No setting named '{key}'. {nearest(key, beside or [*GROUPS, *SETTINGS])}"


def wrong_values(tree: Tree) -> Iterator[str]:
    """A line for each value of the wrong type or out of what can be."""
    for slot in SLOTS:
        for name, node in tree[slot].items():
            technique = technique_of(slot, name, node)
            for key, value in node.items():
                if key != FROM:
                    param = Param("use", bool) if key == "use" else technique.params[key]
                    yield from wrong_value(f"{slot}.{name}.{key}", value, param, searchable=True)
    for key, (kind, _) in SETTINGS.items():
        head, _, tail = key.partition(".")
        yield from wrong_value(key, tree[head][tail] if tail else tree[head], Param(key, kind), searchable=key in SEARCHED)
    yield from wrong_settings(tree)


def wrong_value(key: str, value: Any, param: Param, searchable: bool) -> Iterator[str]:
    if value == MISSING:
        yield f"{key} is missing: say {key}=…"
        return
    try:
        meant = grammar.read(value)
    except ValueError as error:
        yield f"{key}={value}: {error}"
        return
    if isinstance(meant, Range | Choice) and not searchable:
        yield f"{key}={value}: a setting is not searched; give one value"
        return
    if isinstance(meant, Range) and param.scalar not in (int, float, None):
        yield f"{key}={value}: expected {param.scalar.__name__}, got a range of numbers"
        return
    low_high = (meant.low, meant.high) if isinstance(meant, Range) else None
    for one in meant.options if isinstance(meant, Choice) else low_high or (meant,):
        try:
            if (least := AT_LEAST.get(key)) is not None and isinstance(param.accept(one), int) and one < least:  # type: ignore[operator]
                yield f"{key}={value}: expected {least} or more"
            param.accept(one)
        except ValueError as error:
            yield f"{key}={value}: {error}"


def wrong_settings(tree: Tree) -> Iterator[str]:
    """What types alone do not tell."""
    if tree["direction"] not in (None, "maximize", "minimize"):
        yield f"direction={tree['direction']}: expected maximize or minimize"
    for key in ("study.time", "executor.trial_time"):
        head, _, tail = key.partition(".")
        try:
            seconds(tree[head][tail])
        except ValueError as error:
            yield f"{key}={tree[head][tail]}: {error}"
    if isinstance(name := tree["name"], str) and not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", name):
        yield f"name={name}: expected at most 64 letters, digits, '.', '_' or '-', the first a letter or digit"
    shares = [tree["split"][part] for part in ("validation", "test")]
    if all(isinstance(s, int | float) for s in shares) and not (all(0 < s < 1 for s in shares) and sum(shares) < 1):
        yield f"split.validation={shares[0]}, split.test={shares[1]}: expected shares above 0 that leave some for training"
    for slot in SLOTS:
        if not SLOTS[slot].many and not tree[slot] and not filled(tree, slot):
            yield f"{slot}=: nothing is selected; the slot needs one of {', '.join(available(slot))}"
    for slot in ("data",):
        if len(tree[slot]) > 1:
            yield f"{slot}={','.join(tree[slot])}: a study has one data set; give one"


def filled(tree: Tree, slot: str) -> bool:
    """Whether a technique of another slot takes this one over."""
    return any(technique_of(s, name, node).acts.fills == slot for s in SLOTS for name, node in tree[s].items())
