"""What differs between two studies, or between the sources and the versions of their techniques."""

from collections.abc import Iterator, Mapping
from typing import Any

from autoopt.config import Tree, flat, technique_of
from autoopt.grammar import spell_node
from autoopt.slots import SLOTS


def altered(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """The keys of both whose digests or versions differ."""
    return [key for key, value in now.items() if before.get(key, value) != value]


def versions(tree: Tree) -> Iterator[tuple[str, str]]:
    """Each technique of a tree, as `slot/name`, with its distribution and version, or else its import path."""
    for slot in SLOTS:
        for name, node in tree[slot].items():
            technique = technique_of(slot, name, node)
            yield f"{slot}/{name}", technique.owner or technique.path


def differences(before: Tree, now: Tree) -> Iterator[str]:
    """A line for each slot whose techniques changed, and for each value that changed of the other techniques."""
    for slot in SLOTS:
        if list(before[slot]) != list(now[slot]):
            yield f"{slot}={','.join(before[slot]) or 'none'}, now {','.join(now[slot]) or 'none'}"
    old, new = flat(before), flat(now)
    for key in sorted(old.keys() | new.keys()):
        slot, _, rest = key.partition(".")
        stays = slot not in SLOTS or before[slot].keys() & now[slot].keys() & {rest.partition(".")[0]}
        if stays and old.get(key) != new.get(key):
            yield f"{key}={spelled(old, key)}, now {spelled(new, key)}"


def spelled(settings: Mapping[str, Any], key: str, absent: str = "nothing") -> str:
    """A value as the command line spells it, or a word for one that is not there."""
    return spell_node(settings[key]) if key in settings else absent
