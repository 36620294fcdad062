"""The composed tree, and the ways to walk it."""

from collections.abc import Mapping
from typing import Any

from autoopt.arguments import FROM
from autoopt.config.settings import SETTINGS
from autoopt.slots import SLOTS
from autoopt.technique import LIVE, Technique, find

Tree = dict[str, Any]


def flat(node: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Every value of a tree by its dotted key."""
    found: dict[str, Any] = {}
    for key, value in node.items():
        found |= flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return found


def technique_of(slot: str, name: str, node: Mapping[str, Any]) -> Technique:
    """The technique behind a node of the tree."""
    return find(slot, str(node.get(FROM, name)))


def selected(tree: Tree, slot: str) -> dict[str, dict[str, Any]]:
    """The techniques that are selected for a slot or a plug-point, each with its node, without the settings beside them."""
    return {name: node for name, node in tree[slot].items() if f"{slot}.{name}" not in SETTINGS}


def plugged(tree: Tree, point: str) -> tuple[Technique, dict[str, Any]]:
    """The technique at a plug-point, with the values of its arguments."""
    ((name, node),) = selected(tree, point).items()
    return technique_of(point, name, node), {key: value for key, value in node.items() if key != FROM}


def is_live(tree: Tree) -> bool:
    """Whether the tree names an object of this process, which only a fork of the process can use."""
    named = [node.get(FROM) for slot in SLOTS for node in tree[slot].values()]
    return any(path in LIVE for path in [*named, *(tree["trainer"]["callbacks"] or "").split()])
