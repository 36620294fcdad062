"""Runs jobs on the executor: keeps the workers busy, answers rungs, retries faults of the machine, mirrors every trial."""

import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence, Sized
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Any, Protocol

from autoopt.executor import Event, Executor
from autoopt.goal import Goal
from autoopt.orders import Measure, Order, Outcome, Problem, Train
from autoopt.process.endings import NOTICES
from autoopt.recipe import Recipe
from autoopt.store import Reached
from autoopt.study.conclusion import Conclusion
from autoopt.study.folder import replace_file
from autoopt.study.record import Record, columns
from autoopt.study.stages import Stage


class Interrupted(KeyboardInterrupt):
    """A signal asked the command to end; `signal` is its number. No `except Exception` on its way holds it up."""

    def __init__(self, number: int, left: str):
        super().__init__(f"interrupted by {signal.Signals(number).name}; {left}")
        self.signal, self.exit_code = number, 128 + number


@dataclass(frozen=True)
class Job:
    """One order of a stage; `context` is for the submitter alone."""

    order: Order
    stage: Stage
    context: Any = None

    @property
    def key(self) -> str:
        return self.order.key

    @property
    def recipe(self) -> Recipe:
        return self.order.recipe


@dataclass
class Result:
    """How a job ended: with an outcome, or with a problem.

    Args:
        epochs: the metrics of each epoch, by its number.
        score: the value of the first objective.
        seconds: how long it ran.
        elapsed: the seconds that the study had used at its end.
    """

    job: Job
    outcome: Outcome | None = None
    problem: Problem | None = None
    epochs: dict[int, dict[str, float]] = field(default_factory=dict)
    score: float | None = None
    seconds: float = 0.0
    elapsed: float = 0.0

    @property
    def state(self) -> str:
        if self.outcome is None:
            return "failed"
        return "stopped" if self.outcome.stopped else "complete"

    @property
    def last(self) -> dict[str, float]:
        """The metrics of the last epoch."""
        return self.epochs[max(self.epochs)] if self.epochs else {}

    @property
    def metrics(self) -> dict[str, float]:
        """The metrics at the end, or of the last epoch before it failed."""
        return dict(self.outcome.metrics) if self.outcome else self.last

    def record(self) -> Record:
        """The record that the study keeps of it."""
        job, outcome = self.job, self.outcome or Outcome(epochs=len(self.epochs))
        failure = {}
        if (problem := self.problem) is not None:
            technique = f"{problem.slot}/{problem.name}" if problem.slot else ""
            failure = {"reason": problem.reason, "detail": problem.line, "technique": technique}
        return Record(
            key=job.key,
            stage=job.stage.name,
            recipe=dict(job.recipe.tree),
            seed=job.order.seed,
            state=self.state,
            score=self.score,
            metrics=self.metrics,
            curves=columns(self.epochs),
            resamples=list(outcome.resamples),
            units=outcome.units,
            epochs=outcome.epochs,
            seconds=self.seconds,
            elapsed=self.elapsed,
            environment=dict(outcome.environment),
            continues=job.order.continues if isinstance(job.order, Train) else "",
            **failure,
        )


class Screen(Protocol):
    """Where progress is shown."""

    goal: Goal | None
    clock: Callable[[], float]

    def say(self, text: str) -> None: ...
    def stage(self, stage: Stage, total: int, done: int) -> None: ...
    def earlier(self, records: Sequence[Record]) -> None: ...
    def running(self, count: int) -> None: ...
    def result(self, result: Result) -> None: ...


class Listener(Protocol):
    """Receives the news of every trial: MLflow's mirror, or `NoListener`."""

    def begin(self, job: Job) -> None: ...
    def epoch(self, job: Job, epoch: int, metrics: dict[str, float]) -> None: ...
    def end(self, result: Result) -> None: ...
    def conclude(self, conclusion: Conclusion) -> None: ...
    def close(self) -> int: ...


class NoListener:
    """Ignores all news, where tracking is off."""

    def begin(self, job: Job) -> None: ...
    def epoch(self, job: Job, epoch: int, metrics: dict[str, float]) -> None: ...
    def end(self, result: Result) -> None: ...
    def conclude(self, conclusion: Conclusion) -> None: ...
    def close(self) -> int:
        return 0


