"""The verdict as HTML, for a notebook."""

import html
from collections.abc import Sequence

from autoopt.report.comparison import comparison_rows, tuning_rows
from autoopt.report.reasons import ablation_rows, reasons
from autoopt.report.sentence import PART_WORDS, compared, conclusion
from autoopt.study.verdict import Verdict


def verdict_table(verdict: Verdict) -> str:
    """The sentence, baseline and winner side by side, and why the winner won."""
    sides = {"baseline": verdict.baseline, f"winner (trial {verdict.winner.trial})": verdict.winner}
    rows = [
        ("", *sides),
        ("recipe", *(side.title for side in sides.values())),
        (f"{verdict.objective} {PART_WORDS[verdict.part]}", *(f"{side.score:.4f}" for side in sides.values())),
        ("validation, fresh seeds", *(f"{side.validation:.4f}" for side in sides.values())),
    ]
    found = verdict.comparison
    options = [html_table(each(found)) for each in (comparison_rows, tuning_rows)] if found else []
    words = " ".join((conclusion(verdict), compared(verdict))).rstrip()
    changes = [html_table(ablation_rows(verdict, verdict.ablation))] if verdict.ablation else []
    why = "".join(f"<p>{html.escape(reason)}</p>" for reason in reasons(verdict))
    return f"<p><b>{html.escape(verdict.study)}</b>: {html.escape(words)}</p>{''.join(options)}{html_table(rows)}{''.join(changes)}{why}"


def html_table(rows: Sequence[Sequence[str]]) -> str:
    body = "".join(f"<tr>{''.join(f'<td>{html.escape(cell)}</td>' for cell in cells)}</tr>" for cells in rows)
    return f"<table>{body}</table>"
