"""An order of a stage, and how it ended."""

from dataclasses import dataclass, field
from typing import Any

from autoopt.orders import Order, Outcome, Problem, Train
from autoopt.recipe import Recipe
from autoopt.records.record import Record, columns
from autoopt.records.stages import SEARCH, Stage


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

    @property
    def label(self) -> str:
        """How the screen names it: `trial 7`, `7-final-0`, or by its stage and its key."""
        named = self.stage.name in self.key
        return f"trial {self.key}" if self.stage is SEARCH else self.key if named else f"{self.stage.name} {self.key}"


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
