"""The verdict as a table on the terminal."""

import sys
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import Any, TextIO

from rich.console import Console
from rich.table import Table
from rich.text import Text

from autoopt.errors import printable
from autoopt.records.folder import reference
from autoopt.records.verdict import Verdict
from autoopt.report.comparison import comparison_lines, comparison_tables
from autoopt.report.front import front_kind, front_rows, front_title
from autoopt.report.numbers import duration
from autoopt.report.reasons import ablation_rows, ablation_title, reasons
from autoopt.report.sentence import compared, conclusion
from autoopt.report.sides import side_rows

WIDE = 10_000
"""Columns where the output is no terminal: no line is broken, so that other programs can read it."""


class Lenient:
    """An output without an error for what its encoding lacks, such as ± in ASCII."""

    def __init__(self, out: TextIO):
        self.out = out

    def write(self, text: str) -> int:
        encoding = getattr(self.out, "encoding", None) or "utf-8"
        return self.out.write(text.encode(encoding, "replace").decode(encoding))

    def __getattr__(self, name: str) -> Any:
        return getattr(self.out, name)


class PrintableConsole(Console):
    """A console that no text drives: control characters of names and messages are replaced."""

    def render_str(self, text: str, **options: Any) -> Text:
        return super().render_str(printable(text), **options)

    def on_broken_pipe(self) -> None:
        """Pass it on to the command, which has a code for it; by itself rich exits with 1."""
        raise BrokenPipeError


def console(quiet: bool = False) -> Console:
    """The output: on a terminal text breaks between words, elsewhere lines stay whole, whatever FORCE_COLOR says.

    A program may have closed its output, have none, or have an object of its own there that can only be written to.
    """
    out = sys.stdout
    quiet = quiet or out is None or getattr(out, "closed", False)
    terminal = not quiet and getattr(out, "isatty", bool)()
    how: dict[str, Any] = {"force_terminal": terminal, "soft_wrap": not terminal, "width": None if terminal else WIDE}
    return PrintableConsole(file=Lenient(out), highlight=False, markup=False, emoji=False, quiet=quiet, **how)  # type: ignore[arg-type]


def closing(verdict: Verdict, say: Callable[[object], None], mirrored: bool = True) -> None:
    """Print the verdict at the end of a study, and where to go on from there.

    Args:
        mirrored: MLflow has the study's runs.
    """
    for part in findings(verdict):
        say(part)
    beaten = "" if verdict.alone else f", which no trial was shown to beat{' within the bounds' if verdict.limits else ''}"
    side = "winner" if verdict.best is verdict.winner else f"baseline{beaten}"
    say(f"best/ holds the {side}: {verdict.folder}/best   all figures: {verdict.folder}/report.html")
    name = reference(Path(verdict.folder))
    say(f"autoopt show {name} lists the trials{f', autoopt ui {name} shows them in MLflow' if mirrored else ''}.")


def findings(verdict: Verdict) -> Iterator[str | Table]:
    """The baseline beside the winner, the verdict with its reasons, and the cost of the study."""
    yield from compared_options(verdict)
    yield verdict.study
    yield table_of_rows(side_rows(verdict))
    yield ""
    if verdict.front:
        yield from pareto(verdict)
        yield ""
    yield conclusion(verdict)
    if what := compared(verdict):
        yield what
    if verdict.ablation:
        yield ""
        yield ablation_title(verdict, verdict.ablation)
        yield table_of_rows(ablation_rows(verdict, verdict.ablation))
        yield ""
    yield from reasons(verdict)
    yield spent(verdict)


def spent(verdict: Verdict) -> str:
    """How the trials ended, and how long they ran."""
    reasons = ", ".join(f"{count} {reason}" for reason, count in verdict.reasons.items())
    counts = verdict.counts
    failed = f"{counts['failed']} failed" + (f" ({reasons})" if reasons else "")
    complete = f"{counts['complete']} {'trial' if counts['complete'] == 1 else 'trials'} complete"
    trainings = f"{verdict.trainings} {'training' if verdict.trainings == 1 else 'trainings'}"
    return f"{complete}, {counts['stopped']} stopped early, {failed}; {trainings}, {duration(verdict.seconds)} of trial time."


def compared_options(verdict: Verdict) -> Iterator[str | Table]:
    """The tables of the comparison of a slot's options with what they show; nothing where none are compared."""
    if (found := verdict.comparison) is None:
        return
    for title, rows in comparison_tables(found):
        yield from (title, table_of_rows(rows), "")
    yield from (*comparison_lines(found), f"The tables are in {verdict.folder}/comparison.md, .csv and .tex.")
    if not verdict.alone:
        yield "Below, the best of them and the baseline are trained again, on seeds that did not choose it."
    yield ""


def table_of_rows(rows: Sequence[Sequence[str]], left: Collection[str] = ("recipe",)) -> Table:
    """Rows under their header, the first; the last column takes several lines where the terminal is narrow.

    Args:
        left: the columns beside the first whose text begins at the left.
    """
    table = Table(box=None, pad_edge=False)
    header, *rest = rows
    for place, name in enumerate(header):
        side = "left" if place == 0 or name in left else "right"
        table.add_column(name, justify=side, no_wrap=0 < place < len(header) - 1)  # type: ignore[arg-type]
    for row in rest:
        table.add_row(*row)
    return table


def pareto(verdict: Verdict) -> Iterator[str | Table]:
    """The Pareto front, with the values in each objective, and the command that goes on from there."""
    yield front_title(verdict)
    yield table_of_rows(front_rows(verdict))
    name, *root = f"{reference(Path(verdict.folder))}{verdict.trust}".split(" ", 1)
    if front_kind(verdict) == "the compressed models":
        yield f"{' '.join(['autoopt export', name, 'TRIAL', *root])} writes one of them."
    else:
        yield f"{' '.join([f'autoopt train recipe={name}/TRIAL', *root])} trains one of them."
