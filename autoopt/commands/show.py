"""`autoopt show`"""

from collections.abc import Sequence

import yaml

from autoopt.commands.words import read_words, study_named
from autoopt.errors import printable
from autoopt.recipe import Recipe
from autoopt.report.reasons import ablation_title, reasons
from autoopt.report.sentence import conclusion
from autoopt.report.terminal import changes, compared_options, plain_text
from autoopt.study.record import Record
from autoopt.study.stored import Stored
from autoopt.study.verdict import Verdict

HELP = """Usage: autoopt show NAME [TRIAL] [root=DIR]

Shows a study's verdict and its trials, the best first; with TRIAL, its recipe, its metrics by epoch and how it ended."""


def run(arguments: Sequence[str]) -> int:
    parsed = read_words(arguments, "show", HELP, most=2)
    if parsed is None:
        return 0
    study, trial = study_named(parsed, "show"), parsed[0][1:]
    print(printable(trial_text(study.record(*trial)) if trial else study_text(study)))
    return 0


def study_text(study: Stored) -> str:
    verdict, records = study.verdict, study.records["search"]
    head = conclusion(verdict) if verdict else unfinished(study)
    sign = 1 if study.direction == "minimize" else -1
    scored = sorted((r for r in records if r.score is not None), key=lambda r: sign * (r.score or 0.0))
    rows = "\n".join(trial_line(r) for r in [*scored, *(r for r in records if r.score is None)])
    dropped = "".join(f"\nleft out  {key}: {reason}" for key, reason in (verdict.dropped if verdict else {}).items())
    return f"{study.name}\n{head}\n{explained(verdict) if verdict else ''}\n{rows}{dropped}\n\nfolder  {study.path}"


def explained(verdict: Verdict) -> str:
    """Why the winner won, with a line end after each line."""
    ablation = verdict.ablation
    options = [part if isinstance(part, str) else plain_text(part) for part in compared_options(verdict)]
    table = [f"\n{ablation_title(verdict, ablation)}\n{plain_text(changes(verdict, ablation))}\n"] if ablation else []
    return "".join(f"{line}\n" for line in (*options, *table, *reasons(verdict)))


def unfinished(study: Stored) -> str:
    if not study.searched:
        return f"A training, not a search: {'best/ holds the trained model' if study.state == 'trained' else 'it has not ended'}."
    return f"Not concluded yet: {len(study.records['search'])} of {study.config['study']['trials']} trials."


def trial_line(record: Record) -> str:
    score = f"{record.score:.4f}" if record.score is not None else "      "
    ended = f"{record.state}{f' ({record.reason}: {record.detail})' if record.reason else ''}"
    return f"{record.key:>5}  {score}  {ended:<9} {Recipe(record.recipe).title()}"


def trial_text(record: Record) -> str:
    shown = {
        "trial": record.key,
        "stage": record.stage,
        "state": record.state,
        **({"reason": record.reason, "detail": record.detail} if record.reason else {}),
        "score": record.score,
        "seed": record.seed,
        "seconds": round(record.seconds, 2),
        "metrics": dict(record.metrics),
        "epochs": record.curves,
        "recipe": dict(record.recipe),
    }
    return yaml.safe_dump(shown, sort_keys=False).rstrip()
