"""Jobs through the executor: workers kept busy, every report answered, everything mirrored."""

import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any, Protocol

from autoopt.executor import Event, Executor
from autoopt.recipe import Recipe
from autoopt.study.folder import Folder
from autoopt.study.journal import Record
from autoopt.study.objective import COST, Objective, timed


class Interrupted(Exception):
    """The user, or the system, asked to end; `signal` is the signal's number."""

    def __init__(self, number: int, study: str):
        name = signal.Signals(number).name
        super().__init__(f"interrupted by {name}; the same command resumes, `autoopt finish {study}` concludes with what there is")
        self.signal, self.exit_code = number, 128 + number


class Screen(Protocol):
    """Where progress is shown."""

    objective: Objective | None

    def say(self, text: str) -> None: ...
    def stage(self, name: str, total: int, done: int) -> None: ...
    def earlier(self, records: Sequence[Record]) -> None: ...
    def running(self, count: int) -> None: ...
    def result(self, result: "Result") -> None: ...


class Mirror(Protocol):
    """What is told of every trial as it runs: MLflow's, or nobody's."""

    def begin(self, job: "Job") -> None: ...
    def epoch(self, job: "Job", epoch: int, metrics: dict[str, float]) -> None: ...
    def end(self, result: "Result") -> None: ...
    def conclude(self, verdict: Any, folder: Path) -> None: ...
    def close(self) -> int: ...


class Nobody:
    """The mirror where tracking is switched off, or where a job is no trial of the study."""

    def begin(self, job: "Job") -> None: ...
    def epoch(self, job: "Job", epoch: int, metrics: dict[str, float]) -> None: ...
    def end(self, result: "Result") -> None: ...
    def conclude(self, verdict: Any, folder: Path) -> None: ...
    def close(self) -> int:
        return 0


@dataclass(frozen=True)
class Job:
    """One call of `trial.run`; `key` names it within the study, `order` is what the call is given (its `rungs` are judged)."""

    key: str
    stage: str
    recipe: Recipe
    seed: int
    order: dict[str, Any] = field(default_factory=dict)
    context: Any = None


@dataclass
class Result:
    """How a job ended: with an outcome, or with a reason."""

    job: Job
    outcome: dict[str, Any] | None = None
    reason: str | None = None
    detail: str = ""
    curve: list[float] = field(default_factory=list)
    last: dict[str, float] = field(default_factory=dict)
    score: float | None = None
    seconds: float = 0.0

    @property
    def state(self) -> str:
        if self.outcome is None:
            return "failed"
        return "stopped" if self.outcome["stopped"] else "complete"


Judge = Callable[[Job, int, dict[str, float]], bool]


@dataclass
class Runner:
    """Runs jobs; the first signal lets the running ones end, the second ends them too."""

    executor: Executor
    folder: Folder
    screen: Screen
    mirror: Mirror
    workers: int
    objective: Objective | None = None
    interrupts: list[int] = field(default_factory=list)
    tickets: Iterator[int] = field(default_factory=lambda: count(1))

    @contextmanager
    def signals(self) -> Iterator[None]:
        """Count the signals that ask to end, while trials run; outside of the main thread there are none to be had."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {s: signal.signal(s, lambda number, _: self.interrupt(number)) for s in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def interrupt(self, number: int) -> None:
        self.interrupts.append(number)
        if len(self.interrupts) > 1:
            raise Interrupted(number, self.folder.words)
        self.screen.say("Stopping: running trials end first; once more ends them at once. The same command resumes.")

    def run(self, jobs: Iterable[Job], done: Callable[[Result], None], judge: Judge = lambda *_: False, width: int | None = None) -> None:
        """Keep `width` jobs running until there are no more: by default as many as there are workers, or one where time is judged.

        Args:
            judge: of a job, a rung and the metrics there: whether it ends.

        Raises:
            Interrupted: a signal came; what was running has ended.
        """
        source, live, more = iter(jobs), dict[int, tuple[Job, Result, float]](), True
        width = width or (1 if self.objective and timed(self.objective.name) else self.workers)
        while True:
            while more and not self.interrupts and len(live) < width:
                job = next(source, None)
                more = job is not None
                if job is not None:
                    live[self.submit(job)] = (job, Result(job), self.executor.now())
                    self.screen.running(len(live))
            if not live:
                break
            for event in self.executor.events():
                job, result, start = live[event.number]
                if self.hear(event, job, result, judge):
                    del live[event.number]
                    result.seconds = self.executor.now() - start
                    self.mirror.end(result)
                    done(result)
                    self.screen.running(len(live))
                    self.screen.result(result)
        if self.interrupts:
            raise Interrupted(self.interrupts[0], self.folder.words)

    def submit(self, job: Job) -> int:
        ticket = next(self.tickets)
        folder = self.folder.trial(job.key)
        objective = self.objective.name if self.objective else None
        self.mirror.begin(job)
        order = {"recipe": dict(job.recipe.tree), "seed": job.seed, "objective": objective, "log": str(folder / "log.txt")}
        order["latency"] = timed(objective)
        if self.objective is not None and objective not in COST:  # no cost is followed while training, but the validation loss
            order["direction"] = self.objective.direction
        self.executor.submit(ticket, order | job.order)
        return ticket

    def hear(self, event: Event, job: Job, result: Result, judge: Judge) -> bool:
        """Take in one event; whether it was the last of its job."""
        match event.kind:
            case "started":
                result.curve.clear()
            case "report":
                epoch, metrics = event.data["epoch"], event.data["metrics"]
                result.last = metrics
                if epoch in job.order.get("rungs", ()):
                    self.executor.reply(event.number, judge(job, epoch, metrics))
                if self.objective and self.objective.name in metrics:
                    result.curve.append(metrics[self.objective.name])
                self.mirror.epoch(job, epoch, metrics)
            case "finished":
                result.outcome = event.data
                self.settle(result)
                return True
            case "failed":
                result.reason, result.detail = event.data["reason"], event.data["detail"]
                return True
        return False

    def settle(self, result: Result) -> None:
        """The score of an outcome that has metrics; one without the objective is a failure, but on the test part, which has not all."""
        if self.objective is None or result.outcome is None or not result.outcome.get("metrics"):
            return
        measured = result.outcome["metrics"]
        result.score = self.objective.of(measured, result.job.order.get("part", "validation"))
        if result.score is None and result.job.order.get("part") != "test":
            result.outcome, result.reason = None, "error"
            result.detail = f"nothing logged {self.objective.name}; logged: {', '.join(sorted(measured))}"
