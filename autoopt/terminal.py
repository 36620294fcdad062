"""The progress of a search: a line for each trial and, on a terminal, a bar below them."""

from collections.abc import Callable, Iterable, Sequence

from rich.console import Console, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars
from rich.text import Text

from autoopt.errors import LONGEST
from autoopt.goal import Goal, Scored
from autoopt.records.record import BASELINE, Record
from autoopt.records.stages import SEARCH, Stage
from autoopt.report.numbers import duration, number
from autoopt.report.terminal import console
from autoopt.study.jobs import Result

WARMING = "loading torch, Lightning and the data"
STOPPING = "Ctrl-C stops it"


class Bar(Bars):
    """The bar of the running stage, and a line of text below it."""

    def __init__(self, screen: Console, detail: Callable[[], str], left: Callable[[], str]):
        columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(bar_width=None), MofNCompleteColumn(), TimeElapsedColumn())
        self.detail, self.left = detail, left
        super().__init__(*columns, TextColumn("{task.fields[left]}"), console=screen, refresh_per_second=4, transient=True, expand=True)
        self.task = self.add_task("warming up", total=None, left="")

    def get_renderables(self) -> Iterable[RenderableType]:
        if self.tasks:
            self.tasks[0].fields["left"] = self.left()
            self.tasks[0].finished_time = None  # with its last trial a stage ends, not the command: the clock and the spinner go on
        yield self.make_tasks_table(self.tasks)
        yield Text(self.detail(), style="dim")


class Progress:
    """Shows the running stage: its trials, the best score so far against the baseline, and the time left.

    Args:
        resumes: the command goes on where it was stopped, as a search does.
    """

    def __init__(self, quiet: bool = False, resumes: bool = False):
        self.stopping = f"{STOPPING}, the same command resumes" if resumes else STOPPING
        self.console = console(quiet)
        self.goal: Goal | None = None
        self.clock: Callable[[], float] = lambda: 0.0
        self.baseline: float | None = None
        self.best: tuple[str, Scored] | None = None
        self.current: Stage | None = None
        self.total, self.done, self.before, self.live_trials, self.began = 0, 0, 0, 0, 0.0
        self.bar = Bar(self.console, self.detail, self.left) if self.console.is_terminal and not quiet else None

    def __enter__(self) -> "Progress":
        if self.bar:
            self.bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.bar:
            self.bar.stop()

    def say(self, text: object) -> None:
        self.console.print(text[:LONGEST] if isinstance(text, str) else text)

    def stage(self, stage: Stage, total: int, done: int) -> None:
        self.current, self.total, self.done, self.before, self.began = stage, total, done, done, self.clock()
        if total > done:
            self.say(f"{stage.about}: {total - done} to go" + (f", {done} done before" if done else ""))
        self._draw()

    def earlier(self, records: Sequence[Record]) -> None:
        """Take in the trials of earlier sessions."""
        for record in records:
            self.note(record.key, record)

    def running(self, count: int) -> None:
        self.live_trials = count

    def result(self, result: Result) -> None:
        self.done += 1
        stage, key = result.job.stage, result.job.key
        if stage is SEARCH:
            self.note(key, result)
        if result.problem and stage.stored:
            self.say(f"  {result.job.label} failed ({result.problem.reason}): {result.problem.line}")
        elif stage.shown:
            self.say(f"  {self.done}/{self.total}  {self.described(result)}")
        self._draw()

    def note(self, key: str, trial: Scored) -> None:
        """Remember the baseline, and the best trial, as the leaderboard ranks them."""
        if self.goal is None:
            return
        if key == BASELINE and trial.state == "complete":
            self.baseline = trial.score
        known = [] if self.best is None else [self.best[1]]
        if (ranked := self.goal.rank([*known, trial])) and ranked[0] is trial:
            self.best = (key, trial)

    def described(self, result: Result) -> str:
        score = f"{self.goal.first.name} {number(result.score)}" if result.score is not None and self.goal else ""
        ended = " (stopped early)" if result.state == "stopped" else ""
        return f"{result.job.key:>3}  {score}{ended}  {result.job.recipe.title()}  {duration(result.seconds)}"

    def detail(self) -> str:
        """What stands below the bar: the trials that run, the best so far, and how to stop."""
        if self.current is None:
            return WARMING
        parts = [f"{self.live_trials} running"]
        if self.best and self.goal:
            first, (key, trial) = self.goal.first, self.best
            score = trial.score or 0.0
            parts.append(f"best {first.name} {number(score)} in trial {key}")
            if self.baseline is not None:
                parts.append(f"baseline {number(self.baseline, score)} ({number(first.gain(score, self.baseline), score, sign='+')})")
        return " · ".join([*parts, self.stopping])

    def left(self) -> str:
        """The time that the stage still takes at the rate of its trials so far."""
        fresh = self.done - self.before
        if not fresh or self.done >= self.total:
            return ""
        return f"{duration((self.clock() - self.began) / fresh * (self.total - self.done))} left"

    def _draw(self) -> None:
        if self.bar and self.current:
            self.bar.update(self.bar.task, description=self.current.name, total=self.total, completed=self.done)
