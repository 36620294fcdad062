"""The verdict as a table on the terminal."""

from collections.abc import Callable
from pathlib import Path

from rich.table import Table

from autoopt.report.sentence import PART_WORDS, conclusion
from autoopt.study.folder import reference
from autoopt.study.verdict import Verdict

COST_ROWS: tuple[tuple[str, str, Callable[[float], str]], ...] = (
    ("latency_ms", "latency of one example, ms", "{:.3f}".format),
    ("size_mb", "size, MB", lambda value: megabytes(value)),
    ("parameters", "parameters", "{:,.0f}".format),
)


def closing(verdict: Verdict, say: Callable[[object], None]) -> None:
    """Baseline against winner, what was spent, and the verdict."""
    say(comparison(verdict))
    say("")
    if verdict.front:
        say(pareto(verdict))
        say("")
    say(conclusion(verdict))
    say(spent(verdict))
    side = "winner" if verdict.best is verdict.winner else "baseline"
    say(f"best/ holds the {side}: {verdict.folder}/best   all figures: {verdict.folder}/verdict.yaml")
    name = reference(Path(verdict.folder))
    say(f"autoopt show {name} lists the trials, autoopt ui {name} shows them in MLflow.")


def comparison(verdict: Verdict) -> Table:
    """Baseline and winner side by side."""
    theirs, ours = verdict.baseline, verdict.winner
    table = Table(title=verdict.study, title_justify="left", box=None, pad_edge=False)
    table.add_column("")
    table.add_column("baseline", justify="right")
    table.add_column(f"winner (trial {ours.trial})", justify="right")
    table.add_row(f"{verdict.objective} {PART_WORDS[verdict.part]}", f"{theirs.score:.4f}", f"{ours.score:.4f}")
    if verdict.part == "test":
        table.add_row(f"{verdict.objective} on validation, fresh seeds", f"{theirs.validation:.4f}", f"{ours.validation:.4f}")
    for name, label, form in COST_ROWS:
        if name in theirs.metrics and name in ours.metrics:
            table.add_row(label, form(theirs.metrics[name]), form(ours.metrics[name]))
    table.add_row("recipe", theirs.title, ours.title)
    return table


def spent(verdict: Verdict) -> str:
    """How the trials ended, and what they took."""
    reasons = ", ".join(f"{count} {reason}" for reason, count in verdict.reasons.items())
    counts = verdict.counts
    failed = f"{counts['failed']} failed" + (f" ({reasons})" if reasons else "")
    trials = f"{counts['complete']} trials complete, {counts['stopped']} stopped early, {failed}"
    return f"{trials}; {verdict.trainings} trainings, {duration(verdict.seconds)} of trial time."


def pareto(verdict: Verdict) -> Table:
    """The compressed models that no other one beats in score, latency and size at once."""
    title = "compressed models that no other one equals in all three (validation; latency of one example, nothing else running)"
    table = Table(title=title, title_justify="left", title_style="", box=None, pad_edge=False)
    for column in ("trial", verdict.objective, "latency, ms", "size, MB", "recipe"):
        table.add_column(column, justify="left" if column in ("trial", "recipe") else "right")
    for point in verdict.front:
        table.add_row(point.trial, f"{point.validation:.4f}", f"{point.latency_ms:.3f}", megabytes(point.size_mb), point.title)
    table.caption = f"autoopt export {reference(Path(verdict.folder))} TRIAL writes one of them."
    table.caption_justify = "left"
    return table


def megabytes(value: float) -> str:
    return f"{value:,.3f}" if value >= 0.01 else f"{value:.6f}"  # of a byte


def duration(seconds: float) -> str:
    """Seconds as `42 s`, `3:20` or `1:03:20`."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    hours, rest = divmod(int(seconds), 3600)
    return f"{hours}:{rest // 60:02}:{rest % 60:02}" if hours else f"{rest // 60}:{rest % 60:02}"
