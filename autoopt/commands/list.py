"""`autoopt list`"""

import sys
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from autoopt.commands.words import read_words
from autoopt.errors import BadInput
from autoopt.study.journal_file import StoreError
from autoopt.study.stored import ROOT, Stored, names, open_stored

HELP = """Usage: autoopt list [root=DIR]

Lists the studies in DIR (by default autoopt-runs) with state, trials and gain; a training has only a state."""


def run(arguments: Sequence[str]) -> int:
    parsed = read_words(arguments, "list", HELP, most=0)
    if parsed is None:
        return 0
    root = parsed[1].get("root")
    studies, spoilt = [], []
    for name in names(root):
        try:
            studies.append(study_row(open_stored(name, root)))
        except (BadInput, StoreError) as error:
            spoilt.append(str(error))
    if not studies and not spoilt:
        print(f"No studies in {root or ROOT}/. Begin one: autoopt search data=digits")
        return 0
    table = Table(box=None, pad_edge=False)
    for column in ("study", "state", "trials", "objective", "baseline", "winner", "gain, 95 % interval"):
        table.add_column(column)
    for row in studies:
        table.add_row(*row)
    Console(width=1000, soft_wrap=True).print(table)  # people copy names, so they are not cut off
    for problem in spoilt:
        print(f"autoopt: {problem}", file=sys.stderr)
    return 2 if spoilt else 0


def study_row(study: Stored) -> list[str]:
    trials = f"{len(study.records['search'])}/{study.config['study']['trials']}" if study.searched else ""
    if (verdict := study.verdict) is None:
        return [study.name, study.state, trials, "", "", "", ""]
    low, high = verdict.interval
    gain = f"{verdict.gain:+.4f} ({low:+.4f} to {high:+.4f})"
    scores = (f"{side.score:.4f}" for side in (verdict.baseline, verdict.winner))
    return [study.name, study.state, trials, verdict.objective, *scores, gain]
