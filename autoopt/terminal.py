"""The progress of a search: a live line on a terminal, plain lines elsewhere."""

import sys
from collections.abc import Callable, Sequence

from rich.console import Console
from rich.live import Live
from rich.text import Text

from autoopt.errors import LONGEST, printable
from autoopt.goal import Goal
from autoopt.report.terminal import duration
from autoopt.study.explore import BASELINE
from autoopt.study.record import Record
from autoopt.study.runner import Result
from autoopt.study.stages import SEARCH, Stage


class Progress:
    """Shows the running stage: its counts, the best score so far against the baseline, and the time left."""

    def __init__(self, quiet: bool = False):
        self.console = Console(file=sys.stdout, highlight=False, soft_wrap=True, quiet=quiet, width=None if sys.stdout.isatty() else 120)
        self.goal: Goal | None = None
        self.clock: Callable[[], float] = lambda: 0.0
        self.baseline: float | None = None
        self.best: tuple[float, str] | None = None
        self.current: Stage | None = None
        self.total, self.done, self.before, self.live_trials, self.began = 0, 0, 0, 0, 0.0
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
        self.console.print(printable(text, LONGEST) if isinstance(text, str) else text, markup=False)

    def stage(self, stage: Stage, total: int, done: int) -> None:
        self.current, self.total, self.done, self.before, self.began = stage, total, done, done, self.clock()
        if not self.live and total > done:
            self.say(f"{stage.about}: {total - done} to go" + (f", {done} done before" if done else ""))

    def earlier(self, records: Sequence[Record]) -> None:
        """Take in the trials of earlier sessions."""
        for record in records:
            self.note(record.key, record.state, record.score)

    def running(self, count: int) -> None:
        self.live_trials = count

    def result(self, result: Result) -> None:
        self.done += 1
        stage, key = result.job.stage, result.job.key
        if stage is SEARCH:
            self.note(key, result.state, result.score)
        if result.problem and stage.stored:
            self.say(f"  {stage.name} {key} failed ({result.problem.reason}): {result.problem.line}")
        elif not self.live and stage.shown:
            self.say(f"  {self.done}/{self.total}  {self.described(result)}")

    def note(self, key: str, state: str, score: float | None) -> None:
        """Remember the baseline and the best."""
        if score is None or state != "complete" or self.goal is None:
            return
        if key == BASELINE:
            self.baseline = score
        if self.best is None or self.goal.first.better(score, self.best[0]):
            self.best = (score, key)

    def described(self, result: Result) -> str:
        score = f"{self.goal.first.name} {result.score:.4f}" if result.score is not None and self.goal else ""
        ended = " (stopped early)" if result.state == "stopped" else ""
        return f"{result.job.key:>3}  {score}{ended}  {result.job.recipe.title()}  {duration(result.seconds)}"

    def line(self) -> Text:
        if self.current is None:
            return Text("loading torch, Lightning and the data", style="dim")
        parts = [f"{self.current.name} {self.done}/{self.total}", f"{self.live_trials} running"]
        if self.best and self.goal:
            first = self.goal.first
            gain = "" if self.baseline is None else f" ({first.gain(self.best[0], self.baseline):+.4f} over the baseline)"
            parts.append(f"best {first.name} {self.best[0]:.4f} in trial {self.best[1]}{gain}")
        fresh = self.done - self.before
        if fresh and self.total:
            parts.append(f"{duration((self.clock() - self.began) / fresh * (self.total - self.done))} left")
        return Text(" · ".join([*parts, "Ctrl-C stops it, the same command resumes"]), style="dim", no_wrap=True, overflow="ellipsis")
