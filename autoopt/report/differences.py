"""What differs between two recipes, in words."""

from collections.abc import Iterator, Mapping
from typing import Any

from autoopt import grammar
from autoopt.config import FROM
from autoopt.recipe import SETTING_GROUPS, Recipe
from autoopt.slots import SLOTS

SILENT = (FROM, "use")
"""What a technique's node holds beside its values."""


def recipe_differences(ours: Recipe, theirs: Recipe) -> str:
    """What the first recipe has other than the second: `optimizer sgd (lr=0.1) instead of adamw (lr=0.001), batches.size=32 (64)`."""
    found = [words for slot in SLOTS for words in of_slot(slot, ours.tree[slot], theirs.tree[slot])]
    for group in SETTING_GROUPS:
        found += changed(f"{group}.", ours.tree.get(group, {}), theirs.tree.get(group, {}))
    return ", ".join(found) or "the same recipe"


def of_slot(slot: str, ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> Iterator[str]:
    """The techniques that only one side has, and the other values of those that both have."""
    added, left_out = ([named(name, side[name]) for name in side if name not in other] for side, other in ((ours, theirs), (theirs, ours)))
    if added and left_out:
        yield f"{slot} {' and '.join(added)} instead of {' and '.join(left_out)}"
    elif added:
        yield f"{slot} {' and '.join(added)}"
    elif left_out:
        yield f"no {slot} {' and '.join(left_out)}"
    for name in ours:
        if name in theirs:
            yield from changed(f"{slot}.{name}.", ours[name], theirs[name])


def named(name: str, values: Mapping[str, Any]) -> str:
    """A technique with its values: `adamw (lr=0.001, beta1=0.9)`."""
    shown = ", ".join(f"{key}={brief(value)}" for key, value in values.items() if key not in SILENT)
    return f"{name} ({shown})" if shown else name


def changed(prefix: str, ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> list[str]:
    """The values of one side that differ, each with that of the other."""
    keys = [key for key in ours if key not in SILENT and ours[key] != theirs.get(key)]
    return [f"{prefix}{key}={shown(prefix + key, ours[key])} instead of {shown(prefix + key, theirs.get(key))}" for key in keys]


def shown(key: str, value: Any) -> str:
    """A value, or whose it is where the config leaves it to the data."""
    return "that of the data" if (key, value) == ("batches.size", None) else brief(value)


def brief(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else grammar.spell(value)
