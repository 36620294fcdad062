"""`autoopt plan`"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import groupby
from statistics import mean
from tempfile import TemporaryDirectory
from typing import Any

from autoopt import grammar
from autoopt.commands.options import read_options
from autoopt.config import SEARCHED
from autoopt.domain import Choice, Range
from autoopt.errors import BadInput
from autoopt.records.settled import Settled
from autoopt.report.numbers import duration
from autoopt.report.sentence import PART_WORDS
from autoopt.slots import SLOTS
from autoopt.space import Domain, Option, Pin, Space
from autoopt.study.ablation import trainings_for
from autoopt.study.compare import seeds_of
from autoopt.study.confirm import Plan, planned, race_trainings, share_of
from autoopt.study.study import strategy_of
from autoopt.study.timing import LIMIT, WITH_RUNGS, timings
from autoopt.study.turns import check_sizes, turns_in
from autoopt.study.warm import Warm, warm
from autoopt.terminal import Progress

WIDTH = 22
"""Of the keys, with their indent."""
MOST_COLUMNS = 40
"""Of a table with more columns, those that are read alike stand in one line."""


def run(arguments: Sequence[str]) -> int:
    asked = read_options(arguments, "plan")
    if asked is None:
        return 0
    tree = asked.tree()
    with (
        Progress() as screen,
        TemporaryDirectory() as scratch,  # a running search may hold the study's own folder
        without_logs(scratch),
        warm({**tree, "root": scratch}, screen, left="nothing is kept") as ready,
    ):
        text = "\n".join(plan_lines(ready, ready.begin()))
    screen.say(text)
    return 0


@contextmanager
def without_logs(scratch: str) -> Iterator[None]:
    """Name no logs in a folder that is deleted.

    Raises:
        BadInput: as the block, without the logs.
    """
    try:
        yield
    except BadInput as error:
        raise BadInput(*(re.sub(rf" \(log: {re.escape(scratch)}[^)]*\)", "", problem) for problem in error.problems)) from error


def task_in_words(facts: Mapping[str, Any]) -> str:
    """What is learnt; what a LightningModule makes of the batches of loaders, such as masks, is its own matter."""
    sizes = ", ".join(f"{n} {part}" for part, n in facts["sizes"].items()) or "as the data module splits them"
    shape = "x".join(map(str, facts["input_shape"])) or "unknown"
    if facts["lightning"] and not facts["sizes"]:
        return f"of the LightningModule: inputs {shape}; examples: {sizes}"
    return f"{facts['kind']}: inputs {shape}, {facts['outputs'] or 'unknown'} outputs; examples: {sizes}"


def plan_lines(ready: Warm, settled: Settled) -> Iterator[str]:
    """The space as a tree, the techniques that were left out, and the number of trainings."""
    facts, space, first = ready.facts, settled.space, settled.goal.first
    work = Workload.of(ready, settled)
    yield f"\n{ready.folder.name}"
    yield f"task       {task_in_words(facts)}"
    yield f"objective  {first.name}, {first.direction}; the verdict compares {PART_WORDS[settled.part]}"
    yield from data_lines(facts)
    yield "\nspace"
    for slot in SLOTS:
        yield from slot_lines(space, slot)
    yield from aligned(settings_beside(space), "  ")
    if space.dropped:
        yield "\nleft out"
        yield from aligned(space.dropped.items(), "  ")
    for model, reasons in space.unfit.items():
        yield f"\nnot drawn with {model}"
        yield from aligned(((key, reason) for key, reason in reasons.items() if key not in space.dropped), "  ")
    if clashes := list(space.clashes()):
        yield "\nnot drawn together"
        yield from aligned(((f"{slot}/{one}, {other}", reason) for slot, one, other, reason in clashes), "  ")
    yield "\nbudget"
    yield from budget(ready, settled, work)
    yield from cost(ready, settled, work)


def aligned(rows: Iterable[tuple[str, Any]], indent: str) -> Iterator[str]:
    """Keys and values as two columns, which are alike in all short lists."""
    rows = list(rows)
    widest = max([WIDTH - len(indent), *(len(key) for key, _ in rows)])
    yield from (f"{indent}{key:<{widest}}  {value}" for key, value in rows)


def data_lines(facts: dict[str, Any]) -> Iterator[str]:
    """How raw inputs become numbers: each column of a table, or the words of texts."""
    encoding = facts["encoding"]
    if columns := encoding.get("columns"):
        rows = list(column_rows(columns))
        widest = max(len(name) for name, _, _ in rows)
        yield f"\ncolumns{f' ({source})' if (source := encoding['source']) else ''}"
        yield from (f"  {name:<{widest}}  {kind:<12} {treatment}" for name, kind, treatment in rows)
    if words := encoding.get("vocabulary"):
        yield f"words      {len(words)} from the training part, {encoding['length']} of each text; most often {', '.join(words[:5])}"
    if facts["folds"] > 1:
        yield f"folds      {facts['folds']}: every training is {facts['folds']} trainings; the examples above are the first fold's"


def column_rows(columns: Sequence[dict[str, Any]]) -> Iterator[tuple[str, str, str]]:
    """Name, type and treatment of each column; of many columns, those in a row that are read alike stand together."""
    for (kind, treatment), alike in groupby(columns, key=lambda column: (column["type"], column["treatment"])):
        names = [column["name"] for column in alike]
        if len(columns) > MOST_COLUMNS and len(names) > 2:
            yield f"{names[0]} … {names[-1]}", kind, f"{treatment} ({len(names)} columns)"
        else:
            yield from ((name, kind, treatment) for name in names)


def settings_beside(space: Space) -> Iterator[tuple[str, Pin | Domain]]:
    """The batch size, the other batch settings that a search may choose where they differ from their defaults, and the Trainer's."""
    for name, value in space.settings["batches"].items():
        key = f"batches.{name}"
        if key == "batches.size" or (key in SEARCHED and value != Pin(SEARCHED[key])):
            yield key, value
    yield from ((f"trainer.{name}", value) for name, value in space.settings["trainer"].items())


