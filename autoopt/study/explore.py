"""The search: the baseline first, then Optuna's TPE, with bad trials stopped at rungs."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import optuna
from optuna.trial import FixedTrial

from autoopt.recipe import Recipe
from autoopt.space import Space
from autoopt.study.folder import derived_seed
from autoopt.study.journal import Journal, Record
from autoopt.study.ladder import Ladder
from autoopt.study.objective import Objective
from autoopt.study.runner import Job, Result, Runner

STAGE = "search"
STARTUP = 10


@dataclass
class Sampling:
    """One ask/tell stage of a study: recipes out of a space, told by what their trials came to.

    A cut search goes on as if it had not been cut: the sampler's seed and every trial's are derived from the trial's
    number, and a trial that died with its session runs again under its own.
    """

    stage: str
    journal: Journal
    draw: Callable[[optuna.Trial | FixedTrial], Recipe]
    total: int
    seed: int
    until: float = float("inf")
    first: dict[str, object] = field(default_factory=dict)
    order: Callable[[int, Recipe], dict[str, object]] = lambda number, recipe: {}

    def __post_init__(self) -> None:
        self.study = self.journal.stage(self.stage)

    def jobs(self) -> Iterator[Job]:
        for trial in self.journal.interrupted(self.study):
            self.reseed(trial.number)
            yield self.job(optuna.Trial(self.study, trial._trial_id))
        while len(self.study.get_trials(deepcopy=False)) < self.total and time.time() < self.until:
            yield self.job(self.ask())

    def ask(self) -> optuna.Trial:
        number = len(self.study.get_trials(deepcopy=False))
        self.reseed(number)
        if number == 0 and self.first:
            self.study.enqueue_trial(self.first)
        return self.study.ask()

    def reseed(self, number: int) -> None:
        self.study.sampler = optuna.samplers.TPESampler(seed=derived_seed(self.seed, f"sampler {number}"), n_startup_trials=STARTUP)

    def job(self, trial: optuna.Trial) -> Job:
        recipe = self.draw(trial)
        key = f"{trial.number}" if self.stage == STAGE else f"{self.stage}-{trial.number}"
        return Job(key, self.stage, recipe, derived_seed(self.seed, key), self.order(trial.number, recipe), trial)

    def tell(self, result: Result) -> None:
        self.journal.tell(self.study, result.job.context, recorded(result))


def recorded(result: Result) -> Record:
    """What is kept of a result."""
    job, outcome = result.job, result.outcome or {}
    return Record(
        key=job.key,
        stage=job.stage,
        recipe=dict(job.recipe.tree),
        seed=job.seed,
        state=result.state,
        score=result.score,
        metrics=outcome.get("metrics", result.last),
        curve=list(result.curve),
        resamples=outcome.get("resamples", []),
        epochs=outcome.get("epochs", len(result.curve)),
        seconds=result.seconds,
        reason=result.reason,
        detail=result.detail,
    )


def explore(
    runner: Runner, journal: Journal, space: Space, objective: Objective, baseline: Recipe | None, seed: int, until: float, stopping: bool
) -> None:
    """Ask, train and tell until the trials or the time are used up.

    Args:
        baseline: trial 0 where it is not the space's own; it is told to nobody's sampler.
        until: the wall time after which nothing more is asked.
    """
    total, epochs = space.tree["study"]["trials"], space.tree["study"]["epochs"]
    keep = bool(space.tree["compression"])
    searched = space.trained()

    def draw(trial: optuna.Trial | FixedTrial) -> Recipe:
        return baseline if baseline is not None and getattr(trial, "number", None) == 0 else searched.draw(trial)

    def order(number: int, recipe: Recipe) -> dict[str, object]:
        saved = {"save": str(runner.folder.weights(str(number)))} if keep else {}
        return saved | ({"latency": True} if objective.name.startswith(("latency", "inference")) else {})

    first = {} if baseline is not None else searched.defaults()
    sampling = Sampling(STAGE, journal, draw, total, seed, until, first, order)
    ladder = Ladder(epochs, objective)
    records = journal.records(STAGE)
    for record in records:
        ladder.remember(int(record.key), record.curve)

    def judge(job: Job, epoch: int, metrics: dict[str, float]) -> bool:
        value = metrics.get(objective.name)
        if value is None or not stopping:
            return False
        return ladder.stop(int(job.key), epoch, value) and job.key != "0"

    runner.screen.stage(STAGE, total, len(records))
    runner.run(sampling.jobs(), sampling.tell, judge)


def ranked(records: list[Record], objective: Objective) -> list[Record]:
    """The complete trials, the best first; of equals the smaller."""
    complete = [r for r in records if r.state == "complete" and r.score is not None]
    return sorted(complete, key=lambda r: (-objective.sign * (r.score or 0.0), r.metrics.get("size_mb", 0.0)))
