"""`autoopt list`"""

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from autoopt.commands.words import read_words
from autoopt.study.stored import ROOT, Stored, names, open_stored

HELP = """Usage: autoopt list [root=DIR]

The studies in DIR (autoopt-runs), with state, trials and gain; a training has a state alone."""


def run(arguments: Sequence[str]) -> int:
    said = read_words(arguments, "list", HELP, most=0)
    if said is None:
        return 0
    root = said[1].get("root")
    studies = [open_stored(name, root) for name in names(root)]
    if not studies:
        print(f"No studies in {root or ROOT}/. Begin one: autoopt search data=digits")
        return 0
    table = Table(box=None, pad_edge=False)
    for column in ("study", "state", "trials", "objective", "baseline", "winner", "gain, 95 % interval"):
        table.add_column(column)
    for study in studies:
        table.add_row(*study_row(study))
    Console(width=1000, soft_wrap=True).print(table)  # names are to be copied whole
    return 0


def study_row(study: Stored) -> list[str]:
    trials = f"{len(study.records['search'])}/{study.config['study']['trials']}" if study.searched else ""
    if (verdict := study.verdict) is None:
        return [study.name, study.state, trials, "", "", "", ""]
    low, high = verdict.interval
    gain = f"{verdict.gain:+.4f} ({low:+.4f} to {high:+.4f})"
    scores = (f"{side.score:.4f}" for side in (verdict.baseline, verdict.winner))
    return [study.name, study.state, trials, verdict.objective, *scores, gain]
