"""A study that goes on from another one (`study.from`): what it takes over, and what has changed."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from autoopt.config import Tree
from autoopt.errors import BadInput
from autoopt.space import Space
from autoopt.study.folder import SETTLED, Folder, contents, differences
from autoopt.study.record import Record
from autoopt.study.sampling import Sampling, Values
from autoopt.study.stages import SEARCH
from autoopt.study.stored import Stored, open_stored
from autoopt.study.study import Study

TRIED_FIRST = 3
"""So many of the best recipes are tried first where the trials themselves cannot be taken over."""
SAME = ("data", "split", "objective", "direction", "metrics")
"""Settings in which studies are equal, or their scores cannot be compared."""


def predecessor(tree: Tree, folder: Folder, facts: Mapping[str, Any]) -> Stored | None:
    """The study that `study.from` names, if it names one.

    Raises:
        BadInput: there is none, or its scores cannot be compared with those of this study.
    """
    name = tree["study"]["from"]
    if name is None:
        return None
    if name == folder.name:
        raise BadInput(f"study.from={name} is this study itself: give the successor another name=")
    old = open_stored(name, str(folder.path.parent))
    locked = contents(old.path / "space.yaml", SETTLED)
    before, now = locked["identity"], folder.identity
    if changed := next((key for key in SAME if before[key] != now[key]), None):
        raise BadInput(f"study.from={name}: its scores cannot be compared, because its {changed} was {before[changed]}, not {now[changed]}")
    if locked["examples"] != facts["examples"]:
        raise BadInput(f"study.from={name}: its scores cannot be compared, because its data were others")
    if edited := [key for key, digits in facts["sources"].items() if locked["sources"].get(key, digits) != digits]:
        raise BadInput(f"study.from={name}: its scores cannot be compared, because the file of {', '.join(edited)} has changed")
    return old


def take_over(study: Study, old: Stored, sampling: Sampling) -> list[Values]:
    """Take the trials of an earlier study over that lie in the space, unless this one has trials of its own.

    Returns:
        the recipes to try first, where the trials cannot be taken over because they were trained for fewer or more epochs.
    """
    identity = contents(old.path / "space.yaml", SETTLED)["identity"]
    alike = identity["study"] == study.folder.identity["study"]
    inside = list(lying_in(study.space.trained(), [r for r in old.records[SEARCH.name] if r.state != "failed" or r.blame == "recipe"]))
    if not study.journal.trials(SEARCH) and alike:
        first = study.baseline or study.space.trained().baseline()
        known = [row for row in inside if row[0].point == first and row[0].state == "complete"][:1]
        if not known:
            sampling.begin_baseline()
        for record, values in [*known, *(row for row in inside if row[0].point != first)]:
            sampling.take(record, values, f"{old.name}/{record.key}")
    tell(study, old, alike, len(inside), list(differences(identity, study.folder.identity)))
    if alike:
        return []
    values_of = {record.key: values for record, values in inside}
    return [values_of[record.key] for record in study.goal.rank([record for record, _ in inside])[:TRIED_FIRST]]


def lying_in(space: Space, records: Sequence[Record]) -> Iterator[tuple[Record, Values]]:
    """The records whose recipes lie in a space, with their values."""
    for record in records:
        try:
            yield record, space.values_of(record.point)
        except ValueError:
            continue


def tell(study: Study, old: Stored, alike: bool, inside: int, changes: Sequence[str]) -> None:
    """Say what is taken over, and what has changed since."""
    say, total = study.runner.screen.say, len(old.records[SEARCH.name])
    how = "are taken over" if alike else f"lie in the space, but were trained for other epochs: the best {TRIED_FIRST} are tried first"
    say(f"{old.name}: {inside} of {total} trials {how}")
    for change in changes:
        say(f"  {old.name} had {change}")