def slot_lines(space: Space, slot: str) -> Iterator[str]:
    options, many = space.options[slot], SLOTS[slot].many
    how = " (one of these)" if len(options) > 1 and not many else ""
    yield f"  {slot}{how}{'' if options else ': none'}"
    for name, option in options.items():
        yield f"    {name}{f'  {usage(option)}' if many else ''}"
        given = {key: value for key, value in option.values.items() if not (isinstance(value, Pin) and value.value is None)}
        shown = ((key, f"{value}{outside(value, option.technique.param(key).domain)}") for key, value in given.items())
        yield from aligned(shown, "      ")


def usage(option: Option) -> str:
    """Whether recipes use a technique, in a slot whose techniques are each on or off."""
    if isinstance(option.use, Domain):
        return "on or off"
    return "always" if option.use.value else "never"


def outside(value: Pin | Domain, advised: Range | Choice | None) -> str:
    """A note where a value lies outside the range that the technique advises."""
    ends = (value.value,) if isinstance(value, Pin) else value.options
    numbers = [end for end in ends if isinstance(end, int | float)]
    if isinstance(advised, Range) and any(not advised.low <= number <= advised.high for number in numbers):
        return f"   (advised: {grammar.spell(advised)})"
    return ""


@dataclass(frozen=True)
class Workload:
    """What a study trains: its trials, in full or as far as rungs let them, the best of each compared option, confirm, the ablation.

    Args:
        folds: of the cross-validation, on each of which every training takes place; 1 without.
        compressions: how many are tried, if any.
        options: how many are compared, each on so many `seeds`.
        tested: the options are compared on the test part.
    """

    trials: int
    rungs: tuple[int, ...]
    confirm: Plan
    ablation: int
    folds: int = 1
    compressions: int = 0
    options: int = 0
    seeds: int = 0
    tested: bool = False

    @classmethod
    def of(cls, ready: Warm, settled: Settled) -> "Workload":
        """The workload of a study.

        Raises:
            BadInput: the options of its comparison are refused, as by the search.
        """
        node, space = ready.tree["study"], settled.space.without_compression()
        folds, compressions = ready.facts["folds"], node["compress"] if settled.space.options["compression"] else 0
        rungs = strategy_of(ready.tree, space, settled.goal).rungs if node["stopping"] else ()
        confirm = planned(share_of(node["trials"], node["seeds"]), node["seeds"], node["confirm"])
        ablation = trainings_for(node["trials"], node["seeds"]) if node["ablation"] else 0
        if node["compare"] is None:
            return cls(node["trials"], rungs, confirm, ablation, folds, compressions)
        turns = turns_in(space, node, ready.baseline)
        trials, alone = turns.total(node["trials"]), replace(confirm, candidates=1)
        check_sizes(turns, node["compare"], trials)
        tested = settled.part == "test" and not settled.untested
        return cls(trials, rungs, alone, ablation, folds, compressions, turns.count, seeds_of(node["seeds"]), tested)

    @property
    def trainings(self) -> int:
        return self.folds * (self.trials + self.compared + self.confirm.trainings + self.ablation)

    @property
    def compared(self) -> int:
        """The trainings of the best of each option that is compared."""
        return self.options * self.seeds

    @property
    def whole(self) -> float:
        """The trainings, with those that a rung ends counted as far as they get."""
        saved = self.trials * (1 - WITH_RUNGS) if self.rungs else 0.0
        return self.trainings - self.folds * saved

    @property
    def weights(self) -> int:
        """How many trained models are on the disk at most: those of the search are kept to be compressed, those of the options until they
        are measured, the winner's and the baseline's for good, and the best is exported."""
        searched = self.trials + self.compressions if self.compressions else 0
        return self.folds * (searched + self.compared * self.tested + 2 * self.confirm.final) + 1


