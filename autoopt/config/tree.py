"""The composed tree, and the ways to walk it."""

from collections.abc import Iterator, Mapping
from typing import Any

from autoopt.technique import Technique, find

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
