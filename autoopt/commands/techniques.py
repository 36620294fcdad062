"""The techniques that the words of `autoopt plugins` name."""

from collections.abc import Sequence

from autoopt.errors import BadInput, nearest
from autoopt.slots import PLUGGABLE
from autoopt.technique import Technique, find


def slot_of(name: str) -> str:
    """The name, checked; raises BadInput if there is no such slot or plug-point."""
    if name not in PLUGGABLE:
        raise BadInput(f"No slot named '{name}'. {nearest(name, PLUGGABLE)}")
    return name


def single_technique(words: Sequence[str]) -> Technique:
    """The technique that a single word `SLOT/NAME` names; raises BadInput if there is none."""
    if len(words) != 1 or "/" not in words[0]:
        raise BadInput("plugins show: name a technique, such as optimizer/adamw")
    slot, _, name = words[0].partition("/")
    return find(slot_of(slot), name)
