"""The verdict as a table on the terminal."""

from collections.abc import Callable, Iterator, Sequence
from io import StringIO
from pathlib import Path

from rich.console import Console
from rich.table import Table

from autoopt.report.comparison import comparison_lines, comparison_rows, comparison_title, tuning_rows, tuning_title
from autoopt.report.front import front_of, front_rows, front_title
from autoopt.report.numbers import duration
from autoopt.report.reasons import ablation_rows, ablation_title, reasons
from autoopt.report.sentence import compared, conclusion
from autoopt.report.sides import side_rows
from autoopt.study.folder import reference
from autoopt.study.verdict import Ablation, Verdict


def closing(verdict: Verdict, say: Callable[[object], None]) -> None:
    """Print the baseline beside the winner, the verdict, and the cost of the study."""
    for text in compared_options(verdict):
        say(text)
    say(comparison(verdict))
    say("")
    if verdict.front:
        say(pareto(verdict))
        say("")
    say(conclusion(verdict))
    if what := compared(verdict):
        say(what)
    if verdict.ablation:
        say("")
        say(ablation_title(verdict, verdict.ablation))
        say(changes(verdict, verdict.ablation))
        say("")
    for reason in reasons(verdict):
        say(reason)
    say(spent(verdict))
    side = "winner" if verdict.best is verdict.winner else "baseline"
    say(f"best/ holds the {side}: {verdict.folder}/best   all figures: {verdict.folder}/report.html")
    name = reference(Path(verdict.folder))
    say(f"autoopt show {name} lists the trials, autoopt ui {name} shows them in MLflow.")


def comparison(verdict: Verdict) -> Table:
    """Baseline and winner side by side; the baseline alone where it is compared with nothing."""
    table = table_of_rows(side_rows(verdict))
    table.title, table.title_justify = verdict.study, "left"
    return table


def spent(verdict: Verdict) -> str:
    """How the trials ended, and how long they ran."""
    reasons = ", ".join(f"{count} {reason}" for reason, count in verdict.reasons.items())
    counts = verdict.counts
    failed = f"{counts['failed']} failed" + (f" ({reasons})" if reasons else "")
    complete = f"{counts['complete']} {'trial' if counts['complete'] == 1 else 'trials'} complete"
    trainings = f"{verdict.trainings} {'training' if verdict.trainings == 1 else 'trainings'}"
    return f"{complete}, {counts['stopped']} stopped early, {failed}; {trainings}, {duration(verdict.seconds)} of trial time."


def changes(verdict: Verdict, ablation: Ablation) -> Table:
    """What each change of the baseline gives."""
    return table_of_rows(ablation_rows(verdict, ablation))


def compared_options(verdict: Verdict) -> Iterator[str | Table]:
    """The tables of the comparison of a slot's options with what they show; nothing where none are compared."""
    if (found := verdict.comparison) is None:
        return
    for title, rows in ((comparison_title(found), comparison_rows(found)), (tuning_title(found), tuning_rows(found))):
        yield from (title, table_of_rows(rows), "")
    yield from (*comparison_lines(found), f"The tables are in {verdict.folder}/comparison.md, .csv and .tex.", "")


def table_of_rows(rows: Sequence[Sequence[str]]) -> Table:
    """Rows under their header, the first."""
    table = Table(box=None, pad_edge=False)
    (first, *others), *rest = rows
    table.add_column(first)
    for header in others:
        table.add_column(header, justify="right")
    for row in rest:
        table.add_row(*row)
    return table


def plain_text(table: Table) -> str:
    """A table as plain text."""
    console = Console(width=120, file=StringIO())
    console.print(table, markup=False)
    return "\n".join(line.rstrip() for line in console.file.getvalue().splitlines())  # type: ignore[attr-defined]


def pareto(verdict: Verdict) -> Table:
    """The Pareto front, with the values in each objective, and the command that goes on from there."""
    table = table_of_rows(front_rows(verdict))
    table.columns[-1].justify = "left"
    table.title, table.title_justify, table.title_style = front_title(verdict), "left", ""
    name, *root = reference(Path(verdict.folder)).split(" ", 1)
    ways = {"the compressed models": ["autoopt export", name, *root, "TRIAL writes"]}
    way = ways.get(front_of(verdict), [f"autoopt train recipe={name}/TRIAL", *root, "trains"])
    table.caption, table.caption_justify = f"{' '.join(way)} one of them.", "left"
    return table
