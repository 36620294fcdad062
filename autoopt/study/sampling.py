"""Ask and tell: the proposals of a strategy become jobs, and their results become its evidence."""

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from optuna.distributions import BaseDistribution

from autoopt.distributions import distribution
from autoopt.goal import Goal
from autoopt.orders import Order
from autoopt.recipe import Recipe
from autoopt.records.folder import derived_seed
from autoopt.records.journal import Journal, record_of
from autoopt.records.record import Epochs, Record, taken_over
from autoopt.records.stages import Stage
from autoopt.space import Walkable, traced
from autoopt.strategy import AtRandom, Observation, Strategy
from autoopt.study.budget import Budget
from autoopt.study.jobs import Job, Result

FAILURES = 3
"""A technique that has failed so often, and was part of no complete trial, is not proposed again."""
MAX_REPEATS = 1000
"""After so many proposals in a row that were tried before, hardly any untried values can be left."""
Values = Mapping[str, Any]


@dataclass(frozen=True)
class Proposal:
    """A trial that is to begin: the values of all its domains, and the recipe that they make.

    Args:
        continues: the number of the stopped trial that goes on.
    """

    recipe: Recipe
    values: Values
    distributions: Mapping[str, BaseDistribution]
    continues: int | None = None


@dataclass
class Sampling:
    """One searched stage of a study.

    No values are tried twice, and none with a technique that keeps failing: instead, values are drawn at random. After `MAX_REPEATS`
    such proposals in a row, or where the strategy has nothing left to propose, the stage is exhausted.

    An interrupted search resumes as if it had not been interrupted: proposals depend on the history, the trial's number and a
    seed that is derived from both, and a trial that died with its session runs again under its own number.

    Args:
        order: the order of a trial, by its key, seed and proposal.
        total: how many trials the stage has.
        first: the recipe of trial 0, where it is not a point of the space.
        start: the values of the trials after it, which the strategy does not choose.
        fallback: proposes instead of the strategy after a repetition; by default it draws from the whole space.
        trials_per_seed: so many trials in a row have the same seed; they compare techniques, so that none is left out for its failures.
        kept: whether a stopped trial, by its key, has a checkpoint; None where no trial is continued.
        enough: why the stage needs no further trial, from the records of those that have ended; empty where it needs more.
        continued: by the number of a trial, the stopped trial that it continues.
        exhausted: why the stage ended before its total; empty where it did not.
    """

    stage: Stage
    journal: Journal
    goal: Goal
    budget: Budget
    space: Walkable
    strategy: Strategy
    order: Callable[[str, int, Proposal], Order]
    total: int
    seed: int
    first: Recipe | None = None
    start: Sequence[Values] = ()
    enough: Callable[[Sequence[Record]], str] = lambda records: ""
    fallback: Strategy | None = None
    trials_per_seed: int = 1
    kept: Callable[[str], bool] | None = None
    history: dict[int, Observation] = field(init=False)
    continued: dict[int, int] = field(init=False)
    exhausted: str = ""

    def __post_init__(self) -> None:
        self.journal.mend(self.stage, self.goal)
        self.history = history(self.journal, self.stage, self.goal)
        self.continued = self.journal.continued(self.stage)

    def jobs(self) -> Iterator[Job]:
        """The trials that died with an earlier session, then new ones, up to the total or the end of the time.

        The first trial, the baseline, begins even if the time is over.
        """
        for trial in self.journal.trials(self.stage):
            due = not trial.state.is_finished() and (trial.number == 0 or not self.budget.over(self.stage))
            if due and (proposal := self._resumed(trial.number, trial.params)) is not None:
                yield self._job(trial.number, proposal)
        number = len(self.journal.trials(self.stage))
        while number < self.total and (number == 0 or not self.budget.over(self.stage)):
            records = self.journal.records(self.stage)
            if self.enough(records):
                return
            if (proposal := self._next(number, records)) is None:
                return
            self.journal.begin(self.stage, self.goal, proposal.values, proposal.distributions, proposal.continues)
            yield self._job(number, proposal)
            number += 1

    def begin_baseline(self) -> None:
        """Begin trial 0, which `jobs` trains."""
        proposal = self._proposal(0, {})
        self.journal.begin(self.stage, self.goal, proposal.values, proposal.distributions)

    def take(self, record: Record, values: Values, origin: str) -> Record:
        """Take a trial of another study over as the next trial; return its record here."""
        number = len(self.journal.trials(self.stage))
        proposal = self._proposal(number, values)
        record = replace(record, key=self.stage.key.format(number), elapsed=0.0, continues="", origin=origin)
        self.journal.take(self.stage, self.goal, proposal.values, proposal.distributions, record)
        if (known := observation(number, proposal.values, record, self.goal)) is not None:
            self.history[number] = known
        return record

    def stop(self, job: Job, epoch: int, epochs: Epochs) -> bool:
        """Add the values up to a rung to the evidence of a running trial; return whether the strategy ends the trial."""
        name = self.goal.first.name
        curve = self.goal.curve({at: metrics[name] for at, metrics in epochs.items() if name in metrics})
        if epoch not in curve:
            return False
        self.history[job.context] = replace(self.history[job.context], curve=curve)
        return self.strategy.stop(self.observations(), job.context, epoch)

    def tell(self, result: Result) -> None:
        """Record the result of a trial."""
        number, record = result.job.context, result.record()
        self.journal.end(self.stage, self.goal, number, record)
        trial = self.history.pop(number)
        if (ended := observation(number, trial.values, record, self.goal)) is not None:
            self.history[number] = ended

    def observations(self) -> list[Observation]:
        """The trials that the strategy may see, in the order of their numbers."""
        replaced = {stopped for number, stopped in self.continued.items() if number in self.history}
        return [self.history[number] for number in sorted(self.history) if number not in replaced]

    def _next(self, number: int, records: Sequence[Record]) -> Proposal | None:
        """The next proposal; None if nothing is left to try."""
        given = [{}, *self.start]
        if (place := number - taken_over(records)) < len(given):
            return self._proposal(number, given[place])
        if (stopped := self._promoted()) is not None:
            return replace(self._proposal(number, self.history[stopped].values), continues=stopped)
        broken = quarantined(records) if self.trials_per_seed == 1 else set()
        for attempt in range(MAX_REPEATS):
            strategy = (self.fallback or AtRandom(self.space)) if attempt else self.strategy
            values = strategy.propose(self.observations(), number, derived_seed(self.seed, f"{self.stage.name} {attempt}"))
            if values is None:
                self.exhausted = "the strategy has nothing left to propose"
                return None
            proposal = self._proposal(number, values)
            if not any(proposal.values == trial.values for trial in self.history.values()) and not uses(proposal.recipe.tree, broken):
                return proposal
        self.exhausted = f"the last {MAX_REPEATS} proposals had been tried before"
        return None

    def _promoted(self) -> int | None:
        """The number of a stopped trial that the strategy continues; none is continued twice."""
        if self.kept is None:
            return None
        stopped = {number for number, trial in self.history.items() if trial.state == "stopped"} - {*self.continued.values()}
        kept = {number for number in stopped if self.kept(self.stage.key.format(number))}
        number = self.strategy.promote(self.observations(), kept) if kept else None
        return number if number in kept else None

    def _resumed(self, number: int, values: Values) -> Proposal | None:
        """The proposal of a trial that died with its session; None if the space has changed since, and the trial is dropped."""
        try:
            return replace(self._proposal(number, values), continues=self.continued.get(number))
        except ValueError:
            self.journal.drop(self.stage, self.goal, number)
            del self.history[number]
            return None

    def _proposal(self, number: int, values: Values) -> Proposal:
        """The proposal with these values by path; a missing path takes its default."""
        if number == 0 and self.first is not None:
            return Proposal(self.first, {}, {})
        point = traced(self.space, lambda domain: domain.accept(values.get(domain.path, domain.default)))
        return Proposal(point.recipe, point.values, {domain.path: distribution(domain) for domain in point.domains})

    def _job(self, number: int, proposal: Proposal) -> Job:
        key = self.stage.key.format(number)
        self.history[number] = Observation(number, "running", proposal.values)
        if proposal.continues is not None:
            self.continued[number] = proposal.continues
        first = number
        while first in self.continued:
            first = self.continued[first]
        seed = derived_seed(self.seed, self.stage.key.format(first // self.trials_per_seed))
        return Job(self.order(key, seed, proposal), self.stage, number)


def quarantined(records: Sequence[Record]) -> set[str]:
    """The techniques, as `slot/name`, that have failed `FAILURES` times by themselves and were part of no complete trial."""
    failures = Counter(r.technique for r in records if r.technique and r.blame == "recipe")
    often = {technique for technique, count in failures.items() if count >= FAILURES}
    return {technique for technique in often if not any(r.state == "complete" and uses(r.recipe, {technique}) for r in records)}


def uses(recipe: Mapping[str, Any], techniques: Collection[str]) -> bool:
    """Whether a recipe's tree has one of the techniques, named as `slot/name`."""
    return any(name in recipe.get(slot, {}) for slot, _, name in (technique.partition("/") for technique in techniques))


def history(journal: Journal, stage: Stage, goal: Goal) -> dict[int, Observation]:
    """The trials of a stage that are evidence for a strategy, by number; one that was dropped is none."""
    trials: dict[int, Observation] = {}
    for trial in journal.trials(stage):
        record = record_of(trial.user_attrs)
        dropped = record is None and trial.state.is_finished()
        if not dropped and (known := observation(trial.number, trial.params, record, goal)) is not None:
            trials[trial.number] = known
    return trials


def observation(number: int, values: Values, record: Record | None, goal: Goal) -> Observation | None:
    """A trial as a strategy sees it: running without a record; None where the machine or the user ended it."""
    if record is None:
        return Observation(number, "running", values)
    if record.blame in ("machine", "user"):
        return None
    scores = goal.scores(record) if record.state == "complete" else None
    state = "failed" if record.state == "complete" and scores is None else record.state
    violation = goal.violation(record.metrics) if state == "complete" else 0.0
    return Observation(number, state, values, scores or (), goal.curve(record.curve(goal.first.name)), violation)
