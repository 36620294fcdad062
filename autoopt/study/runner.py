"""Runs jobs on the executor: keeps the workers busy, answers rungs, retries faults of the machine, mirrors every trial."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Protocol

from autoopt.executor import Event, Executor
from autoopt.goal import Goal
from autoopt.orders import Measure, Outcome, Problem, Train
from autoopt.records.folder import replace_file
from autoopt.records.record import Epochs, Record
from autoopt.records.stages import PREFLIGHT, Stage
from autoopt.store import Reached
from autoopt.study.conclusion import Conclusion
from autoopt.study.interrupts import Interrupts
from autoopt.study.jobs import Job, Result


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
    def take(self, record: Record) -> None: ...
    def conclude(self, conclusion: Conclusion) -> None: ...
    def close(self) -> int: ...


class NoListener:
    """Ignores all news, where tracking is off."""

    def begin(self, job: Job) -> None: ...
    def epoch(self, job: Job, epoch: int, metrics: dict[str, float]) -> None: ...
    def end(self, result: Result) -> None: ...
    def take(self, record: Record) -> None: ...
    def conclude(self, conclusion: Conclusion) -> None: ...
    def close(self) -> int:
        return 0


Stop = Callable[[Job, int, Epochs], bool]
"""Whether a job ends at an epoch, by the metrics of its epochs up to this one."""


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

    @property
    def workers(self) -> int:
        """How many jobs run at a time: one where the goal is timed, since others would slow it down."""
        return 1 if self.goal and self.goal.timed else self.executor.workers

    def run(
        self,
        jobs: Iterable[Job],
        done: Callable[[Result], None],
        stop: Stop = lambda *_: False,
        width: int | None = None,
        over: Callable[[Job], bool] = lambda _: False,
    ) -> None:
        """Keep `width` jobs running until there are no more: by default `workers`.

        Args:
            jobs: is asked for the next job whenever there is room for it.
            done: takes each result.
            stop: decides at each rung of a job whether it ends.
            over: whether the time of a running job is over; it is ended and has no result.

        Raises:
            Interrupted: a signal came; the running jobs have ended.
        """
        source, live, more = iter(jobs), dict[int, Running](), True
        while True:
            while more and not self.interrupts.numbers and len(live) < (width or self.workers):
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

    def _count(self, live: Mapping[int, Running]) -> None:
        trials = [running for running in live.values() if running.result.job.stage != PREFLIGHT]  # nothing is lost with a try-out
        self.interrupts.running = len(trials)
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
            self.screen.say(f"  {job.label} goes on from its checkpoint after {at.epoch} epochs")
        elif isinstance(order, Train) and order.continues:
            self.screen.say(f"  {job.label} continues trial {order.continues}, which a rung had stopped")
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
                    self.executor.reply(event.number, stop(job, epoch, result.epochs))
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
        self.screen.say(f"  {job.label} is tried again: {problem}")
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
