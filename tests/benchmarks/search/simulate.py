"""Plays a search through a recorded table, on a clock of its own."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from heapq import heappop, heappush
from math import isnan
from random import Random
from time import process_time
from typing import Any

from table import SEEDS, Table

from autoopt.goal import Goal, Objective
from autoopt.strategy import Observation, Strategy

Values = Mapping[str, Any]


class Searcher(ABC):
    """A search method: it asks for trials, and learns their curves.

    Args:
        rungs: the epochs at which `report` may stop a trial.
    """

    @abstractmethod
    def ask(self, number: int) -> Values:
        """The values of a trial by path."""

    @abstractmethod
    def report(self, number: int, epoch: int, value: float) -> bool:
        """Learn a value of a running trial; return whether it is stopped."""

    @abstractmethod
    def tell(self, number: int, state: str, value: float | None) -> None:
        """Learn the end of a trial: complete with its final value, stopped, or failed."""

    def continues(self, number: int) -> int | None:
        """The number of an ended trial that a trial goes on with, from its last epoch; None for a trial that begins anew."""
        return None

    def best(self, complete: Mapping[int, float]) -> int:
        """The number of the trial that the method would deliver, of the complete trials with their values as costs: the least."""
        return min(complete, key=complete.__getitem__)


@dataclass
class Ours(Searcher):
    """A strategy of autoopt."""

    strategy: Strategy
    seed: int
    baseline: Values
    history: dict[int, Observation] = field(default_factory=dict)

    def ask(self, number: int) -> Values:
        values = self.baseline if number == 0 else self.strategy.propose(self.observations, number, self.seed)
        self.history[number] = Observation(number, "running", values)
        return values

    def report(self, number: int, epoch: int, value: float) -> bool:
        trial = self.history[number]
        self.history[number] = replace(trial, curve={**trial.curve, epoch: value})
        return epoch in self.strategy.rungs and self.strategy.stop(self.observations, number, epoch) and number != 0

    def tell(self, number: int, state: str, value: float | None) -> None:
        self.history[number] = replace(self.history[number], state=state, scores=() if value is None else (value,))

    def best(self, complete: Mapping[int, float]) -> int:
        ranking = self.strategy.ranking(self.observations)
        return ranking[0] if ranking else super().best(complete)

    @property
    def observations(self) -> Sequence[Observation]:
        return [self.history[number] for number in sorted(self.history)]


@dataclass(frozen=True)
class Trial:
    """A trial that has ended.

    Args:
        epochs: that the search had used at its end, over all trials.
        value: the last value of the objective.
    """

    number: int
    row: int
    state: str
    value: float
    epochs: int
    trained: int


@dataclass
class Played:
    """A search that is over.

    Args:
        seconds: of processor time for all of the method's decisions.
    """

    trials: list[Trial]
    seconds: float
    regrets: list[float] = field(default_factory=list)


def play(
    table: Table,
    searcher: Searcher,
    trainings: float,
    workers: int = 1,
    seed: int = 0,
    budgets: Sequence[float] = (),
    speeds: Sequence[float] = (1.0,),
) -> Played:
    """Search until so many full trainings are used.

    Args:
        speeds: of the workers, in epochs a unit of time, in turn.
    """
    grid, sign = table.grid, goal_of(table).first.sign
    curves = table.error if sign < 0 else 1 - table.error
    queue: list[tuple[float, int, int, int, int]] = []  # time, number, epoch, row, worker
    seeds: dict[int, int] = {}
    ended: list[Trial] = []
    number = used = 0
    spent = 0.0
    regrets: list[float] = []
    ahead = sorted(budgets)
    complete: dict[int, float] = {}
    rows: dict[int, int] = {}
    reached: dict[int, int] = {}

    def begin(worker: int, time: float) -> None:
        nonlocal number, spent
        start = process_time()
        values = searcher.ask(number)
        spent += process_time() - start
        former = searcher.continues(number)
        seeds[number] = Random(f"{seed}/{number}").randrange(SEEDS) if former is None else seeds[former]
        heappush(queue, (time + 1 / speeds[worker % len(speeds)], number, reached.get(former, 0) + 1, table.row(values), worker))
        number += 1

    def delivered() -> float:
        row = rows[searcher.best(complete)] if complete else table.row(grid.space.defaults())
        return float(table.regret[row])

    for worker in range(workers):
        begin(worker, 0.0)
    while queue and used < trainings * grid.epochs:
        time, trial, epoch, row, worker = heappop(queue)
        while ahead and used >= ahead[0] * grid.epochs:
            regrets.append(delivered())
            ahead.pop(0)
        used += 1
        value = float(curves[row, seeds[trial], epoch - 1])
        start = process_time()
        state = ""
        if isnan(value):
            state = "failed"
        elif epoch == grid.epochs:
            searcher.report(trial, epoch, value)
            state = "complete"
        elif searcher.report(trial, epoch, value):
            state = "stopped"
        if state:
            searcher.tell(trial, state, value if state == "complete" else None)
        spent += process_time() - start
        if state:
            reached[trial] = epoch
            if state == "complete":
                complete[trial], rows[trial] = -sign * value, row
            ended.append(Trial(trial, row, state, value, used, epoch))
            begin(worker, time)
        else:
            heappush(queue, (time + 1 / speeds[worker % len(speeds)], trial, epoch + 1, row, worker))
    return Played(ended, spent, [*regrets, *[delivered() for _ in ahead]])


def goal_of(table: Table) -> Goal:
    name = table.grid.objective
    return Goal((Objective(name, "minimize" if name == "val_loss" else "maximize"),))
