"""`autoopt list`"""

import sys
from collections.abc import Sequence
from math import inf
from pathlib import Path
from typing import Any

from autoopt.commands.words import json_text, read_words, tell_mlflow
from autoopt.errors import BadInput
from autoopt.prose import print_prose
from autoopt.records.journal_file import StoreError
from autoopt.records.stages import SEARCH
from autoopt.records.stored import ROOT, Stored, names, open_stored
from autoopt.report.leaderboard import leaderboard
from autoopt.report.numbers import number, with_interval
from autoopt.report.terminal import console, table_of_rows

HELP = """Usage: autoopt list [--json] [root=DIR]

Lists the studies in DIR (by default autoopt-runs), the latest first: when they
last changed, their state (running, interrupted, concluded; a training is
trained; unknown is one that another host began, and may still run), the
trials, the objective, the best score so far or that of the recipe in best/, the
gain of the winner over the baseline with the 95 % interval, and the hours that
they ran. --json prints the same for programs."""


def run(arguments: Sequence[str]) -> int:
    parsed = read_words(arguments, "list", HELP, most=0, flags=("--json",))
    if parsed is None:
        return 0
    root = parsed.settings.get("root")
    studies, spoilt = [], []
    for name in names(root):
        try:
            studies.append(study_facts(open_stored(name, root)))
        except (BadInput, StoreError) as error:
            spoilt.append(str(error))
    tell_mlflow(Path(root or ROOT) / facts["study"] for facts in studies)
    studies.sort(key=lambda facts: facts["changed"], reverse=True)
    if "--json" in parsed.flags:
        print(json_text(studies))
    elif studies:
        header = ("study", "date", "state", "trials", "hours", "best", "gain")
        console().print(table_of_rows([header, *map(study_row, studies)], left=("date", "state", "best", "gain")))
    elif not spoilt:
        print(f"No studies in {root or ROOT}/. Begin one: autoopt search data=digits")
    for problem in spoilt:
        print_prose(f"autoopt: {problem}", sys.stderr)
    return 2 if spoilt else 0


def study_facts(study: Stored) -> dict[str, Any]:
    """A study for programs: its verdict where it is concluded, else its best trial so far."""
    facts = {"study": study.name, "changed": study.changed.isoformat(timespec="seconds"), "state": study.state}
    if not study.searched:
        return facts
    verdict, records = study.verdict, [record for stage in study.records.values() for record in stage]
    best = next((place for place in leaderboard(study) if place.rank == 1), None)
    return {
        **facts,
        "trials": len(study.records[SEARCH.name]),
        "of": study.config["study"]["trials"],
        "objective": study.goal.first.name,
        "best": verdict.best.score if verdict else best and best.record.score,
        "gain": (None if verdict.alone else verdict.gain) if verdict else best and best.gain,
        "interval": list(verdict.interval) if verdict else None,
        "hours": round(max((r.elapsed for r in records), default=0.0) / 3600, 4),
    }


def study_row(facts: dict[str, Any]) -> tuple[str, ...]:
    row = (facts["study"], facts["changed"].partition("T")[0], facts["state"])
    if "trials" not in facts:
        return (*row, "", "", "", "")
    best, gain = facts["best"], facts["gain"]
    score = "" if best is None else f"{facts['objective']} {number(best)}"
    known = "" if gain is None else with_interval(gain, facts["interval"] or (-inf, inf), best, sign="+")
    return (*row, f"{facts['trials']}/{facts['of']}", f"{facts['hours']:.2f}", score, known)
