"""What a search shows while it runs: a live line on a terminal, plain lines elsewhere."""

import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from autoopt.recipe import Recipe
from autoopt.study.compress import COSTS
from autoopt.study.folder import ROOT
from autoopt.study.journal import Record
from autoopt.study.objective import Objective
from autoopt.study.runner import Result
from autoopt.study.verdict import Verdict

SHOWN = ("search", "compress", "confirm")


def duration(seconds: float) -> str:
    """Seconds as `42 s`, `3:20` or `1:03:20`."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    hours, rest = divmod(int(seconds), 3600)
    return f"{hours}:{rest // 60:02}:{rest % 60:02}" if hours else f"{rest // 60}:{rest % 60:02}"


class Progress:
    """Counts, the best so far against the baseline, and the time left, of the stage that runs."""

    def __init__(self, quiet: bool = False):
        self.console = Console(file=sys.stdout, highlight=False, soft_wrap=True, quiet=quiet, width=None if sys.stdout.isatty() else 120)
        self.objective: Objective | None = None
        self.baseline: float | None = None
        self.best: tuple[float, str] | None = None
        self.name, self.total, self.done, self.live_trials = "", 0, 0, 0
        self.began, self.before = time.monotonic(), 0
        self.live = (
            Live(console=self.console, get_renderable=self.line, refresh_per_second=4, transient=True) if self.console.is_terminal else None
        )

    def __enter__(self) -> "Progress":
        if self.live:
            self.live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.live:
            self.live.stop()

    def say(self, text: object) -> None:
        self.console.print(text, markup=False)

    def stage(self, name: str, total: int, done: int) -> None:
        self.name, self.total, self.done, self.before = name, total, done, done
        self.began = time.monotonic()
        if not self.live and total > done:
            self.say(f"{name}: {total - done} to go" + (f", {done} done before" if done else ""))

    def earlier(self, records: Sequence[Record]) -> None:
        """Take in the trials of earlier sessions."""
        for record in records:
            self.note(record.key, record.state, record.score)

    def running(self, count: int) -> None:
        self.live_trials = count

    def result(self, result: Result) -> None:
        self.done += 1
        job = result.job
        if job.stage == "search":
            self.note(job.key, result.state, result.score)
        if result.reason and job.stage != "preflight":
            self.say(f"  {job.stage} {job.key} failed ({result.reason}): {result.detail}")
        elif not self.live and job.stage in SHOWN:
            self.say(f"  {self.done}/{self.total}  {self.described(result)}")

    def note(self, key: str, state: str, score: float | None) -> None:
        """Remember the baseline and the best."""
        if score is None or state != "complete" or self.objective is None:
            return
        if key == "0":
            self.baseline = score
        if self.best is None or self.objective.better(score, self.best[0]):
            self.best = (score, key)

    def described(self, result: Result) -> str:
        score = "" if result.score is None else f"{self.objective.name if self.objective else ''} {result.score:.4f}"
        ended = " (stopped early)" if result.state == "stopped" else ""
        return f"{result.job.key:>3}  {score}{ended}  {result.job.recipe.title()}  {duration(result.seconds)}"

    def line(self) -> Text:
        if not self.name:
            return Text("loading torch, Lightning and the data", style="dim")
        parts = [f"{self.name} {self.done}/{self.total}", f"{self.live_trials} running"]
        if self.best and self.objective:
            gain = "" if self.baseline is None else f" ({self.objective.gain(self.best[0], self.baseline):+.4f} over the baseline)"
            parts.append(f"best {self.objective.name} {self.best[0]:.4f} in trial {self.best[1]}{gain}")
        fresh = self.done - self.before
        if fresh and self.total:
            parts.append(f"{duration((time.monotonic() - self.began) / fresh * (self.total - self.done))} left")
        return Text(" · ".join([*parts, "Ctrl-C ends it, the same command resumes"]), style="dim", no_wrap=True, overflow="ellipsis")


def closing(verdict: Verdict, say: Callable[[object], None]) -> None:
    """The closing table: baseline against winner, what was spent, and the verdict."""
    table = Table(title=f"{verdict.study}", title_justify="left", box=None, pad_edge=False)
    for column, justify in (("", "left"), ("baseline", "right"), (f"winner (trial {verdict.winner.key})", "right")):
        table.add_column(column, justify=justify)  # type: ignore[arg-type]
    ours, theirs = verdict.described(verdict.winner), verdict.described(verdict.baseline)
    rows: list[tuple[str, float, float, Callable[[float], str]]] = [
        (f"{verdict.objective.name}, {verdict.part} split", theirs["score"], ours["score"], "{:.4f}".format),
        (f"{verdict.objective.name}, validation, fresh seeds", theirs["validation"], ours["validation"], "{:.4f}".format),
    ]
    costs = (
        ("latency_ms", "latency of one example, ms", "{:.3f}".format),
        ("size_mb", "size, MB", megabytes),
        ("parameters", "parameters", "{:,.0f}".format),
    )
    rows += [
        (label, theirs["metrics"][k], ours["metrics"][k], f) for k, label, f in costs if k in theirs["metrics"] and k in ours["metrics"]
    ]
    for label, one, other, form in rows:
        table.add_row(label, form(one), form(other))
    table.add_row("recipe", theirs["title"], ours["title"])
    say(table)
    say("")
    if verdict.front:
        say(pareto(verdict))
        say("")
    say(verdict.conclusion())
    reasons = ", ".join(f"{n} {reason}" for reason, n in verdict.reasons.items())
    counts = verdict.counts
    say(
        f"{counts['complete']} trials complete, {counts['stopped']} stopped early, {counts['failed']} failed"
        + (f" ({reasons})" if reasons else "")
        + f"; {verdict.trainings} trainings, {duration(verdict.seconds)} of trial time."
    )
    say(f"best/ holds the {'winner' if verdict.better else 'baseline'}: {verdict.folder}/best   all figures: {verdict.folder}/verdict.yaml")
    name = words(Path(verdict.folder))
    say(f"autoopt show {name} lists the trials, autoopt ui {name} shows them in MLflow.")


def pareto(verdict: Verdict) -> Table:
    """The compressed models that nothing else beats in score, latency and size at once."""
    title = "compressed, where no other is as good in all three (validation; latency of one example, nothing else running)"
    table = Table(title=title, title_justify="left", title_style="", box=None, pad_edge=False)
    for column in ("trial", verdict.objective.name, "latency, ms", "size, MB", "recipe"):
        table.add_column(column, justify="left" if column in ("trial", "recipe") else "right")
    for record in verdict.front:
        latency, size = (record.metrics[cost] for cost in COSTS)
        table.add_row(record.key, f"{record.score:.4f}", f"{latency:.3f}", megabytes(size), Recipe(record.recipe).title())
    table.caption, table.caption_justify = f"autoopt export {words(Path(verdict.folder))} TRIAL writes one of them.", "left"
    return table


def megabytes(value: float) -> str:
    return f"{value:,.3f}" if value >= 0.01 else f"{value:.6f}"  # of a byte


def words(folder: Path) -> str:
    """The study as the other commands are told of it."""
    return folder.name if folder.parent == Path(ROOT) else f"{folder.name} root={folder.parent}"
