"""`autoopt plan`"""

from collections.abc import Iterator, Sequence
from tempfile import TemporaryDirectory
from typing import Any

from autoopt import grammar
from autoopt.commands.options import read
from autoopt.config import SEARCHED, technique_of
from autoopt.domain import Choice, Range
from autoopt.slots import SLOTS
from autoopt.space import Space
from autoopt.study.confirm import how_many
from autoopt.study.ladder import Ladder
from autoopt.study.search import Opened, opened
from autoopt.terminal import Progress


def run(arguments: Sequence[str]) -> int:
    asked = read(arguments, "plan")
    if asked is None:
        return 0
    tree = asked.tree()
    with (
        Progress() as screen,
        TemporaryDirectory() as scratch,  # the study's own folder is left alone, and may be in use
        opened({**tree, "root": scratch}, screen, settle=False) as study,
    ):
        text = "\n".join(lines(study))
    screen.say(text)
    return 0


def lines(study: Opened) -> Iterator[str]:
    """The space as a tree, what dropped out, and the sum of the trainings."""
    facts, space = study.facts, study.space
    sizes = ", ".join(f"{n} {part}" for part, n in facts["sizes"].items()) or "as the data module splits them"
    shape = "x".join(map(str, facts["input_shape"])) or "unknown"
    yield f"\n{study.folder.name}"
    yield f"task       {facts['kind']}: inputs {shape}, {facts['outputs'] or 'unknown'} outputs; examples: {sizes}"
    yield f"objective  {study.objective.name}, {study.objective.direction}"
    yield from data_lines(facts)
    yield "\nspace"
    for slot in SLOTS:
        yield from slot_lines(space, slot)
    yield from (f"  {key:<19} {value}" for key, value in batches(space))
    if space.dropped:
        yield "\nleft out"
        yield from (f"  {key:<28} {reason}" for key, reason in space.dropped.items())
    for model, reasons in space.unfit.items():
        yield f"\nnot drawn with {model}"
        yield from (f"  {key:<28} {reason}" for key, reason in reasons.items() if key not in space.dropped)
    yield "\nbudget"
    yield from budget(study)


def data_lines(facts: dict[str, Any]) -> Iterator[str]:
    """How raw inputs become numbers: each column of a table, or the words of texts."""
    encoding = facts["encoding"]
    if columns := encoding.get("columns"):
        widest = max(len(column["name"]) for column in columns)
        yield f"\ncolumns{f' ({source})' if (source := encoding['source']) else ''}"
        yield from (f"  {column['name']:<{widest}}  {column['type']:<12} {column['treatment']}" for column in columns)
    if words := encoding.get("vocabulary"):
        yield f"words      {len(words)} from the training part, {encoding['length']} of each text; most often {', '.join(words[:5])}"
    if facts["folds"] > 1:
        yield f"folds      {facts['folds']}: every training is {facts['folds']} trainings; the examples above are the first fold's"


def batches(space: Space) -> Iterator[tuple[str, object]]:
    """The settings of the batches that a search may choose, where they are not what they are by default."""
    for key in SEARCHED:
        value = space.tree["batches"][key.removeprefix("batches.")]
        if key == "batches.size" or value != SEARCHED[key]:
            yield key, value


def slot_lines(space: Space, slot: str) -> Iterator[str]:
    names = list(space.tree[slot])
    how = "" if len(names) < 2 else " (one of these)" if not SLOTS[slot].many else ""
    yield f"  {slot}{how}{'' if names else ': none'}"
    for name, node in space.tree[slot].items():
        use = "" if "use" not in node else "  always" if node["use"] is True else "  on or off"
        yield f"    {name}{use}"
        params = technique_of(slot, name, node).params
        for key, value in node.items():
            if key in params:
                yield f"      {key:<16} {value}{outside(value, params[key].domain)}"


def outside(value: object, advised: Range | Choice | None) -> str:
    """A mark for what lies outside the range that the technique advises."""
    meant = grammar.read(value)
    if isinstance(advised, Range):
        ends = (meant.low, meant.high) if isinstance(meant, Range) else (meant,)
        numbers = [e for e in ends if isinstance(e, int | float)]
        if any(not advised.low <= e <= advised.high for e in numbers):
            return f"   (advised: {grammar.write(advised)})"
    return ""


def budget(study: Opened) -> Iterator[str]:
    node = study.tree["study"]
    top = how_many(node["trials"], node["seeds"], node["confirm"])
    confirming = (top + 1) * node["seeds"]
    yield f"  search    {node['trials']} trials of {node['epochs']} epochs" + (f", for {node['time']} at most" if node["time"] else "")
    if node["stopping"] and (rungs := Ladder(node["epochs"], study.objective).rungs):
        yield f"  rungs     after epoch {' and '.join(map(str, rungs))} the better half goes on"
    tried = node["compress"] if study.space.tree["compression"] else 0
    if tried:
        yield f"  compress  {tried} compressions of the best {top}"
    yield f"  confirm   {top} of the best and the baseline, {node['seeds']} fresh seeds each: {confirming} trainings"
    folds = study.facts["folds"]
    total = (node["trials"] + confirming) * folds
    shrunk = f" and {tried} compressions" if tried else ""
    yield f"  in all    {total} trainings{shrunk}, {study.runner.workers} at a time; at most {total * node['epochs']} epochs"
    yield f"  choices   {sum(1 for _ in study.space.parameters())}"