def budget(ready: Warm, settled: Settled, work: Workload) -> Iterator[str]:
    node, compressions = ready.tree["study"], work.compressions
    yield f"  search    {work.trials} trials of {node['epochs']} epochs" + (f", for {node['time']} at most" if node["time"] else "")
    if work.rungs:
        yield f"  rungs     bad trials end after epoch {' or '.join(map(str, work.rungs))}"
    if compressions:
        yield f"  compress  {compressions} compressions of the best {work.confirm.candidates}"
    if work.options:
        yield f"  compare   {work.trials // work.options} trials of each {node['compare']}; the best of each on {work.seeds} fresh seeds"
    if work.confirm.candidates > 1:
        race = race_trainings(work.confirm.candidates)
        yield f"  confirm   the best {work.confirm.candidates} race on fresh seeds, the better half goes on: {race} trainings"
    yield f"  final     the winner and the baseline, {work.confirm.final} further seeds each"
    if work.ablation:
        yield f"  ablation  at most {work.ablation} trainings of recipes between the baseline and the winner, if it wins"
    trainings, workers = work.trainings, replace(ready.runner, goal=settled.goal).workers
    tried = f" and {compressions} compressions" if compressions else ""
    yield f"  in all    {trainings} trainings{tried}, {workers} at a time; at most {trainings * node['epochs']} epochs"
    yield f"  choices   {len({domain.key for domain in settled.space.domains()})}"


def cost(ready: Warm, settled: Settled, work: Workload) -> Iterator[str]:
    """What the study will take, by a few seconds of training of the baseline and of recipes drawn at random."""
    runner, space = replace(ready.runner, goal=settled.goal), settled.space.without_compression()
    timed = timings(runner, space, ready.baseline or space.baseline(), ready.tree["seed"])
    if not timed:
        yield f"  time      unknown: no recipe trained two epochs within {LIMIT} s"
        return
    node, workers = ready.tree["study"], runner.workers
    each = work.trainings * mean(t.start for t in timed) + work.whole * node["epochs"] * mean(t.epoch for t in timed)
    seconds = each / workers + runner.elapsed() - ready.start
    trainings = [work.folds * timing.training(node["epochs"]) for timing in timed]
    spread = " to ".join(dict.fromkeys((duration(min(trainings)), duration(max(trainings)))))
    more = ", without compressions" if settled.space.options["compression"] else ""
    yield f"  time      about {duration(seconds)}{more}; a training {spread}, by {len(timed)} recipe{'s' * (len(timed) > 1)}"
    yield f"  memory    {max(t.memory for t in timed):,.0f} MB at most in a trial, {workers} at a time"
    yield f"  disk      {max(t.size for t in timed) * work.weights:,.1f} MB for the weights that are kept, at most"