Stop = Callable[[Job, int, dict[str, float]], bool]
"""Whether a job ends at an epoch with these metrics."""


@dataclass
class Interrupts:
    """The signals that asked to end: while trials of a search run, they finish after the first; any other ends the command at once.

    Args:
        left: what an interrupted command leaves, and how to go on.
        patient: running trials finish after the first signal.
        running: how many trials run.
    """

    left: Callable[[], str]
    say: Callable[[str], None]
    patient: bool = True
    running: int = 0
    numbers: list[int] = field(default_factory=list)

    @contextmanager
    def counted(self) -> Iterator[None]:
        """Count signals; outside of the main thread none arrive."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {s: signal.signal(s, lambda number, _: self.add(number)) for s in (signal.SIGINT, *NOTICES)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def add(self, number: int) -> None:
        self.numbers.append(number)
        if len(self.numbers) > 1:
            raise Interrupted(number, self.left())
        if self.patient and self.running:
            self.say("Stopping: the running trials finish first; a second signal ends them at once. The same command resumes.")
        else:
            self.say("Stopping; a second signal waits for nothing.")
            raise Interrupted(number, self.left())

    def check(self) -> None:
        """Raise Interrupted if a signal came."""
        if self.numbers:
            raise Interrupted(self.numbers[0], self.left())


@dataclass
class Running:
    """A job that runs, with its result so far; it may start more than once.

    Args:
        faults: of the machine, one after another, between which it came no further.
        late: it was ended because its time was over.
        at: the position of its last checkpoint.
    """

    result: Result
    start: float
    faults: int = 0
    late: bool = False
    at: Reached | None = None


@dataclass(frozen=True)
class Runner:
    """Runs jobs for a goal, or without one before it is settled.

    Args:
        elapsed: returns the seconds that the study has used.
        retries: how often a job is submitted again after a fault of the machine, unless it came further since the last one.
        keeps_rungs: the checkpoints of trials that a rung stopped are kept.
    """

    executor: Executor
    screen: Screen
    interrupts: Interrupts
    elapsed: Callable[[], float]
    goal: Goal | None = None
    listener: Listener = field(default_factory=NoListener)
    tickets: Iterator[int] = field(default_factory=lambda: count(1))
    retries: int = 3
    keeps_rungs: bool = False

    def run(
        self,
        jobs: Iterable[Job],
        done: Callable[[Result], None],
        stop: Stop = lambda *_: False,
        width: int | None = None,
        over: Callable[[Job], bool] = lambda _: False,
    ) -> None:
        """Keep `width` jobs running until there are no more: by default one for each worker, or one where the goal is timed.

        Args:
            jobs: is asked for the next job whenever there is room for it.
            done: takes each result.
            stop: decides at each rung of a job whether it ends.
            over: whether the time of a running job is over; it is ended and has no result.

        Raises:
            Interrupted: a signal came; the running jobs have ended.
        """
        source, live, more = iter(jobs), dict[int, Running](), True
        width = width or (1 if self.goal and self.goal.timed else None)
        while True:
            while more and not self.interrupts.numbers and len(live) < (width or self.executor.workers):
                job = next(source, None)
                more = job is not None
                if job is not None and not self.interrupts.numbers:  # a signal may have come since
                    live[self._submit(job)] = Running(Result(job), self.executor.now())
                    self._count(live)
            if not live:
                break
            for number, running in live.items():
                if not running.late and over(running.result.job):
                    running.late = True
                    self.executor.kill(number)
            for event in self.executor.events():
                running = live[event.number]
                if self._hear(event, running.result, stop):
                    del live[event.number]
                    if self._retry(running):
                        live[self._submit(running.result.job)] = running
                    elif not self._cut(running):
                        self._end(running, done)
                    self._count(live)
        self.interrupts.check()

    def _count(self, live: Sized) -> None:
        self.interrupts.running = len(live)
        self.screen.running(len(live))

    def collect(self, jobs: Iterable[Job], over: Callable[[Job], bool] = lambda _: False) -> list[Result]:
        """The results of jobs; a job whose time is over has none."""
        results: list[Result] = []
        self.run(jobs, results.append, over=over)
        return results

    def _submit(self, job: Job) -> int:
        ticket, order = next(self.tickets), job.order
        if self.goal is not None:
            first = self.goal.first
            direction = None if first.cost else first.direction  # for a cost, training follows the validation loss
            order = replace(order, objective=first.name, direction=direction, latency=order.latency or self.goal.timed)
        if job.stage.stored:
            replace_file(self.executor.store.recipe(order.key), order.recipe.yaml())
        if job.stage.tracked:
            self.listener.begin(job)
        if (at := self._checkpoint(job)) is not None:
            self.screen.say(f"  {on_screen(job)} goes on from its checkpoint after {at.epoch} epochs")
        elif isinstance(order, Train) and order.continues:
            self.screen.say(f"  {on_screen(job)} continues trial {order.continues}, which a rung had stopped")
        self.executor.submit(ticket, order)
        return ticket

    def _hear(self, event: Event, result: Result, stop: Stop) -> bool:
        """Handle an event; return whether it was the last of its job."""
        job, data = result.job, event.data
        match event.kind:
            case "started":
                result.epochs.clear()
            case "report":
                epoch, metrics = data["epoch"], data["metrics"]
                result.epochs[epoch] = metrics
                if epoch in job.order.rungs:
                    self.executor.reply(event.number, stop(job, epoch, metrics))
                if job.stage.tracked:
                    self.listener.epoch(job, epoch, metrics)
            case "finished":
                try:
                    result.outcome = Outcome.read(data)
                except ValueError as error:
                    result.problem = Problem("error", str(error))
                    return True
                self._score(result)
                return True
            case "failed":
                result.problem = Problem(**data)
                return True
        return False

    def _retry(self, running: Running) -> bool:
        """Whether the machine is to blame for a failure, so that the job is submitted again."""
        job, problem = running.result.job, running.result.problem
        if problem is None or problem.blame != "machine" or running.late or self.interrupts.numbers:
            return False
        at = self._checkpoint(job)
        running.faults = 1 if at is not None and (running.at is None or at > running.at) else running.faults + 1
        if running.faults > self.retries:
            return False
        self.screen.say(f"  {on_screen(job)} is tried again: {problem}")
        running.at, running.result = at, Result(job)
        return True

    def _checkpoint(self, job: Job) -> Reached | None:
        """The position of the last checkpoint of a training."""
        return next(iter(self.executor.store.checkpoints(job.key)), None) if isinstance(job.order, Train) else None

    def _cut(self, running: Running) -> bool:
        """Whether a job ended with its session or its time, so that it has no result and another session runs it again."""
        problem = running.result.problem
        return problem is not None and problem.blame != "recipe" and (running.late or bool(self.interrupts.numbers))

    def _end(self, running: Running, done: Callable[[Result], None]) -> None:
        result = running.result
        before = result.outcome.seconds if result.outcome else 0.0  # with those that it trained in an earlier session
        result.seconds, result.elapsed = max(self.executor.now() - running.start, before), self.elapsed()
        done(result)  # writes it to the journal, of which the listener's is a copy
        if result.job.stage.stored or result.job.stage.tracked:
            self.listener.end(result)
        if not (self.keeps_rungs and result.state == "stopped"):
            self.executor.store.forget_checkpoints(result.job.key)
        self.screen.result(result)

    def _score(self, result: Result) -> None:
        """Set the value of the first objective; on the validation part an outcome without it is a failure."""
        if self.goal is None or result.outcome is None or not result.outcome.metrics:
            return
        order = result.job.order
        part = order.part if isinstance(order, Measure) else "validation"
        result.score = self.goal.first.value(result.outcome.metrics, part)
        if result.score is None and part != "test":
            logged = ", ".join(sorted(result.outcome.metrics))
            result.problem = Problem("error", f"{self.goal.first.name} was not logged; logged: {logged}")
            result.outcome = None


def on_screen(job: Job) -> str:
    """A job as the screen names it, by its stage and its key."""
    key, stage = job.key, job.stage.name
    return key if key.startswith(stage) else f"{stage} {key}"
