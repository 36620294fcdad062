"""The composed tree, and the ways to walk it."""

from collections.abc import Iterator, Mapping
from typing import Any

from autoopt.slots import SLOTS
from autoopt.technique import LIVE, Technique, find

Tree = dict[str, Any]
FROM = "from"
"""Where an import path stands in the tree: a word of Python's own, so that no argument can have this name."""


def leaves(node: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for key, value in node.items():
        if isinstance(value, dict):
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}"


def technique_of(slot: str, name: str, node: Mapping[str, Any]) -> Technique:
    """The technique behind a node of the tree."""
    return find(slot, str(node.get(FROM, name)))


def is_live(tree: Tree) -> bool:
    """Whether it names an object of this process, which only a fork of it has too."""
    return any(node.get(FROM) in LIVE for slot in SLOTS for node in tree[slot].values())
