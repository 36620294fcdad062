"""`autoopt plugins check`: the techniques that its words name, and their contract."""

import inspect
from collections import Counter
from collections.abc import Sequence
from typing import Any

from autoopt.arguments import return_type
from autoopt.commands.techniques import single_technique, slot_of
from autoopt.errors import BadInput, nearest
from autoopt.namesakes import why_not
from autoopt.prose import print_prose
from autoopt.slots import PLUGGABLE
from autoopt.technique import Technique, catalogue, find, is_path, of_slot, readable, resolve

LOOSE = {"collections.abc:Callable", None}
"""Return types that fit too many objects to tell the slot."""


def run_check(words: Sequence[str]) -> int:
    """Run the contract; 0 where everything passes, else 1."""
    from autoopt.testing import check as contract  # imports torch, which the other sub-commands do not need
    from autoopt.testing import checks, state

    states = Counter[str]()
    for technique in [t for word in words for t in techniques_named(word)] if words else readable(sorted(catalogue())):
        if isinstance(technique, BadInput):
            states["failed"] += 1
            print_prose(f"failed   {technique}")
            continue
        findings = contract(technique)
        states[result := state(technique, findings)] += 1
        print(f"{result:<8} {technique.slot}/{technique.name}")
        for finding in findings:
            print_prose(f"         {finding.check}: {'left out, ' if finding.skipped else ''}{finding.reason}")
        if result == "failed":
            print(f"         the other {len(checks(technique)) - len(findings)} checks passed")
    print(f"{states['ok'] + states['failed']} checked, {states['failed']} failed, {states['skipped']} skipped")
    return 1 if states["failed"] else 0


def slot_of_path(path: str) -> str:
    """The slot that an object fits by its return type and the names that it asks for.

    Raises:
        BadInput: it cannot be imported, no slot fits, or more than one.
    """
    builder = loaded(path)
    returned = return_type(builder)

    def fits(slot: str, *kinds: str | None) -> bool:
        return any(is_kind(returned, kind) for kind in kinds) and set(find(slot, path).asks) <= set(PLUGGABLE[slot].offers)

    slots = [name for name, slot in PLUGGABLE.items() if fits(name, *(k for k in slot.returns if k not in LOOSE))]
    slots = slots or [name for name, slot in PLUGGABLE.items() if fits(name, *slot.returns)]
    if not slots:
        raise BadInput(f"{path} fits no slot: {misfit(path, returned)}")
    if len(slots) > 1:
        raise BadInput(f"{path} fits {' or '.join(slots)}: name its slot: autoopt plugins check {slots[0]}={path}")
    return slots[0]


def loaded(path: str) -> Any:
    """The object at an import path, whose slot is not known yet.

    Raises:
        BadInput: it cannot be imported.
    """
    try:
        return resolve(path)
    except Exception as error:
        raise BadInput(f"{path} cannot be loaded: {why_not(error, path)}") from error


def misfit(path: str, returned: Any) -> str:
    """Why an object fits no slot: it makes nothing that a slot takes, or asks for names that the slot does not offer."""
    made = {name: kind for name, slot in PLUGGABLE.items() for kind in slot.returns if is_kind(returned, kind) and kind not in LOOSE}
    if not made:
        kinds = {name: [kind.partition(":")[2] for kind in slot.returns if kind and kind not in LOOSE] for name, slot in PLUGGABLE.items()}
        missing = returned in (None, inspect.Signature.empty)
        what = "its return annotation is missing" if missing else f"it makes a {getattr(returned, '__name__', returned)}"
        return f"{what}; {'; '.join(f'{slot} takes ' + ' or '.join(names) for slot, names in kinds.items() if names)}"
    lines = []
    for slot in made:
        unknown = [name for name in find(slot, path).asks if name not in PLUGGABLE[slot].offers]
        lines.append(f"{slot} does not offer '{', '.join(unknown)}' (it offers {', '.join(PLUGGABLE[slot].offers)})")
    return "; ".join(lines)


def is_kind(returned: Any, kind: str | None) -> bool:
    return returned is None if kind is None else isinstance(returned, type) and issubclass(returned, resolve(kind))


def techniques_named(word: str) -> list[Technique | BadInput]:
    """The techniques that a word names: `SLOT`, `SLOT/NAME`, `[SLOT=]module:object`, or a distribution; of several, a broken one's error.

    Raises:
        BadInput: there is no technique of this name.
    """
    slot, _, rest = word.rpartition("=")
    if is_path(rest):
        return [find(slot_of(slot) if slot else slot_of_path(rest), rest)]
    if "/" in word:
        return [single_technique([word])]
    if word in PLUGGABLE:
        return [*readable(of_slot(word))]
    owners = {owner.split()[0] for rows in catalogue().values() for _, owner in rows}
    if word not in owners:
        raise BadInput(f"No slot and no distribution with techniques named '{word}'. {nearest(word, [*owners, *PLUGGABLE])}")
    return [*readable(key for key, rows in sorted(catalogue().items()) if any(owner.split()[0] == word for _, owner in rows))]
