"""The verdict as HTML, for a notebook."""

import html

from autoopt.report.sentence import PART_WORDS, compared, conclusion
from autoopt.study.verdict import Verdict


def verdict_table(verdict: Verdict) -> str:
    """The sentence, and baseline and winner side by side."""
    sides = {"baseline": verdict.baseline, f"winner (trial {verdict.winner.trial})": verdict.winner}
    rows = [
        ("", *sides),
        ("recipe", *(side.title for side in sides.values())),
        (f"{verdict.objective} {PART_WORDS[verdict.part]}", *(f"{side.score:.4f}" for side in sides.values())),
        ("validation, fresh seeds", *(f"{side.validation:.4f}" for side in sides.values())),
    ]
    body = "".join(f"<tr>{''.join(f'<td>{html.escape(cell)}</td>' for cell in cells)}</tr>" for cells in rows)
    words = " ".join((conclusion(verdict), compared(verdict))).rstrip()
    return f"<p><b>{html.escape(verdict.study)}</b>: {html.escape(words)}</p><table>{body}</table>"
