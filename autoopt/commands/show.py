"""`autoopt show`"""

from collections.abc import Iterator, Sequence
from typing import Any

from rich.table import Table

from autoopt.commands.words import json_text, read_words, study_named
from autoopt.config import asked_for
from autoopt.config.yaml_file import written
from autoopt.records.record import Record
from autoopt.records.stored import Stored
from autoopt.report.leaderboard import leaderboard, leaderboard_records, leaderboard_rows, place_of
from autoopt.report.numbers import duration, number
from autoopt.report.sentence import conclusion, unfinished
from autoopt.report.sparkline import sparkline
from autoopt.report.terminal import console, findings, table_of_rows

HELP = """Usage: autoopt show NAME [TRIAL] [--json] [root=DIR]

Shows a study's verdict and its trials, the best first; with TRIAL, how it
ended, its metrics by epoch and its recipe. --json prints the same for
programs, and all trials where there are more than 200."""

MOST = 200
"""How many trials the table has: one of 10,000 rows takes long to lay out, and nobody reads it."""


def run(arguments: Sequence[str]) -> int:
    parsed = read_words(arguments, "show", HELP, most=2, flags=("--json",))
    if parsed is None:
        return 0
    study, trial = study_named(parsed, "show"), parsed.words[1:]
    record = study.record(*trial) if trial else None
    if "--json" in parsed.flags:
        print(json_text(trial_tree(record) if record else study_tree(study)))
        return 0
    screen = console()
    for part in trial_card(study, record) if record else study_lines(study):
        screen.print(part)
    return 0


def study_tree(study: Stored) -> dict[str, Any]:
    """A study for programs."""
    verdict = study.verdict
    about = {"study": study.name, "state": study.state, "folder": str(study.path)}
    if not study.searched:
        return about
    goal = {"objectives": {objective.name: objective.direction for objective in study.goal.objectives}}
    told = {"conclusion": conclusion(verdict), "verdict": verdict.tree()} if verdict else {}
    return {**about, **goal, **told, "trials": leaderboard_records(leaderboard(study))}


def study_lines(study: Stored) -> Iterator[str | Table]:
    """The verdict as the search printed it, and the trials."""
    if verdict := study.verdict:
        yield from findings(verdict)
    else:
        yield study.name
        yield unfinished(study)
    if places := leaderboard(study):
        yield ""
        yield table_of_rows(leaderboard_rows(study, places[:MOST]), left=("state", "recipe"))
    if more := len(places[MOST:]):
        yield f"and {more} more, which --json lists"
    for key, reason in (verdict.dropped if verdict else {}).items():
        if asked_for(study.config, key):
            yield f"left out: {key}: {reason}"
    yield ""
    yield f"folder: {study.path}"


def trial_card(study: Stored, record: Record) -> Iterator[str | Table]:
    """A trial: how it ended, its curves and its recipe."""
    place = place_of(study, record)
    score = "" if record.score is None else f"{study.goal.first.name} {number(record.score)}"
    gain = "" if place.gain is None else f"gain {number(place.gain, record.score or 0.0, sign='+')}"
    rank = "" if place.rank is None else f"rank {place.rank}"
    yield f"{study.name}/{record.key}: {record.point.title()}"
    head = [
        record.stage,
        place.ended,
        rank,
        score,
        gain,
        f"{record.epochs} {'epoch' if record.epochs == 1 else 'epochs'}",
        duration(record.seconds),
        f"seed {record.seed}",
    ]
    yield ", ".join(part for part in head if part)
    if record.reason:
        yield f"{record.reason}: {record.detail}"
    if record.origin:
        yield f"taken over from {record.origin}"
    yield ""
    yield table_of_rows(list(curve_rows(record)), left=("by epoch",))
    yield ""
    given = {name: {key: value for key, value in node.items() if value is not None} for name, node in record.recipe["data"].items()}
    yield written({**record.recipe, "data": given}).rstrip()


def curve_rows(record: Record) -> Iterator[tuple[str, ...]]:
    """A row for each metric: its first and its last value, and its curve; then the metrics that only the end has."""
    yield "metric", "first", "last", "by epoch"
    for name in record.curves:
        if name != "epoch" and (values := list(record.curve(name).values())):
            yield name, number(values[0], values[-1]), number(values[-1], values[0]), sparkline(values)
    for name, value in record.metrics.items():
        if name not in record.curves:
            yield name, "", number(value), ""


def trial_tree(record: Record) -> dict[str, Any]:
    """A trial for programs."""
    return {
        "trial": record.key,
        "stage": record.stage,
        "state": record.state,
        "reason": record.reason,
        "detail": record.detail,
        "score": record.score,
        "seed": record.seed,
        "seconds": record.seconds,
        "metrics": dict(record.metrics),
        "epochs": dict(record.curves),
        "recipe": dict(record.recipe),
    }
