"""The verdict as HTML, for a notebook."""

import html
from collections.abc import Iterable, Sequence

from plotly.graph_objects import Figure

from autoopt.records.verdict import Verdict
from autoopt.report.comparison import comparison_tables
from autoopt.report.reasons import ablation_rows, reasons
from autoopt.report.sentence import compared, conclusion
from autoopt.report.sides import side_rows


def verdict_html(verdict: Verdict, figures: Iterable[Figure] = ()) -> str:
    """The sentence, baseline and winner side by side, why the winner won, and figures, of which the first brings plotly along."""
    found = verdict.comparison
    options = [html_table(rows) for _, rows in comparison_tables(found)] if found else []
    words = " ".join((conclusion(verdict), compared(verdict))).rstrip()
    changes = [html_table(ablation_rows(verdict, verdict.ablation))] if verdict.ablation else []
    why = "".join(f"<p>{html.escape(reason)}</p>" for reason in reasons(verdict))
    drawn = "".join(figure.to_html(full_html=False, include_plotlyjs=place == 0) for place, figure in enumerate(figures))
    head = f"<p><b>{html.escape(verdict.study)}</b>: {html.escape(words)}</p>"
    return f"{head}{''.join(options)}{html_table(side_rows(verdict))}{''.join(changes)}{why}{drawn}"


def html_table(rows: Sequence[Sequence[str]]) -> str:
    body = "".join(f"<tr>{''.join(f'<td>{html.escape(cell)}</td>' for cell in cells)}</tr>" for cells in rows)
    return f"<table>{body}</table>"
