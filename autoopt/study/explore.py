"""The search: the baseline first, then Optuna's TPE, with bad trials stopped at rungs."""

import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.samplers import TPESampler
from optuna.trial import FrozenTrial, TrialState

from autoopt.errors import NotConcluded
from autoopt.recipe import Recipe
from autoopt.space import Space
from autoopt.study.folder import derived_seed
from autoopt.study.journal import Journal, Record
from autoopt.study.ladder import Ladder
from autoopt.study.objective import Objective
from autoopt.study.runner import Job, Result, Runner

STAGE = "search"
BASELINE = "0"
STARTUP = 10
PATIENCE = 50
"""Draws in a row of what was tried before, after which hardly anything else can be left."""


class Derived(TPESampler):
    """TPE for one trial, whose values are drawn each from a seed of its own: one that died half drawn is drawn on as it was begun."""

    def __init__(self, seed: int, number: int, startup: int = STARTUP):
        super().__init__(seed=derived_seed(seed, f"sampler {number}"), n_startup_trials=startup)
        self.base, self.startup = seed, startup

    def sample_independent(self, study: optuna.Study, trial: FrozenTrial, name: str, distribution: BaseDistribution) -> Any:
        own = TPESampler(seed=derived_seed(self.base, f"sampler {trial.number} {name}"), n_startup_trials=self.startup)
        return own.sample_independent(study, trial, name, distribution)


class Asking:
    """An Optuna trial as a space asks it.

    Optuna keeps the options of a name for a study's life. A session may find others (a plugin was mended, a longer search
    has other best trials): these go by a name of their own.
    """

    def __init__(self, trial: optuna.Trial, known: Mapping[str, BaseDistribution]):
        self.number, self.known = trial.number, known
        self.trial, self.suggest_float, self.suggest_int = trial, trial.suggest_float, trial.suggest_int

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        if name in self.known and self.known[name] != CategoricalDistribution(choices):
            name = f"{name}({','.join(map(str, choices))})"
        return self.trial.suggest_categorical(name, choices)


@dataclass
class Sampling:
    """One ask/tell stage of a study: recipes out of a space, told by what their trials came to.

    A cut search goes on as if it had not been cut: the sampler's seed and every trial's are derived from the trial's
    number, and a trial that died with its session runs again under its own.

    Args:
        costs: what is minimised beside the objective.
        once: what was tried before is not run again; the draw after one such is at random, and after `PATIENCE` of them in a
            row it is the end.
    """

    stage: str
    journal: Journal
    draw: Callable[[Asking], Recipe]
    total: int
    seed: int
    until: float = float("inf")
    first: dict[str, object] = field(default_factory=dict)
    order: Callable[[Asking], dict[str, object]] = lambda trial: {}
    costs: tuple[str, ...] = ()
    once: bool = False

    def __post_init__(self) -> None:
        self.study = self.journal.stage(self.stage, len(self.costs))
        self.known: dict[str, BaseDistribution] = {}
        for trial in self.study.get_trials(deepcopy=False):
            self.known = trial.distributions | self.known

    def jobs(self) -> Iterator[Job]:
        for trial in self.journal.interrupted(self.study):
            if trial.number and time.time() >= self.until:
                continue
            self.study.sampler = Derived(self.seed, trial.number)
            if (job := self.fresh(optuna.Trial(self.study, trial._trial_id))) is not None:
                yield job
        repeats = 0
        while repeats < PATIENCE and self.runs() < self.total and (self.asked() == 0 or time.time() < self.until):
            if (job := self.fresh(self.ask(self.asked(), blind=repeats > 0))) is not None:
                repeats = 0
                yield job
            else:
                repeats += 1

    def asked(self) -> int:
        """How many trials were begun; the first may stand there waiting, where a session died just then."""
        return sum(t.state != TrialState.WAITING for t in self.study.get_trials(deepcopy=False))

    def runs(self) -> int:
        """How many of them were run, or run."""
        return self.asked() - (self.journal.repeated(self.stage) if self.once else 0)

    def fresh(self, trial: optuna.Trial) -> Job | None:
        """The trial's job, unless the like was tried before; then it is told as nothing, and has no record."""
        job = self.job(trial)
        if not (self.once and self.journal.tried(self.study, trial.params)):
            return job
        self.study.tell(trial, state=TrialState.FAIL)
        return None

    def ask(self, number: int, blind: bool = False) -> optuna.Trial:
        """Ask the sampler; blind, for a draw at random."""
        self.study.sampler = Derived(self.seed, number, sys.maxsize if blind else STARTUP)
        if number == 0 and self.first:
            self.study.enqueue_trial(self.first, skip_if_exists=True)
        return self.study.ask()

    def job(self, trial: optuna.Trial) -> Job:
        asking = Asking(trial, self.known)
        recipe = self.draw(asking)
        key = f"{trial.number}" if self.stage == STAGE else f"{self.stage}-{trial.number}"
        return Job(key, self.stage, recipe, derived_seed(self.seed, key), self.order(asking), trial)

    def tell(self, result: Result, silent: bool = False) -> None:
        record = recorded(result)
        self.journal.tell(self.study, result.job.context, record, [record.metrics.get(cost) for cost in self.costs], silent)


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
        units=outcome.get("units", 0),
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
        until: the wall time after which nothing more is asked but the baseline.

    Raises:
        NotConcluded: the baseline failed; there is nothing to compare with.
    """
    total, epochs = space.tree["study"]["trials"], space.tree["study"]["epochs"]
    keep = bool(space.tree["compression"])
    searched = space.trained()

    def draw(trial: Asking) -> Recipe:
        return baseline if baseline is not None and trial.number == 0 else searched.draw(trial)

    def order(trial: Asking) -> dict[str, object]:
        return {"rungs": rungs} | ({"save": str(runner.folder.weights(f"{trial.number}"))} if keep else {})

    first = {} if baseline is not None else searched.defaults()
    sampling = Sampling(STAGE, journal, draw, total, seed, until, first, order)
    ladder = Ladder(epochs, objective)
    rungs = ladder.rungs if stopping else []
    records = journal.records(STAGE)
    for record in records:
        ladder.remember(int(record.key), record.curve)

    def judge(job: Job, epoch: int, metrics: dict[str, float]) -> bool:
        value = metrics.get(objective.name)
        return value is not None and ladder.stop(int(job.key), epoch, value) and job.key != BASELINE

    runner.screen.stage(STAGE, total, len(records))
    runner.screen.earlier(records)
    require_baseline(records)

    def done(result: Result) -> None:
        sampling.tell(result, silent=baseline is not None and result.job.key == BASELINE)
        require_baseline([recorded(result)])

    runner.run(sampling.jobs(), done, judge)


def require_baseline(records: Sequence[Record]) -> None:
    """Raise NotConcluded where the baseline is among these trials, and failed."""
    for record in records:
        if record.key == BASELINE and record.state == "failed":
            failed = f"{record.reason}: {record.detail}"
            raise NotConcluded(f"the baseline failed, and there is nothing to compare with ({failed}); another name= begins anew")


def ranked(records: list[Record], objective: Objective) -> list[Record]:
    """The complete trials, the best first; of equals the smaller."""
    complete = [r for r in records if r.state == "complete" and r.score is not None]
    return sorted(complete, key=lambda r: (-objective.sign * (r.score or 0.0), r.metrics.get("size_mb", 0.0)))
