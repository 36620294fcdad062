"""The verdict as a table on the terminal."""

from collections.abc import Callable, Iterator, Sequence
from io import StringIO
from pathlib import Path

from rich.console import Console
from rich.table import Table

from autoopt.report.comparison import comparison_lines, comparison_rows, comparison_title, tuning_rows, tuning_title
from autoopt.report.reasons import ablation_rows, ablation_title, enumerated, reasons
from autoopt.report.sentence import PART_WORDS, compared, conclusion
from autoopt.study.folder import reference
from autoopt.study.stages import COMPRESS
from autoopt.study.verdict import Ablation, Verdict

COST_ROWS: tuple[tuple[str, str, Callable[[float], str]], ...] = (
    ("latency_ms", "latency of one example, ms", "{:.3f}".format),
    ("size_mb", "size, MB", lambda value: megabytes(value)),
    ("parameters", "parameters", "{:,.0f}".format),
)
VALUES = {name: form for name, _, form in COST_ROWS}
HEADERS = {"latency_ms": "latency, ms", "size_mb": "size, MB"}


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
    say(f"best/ holds the {side}: {verdict.folder}/best   all figures: {verdict.folder}/verdict.yaml")
    name = reference(Path(verdict.folder))
    say(f"autoopt show {name} lists the trials, autoopt ui {name} shows them in MLflow.")


def comparison(verdict: Verdict) -> Table:
    """Baseline and winner side by side; the baseline alone where it is compared with nothing."""
    sides = {"baseline": verdict.baseline}
    if verdict.winner.trial != verdict.baseline.trial:
        sides[f"winner (trial {verdict.winner.trial})"] = verdict.winner
    table = Table(title=verdict.study, title_justify="left", box=None, pad_edge=False)
    table.add_column("")
    for header in sides:
        table.add_column(header, justify="right")
    table.add_row(f"{verdict.objective} {PART_WORDS[verdict.part]}", *(f"{side.score:.4f}" for side in sides.values()))
    if verdict.part == "test":
        table.add_row(f"{verdict.objective} on validation, fresh seeds", *(f"{side.validation:.4f}" for side in sides.values()))
    for name, label, form in COST_ROWS:
        if all(name in side.metrics for side in sides.values()):
            table.add_row(label, *(form(side.metrics[name]) for side in sides.values()))
    table.add_row("recipe", *(side.title for side in sides.values()))
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
    """The Pareto front, with the values in each objective."""
    names = list(verdict.front[0].values)
    of = "the compressed models" if verdict.front[0].trial.startswith(COMPRESS.name) else "the trials"
    title = f"Pareto front of {of} in {enumerated(names)} (validation; latency of one example, measured alone)"
    table = Table(title=title, title_justify="left", title_style="", box=None, pad_edge=False)
    for column in ("trial", *names, "recipe"):
        table.add_column(HEADERS.get(column, column), justify="left" if column in ("trial", "recipe") else "right")
    for point in verdict.front:
        table.add_row(point.trial, *(VALUES.get(name, "{:.4f}".format)(value) for name, value in point.values.items()), point.title)
    name, *root = reference(Path(verdict.folder)).split(" ", 1)
    ways = {"the compressed models": ["autoopt export", name, *root, "TRIAL writes"]}
    way = ways.get(of, [f"autoopt train recipe={name}/TRIAL", *root, "trains"])
    table.caption, table.caption_justify = f"{' '.join(way)} one of them.", "left"
    return table


def megabytes(value: float) -> str:
    return f"{value:,.3f}" if value >= 0.01 else f"{value:.6f}"  # to the byte


def duration(seconds: float) -> str:
    """Seconds as `42 s`, `3:20` or `1:03:20`."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    hours, rest = divmod(int(seconds), 3600)
    return f"{hours}:{rest // 60:02}:{rest % 60:02}" if hours else f"{rest // 60}:{rest % 60:02}"
