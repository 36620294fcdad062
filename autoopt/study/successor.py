"""A study that goes on from another one (`study.from`): what it takes over, and what has changed."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from autoopt.config import Tree
from autoopt.errors import BadInput
from autoopt.goal import Goal
from autoopt.records.differences import altered, differences, spelled, versions
from autoopt.records.folder import FORMAT, SETTLED, Folder, contents
from autoopt.records.record import Record
from autoopt.records.stages import SEARCH
from autoopt.records.stored import Stored, open_stored
from autoopt.space import Space
from autoopt.study.sampling import Sampling, Values
from autoopt.study.study import Study

TRIED_FIRST = 3
"""So many of the best recipes are tried first where the trials themselves cannot be taken over."""
SAME = ("data", "split", "objective", "direction", "metrics")
"""Settings in which studies are equal, or their scores cannot be compared."""
LOCKED = (*SETTLED, "format", "examples", "sources", "techniques")


def predecessor(tree: Tree, folder: Folder, facts: Mapping[str, Any]) -> Stored | None:
    """The study that `study.from` names, if it names one.

    Raises:
        BadInput: there is none, or its scores cannot be compared with those of this study.
    """
    name = tree["study"]["from"]
    if name is None:
        return None
    old = open_stored(name, str(folder.path.parent))
    if why := other_scores(contents(old.path / "space.yaml", LOCKED), folder.identity, facts):
        raise BadInput(f"study.from={name}: its scores cannot be compared, because {why}")
    return old


def other_scores(locked: Tree, identity: Tree, facts: Mapping[str, Any]) -> str:
    """Why the scores of an earlier study cannot be compared with those of this one; empty where they can."""
    before = locked["identity"]
    if locked["format"] != FORMAT:
        return "it was begun by another version of autoopt"
    for key in (*SAME, *(() if facts["examples"] else ("seed",))):  # without known examples the seed may split them
        if before[key] != identity[key]:
            return f"its {key} was {spelled(before, key)}, not {spelled(identity, key)}"
    if locked["examples"] != facts["examples"]:
        return "its data were others"
    edited = altered(locked["sources"], facts["sources"])
    return f"the file of {', '.join(edited)} has changed" if edited else ""


def take_over(study: Study, old: Stored, sampling: Sampling) -> list[Values]:
    """Take the trials of an earlier study over that lie in the space, until this one begins trials of its own.

    Returns:
        the recipes to try first, where the trials cannot be taken over.
    """
    locked, goal = contents(old.path / "space.yaml", LOCKED), study.goal
    usable = [r for r in old.records[SEARCH.name] if r.state != "failed" or r.blame == "recipe"]
    inside = list(lying_in(study.space.without_compression(), usable))
    unlike = trained_otherwise(locked["identity"]["study"], study.folder.identity["study"], goal, [record for record, _ in inside])
    if not unlike:
        take(study, old, sampling, inside)
    taken = [r for r in study.journal.records(SEARCH) if r.origin]
    how = f"lie in the space, but {unlike}: the best {TRIED_FIRST} are tried first" if unlike else "are taken over"
    count = len(inside) if unlike else len(taken)
    study.runner.screen.say(f"{old.name}: {count} of {len(old.records[SEARCH.name])} trials {how}")
    versions_now = dict(versions(study.tree))
    newer = (f"{key} of {locked['techniques'][key]}, now {versions_now[key]}" for key in altered(locked["techniques"], versions_now))
    for change in (*differences(locked["identity"], study.folder.identity), *newer):
        study.runner.screen.say(f"  {old.name} had {change}")
    values_of = {record.key: values for record, values in inside}
    best = goal.unbounded.rank([record for record, _ in inside]) if unlike else []
    return [values_of[record.key] for record in best[:TRIED_FIRST]]


def take(study: Study, old: Stored, sampling: Sampling, inside: Sequence[tuple[Record, Values]]) -> None:
    """Take over what is not here yet; with the same baseline, that one is not trained again."""
    begun = study.journal.trials(SEARCH)
    records = study.journal.records(SEARCH)
    here = {r.origin for r in records}
    taken = {int(r.key) for r in records if r.origin}
    if any(trial.number and trial.number not in taken for trial in begun):
        return  # it has trials of its own
    first = study.baseline or study.space.without_compression().baseline()

    def add(record: Record, values: Values) -> None:
        study.runner.listener.take(sampling.take(record, values, f"{old.name}/{record.key}"))

    if not begun:
        known = next((row for row in inside if row[0].point == first and row[0].state == "complete"), None)
        if known is None:
            sampling.begin_baseline()
        else:
            add(*known)
    for record, values in inside:
        if record.point != first and f"{old.name}/{record.key}" not in here:
            add(record, values)


def trained_otherwise(before: Tree, now: Tree, goal: Goal, records: Sequence[Record]) -> str:
    """Why trials cannot stand beside those of this study; empty where they can."""
    for key in sorted(before.keys() | now.keys()):
        if before.get(key) != now.get(key):
            then, today = (spelled(settings, key, "at its default") for settings in (before, now))
            return f"study.{key} was {then}, not {today}"
    for bound in goal.bounds:
        if any(bound.metric.value(r.metrics) is None for r in records if r.state == "complete"):
            return f"{bound.metric.name} was not measured"
    return ""


def lying_in(space: Space, records: Sequence[Record]) -> Iterator[tuple[Record, Values]]:
    """The records whose recipes lie in a space, with their values."""
    for record in records:
        try:
            yield record, space.values_of(record.point)
        except ValueError:
            continue
