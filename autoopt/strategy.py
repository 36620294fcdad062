"""How a study is searched: a strategy proposes the values of each trial and decides at rungs whether it goes on."""

from abc import ABC, abstractmethod
from bisect import bisect_left, bisect_right
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from math import ceil
from operator import gt, lt
from random import Random
from statistics import correlation
from typing import Any

from autoopt.goal import Goal
from autoopt.space import Walkable, traced

ENOUGH, TRUSTED = 8, 0.35
"""So many complete trials show whether a rung foretells the end: it does if the rank correlation is at least this one."""


@dataclass(frozen=True)
class Observation:
    """A trial as a strategy sees it.

    Args:
        number: of the trial, from 0, the baseline.
        state: running, complete, stopped or failed. A failed trial failed because of its values: trials that the machine
            ended are no evidence.
        values: the chosen values, by the path of their domain; empty where the trial is not a point of the space.
        scores: of a complete trial, a value for each objective of the goal.
        curve: the first objective by epoch.
        violation: how far a complete trial misses the bounds of the goal, 0 where it keeps them.
    """

    number: int
    state: str
    values: Mapping[str, Any]
    scores: tuple[float, ...] = ()
    curve: Mapping[int, float] = field(default_factory=dict)
    violation: float = 0.0


class Strategy(ABC):
    """Proposes trials and decides at rungs: a pure function of the history, the number of the trial and the seed.

    Therefore an interrupted and resumed search equals an uninterrupted search.
    """

    rungs: tuple[int, ...] = ()
    """The epochs at which `stop` is asked."""
    promotes: bool = False
    """Whether `promote` is asked."""

    @abstractmethod
    def propose(self, history: Sequence[Observation], number: int, seed: int) -> Mapping[str, Any] | None:
        """The values of the next trial by the paths of the space's domains; a path that is left out takes its default.

        None where nothing is left to try: the stage ends.
        """

    def stop(self, history: Sequence[Observation], number: int, epoch: int) -> bool:
        """Whether a trial ends at this rung; its value at the rung is in the history."""
        return False

    def promote(self, history: Sequence[Observation], kept: Collection[int]) -> int | None:
        """The number of a stopped trial that is continued instead of beginning a new one; asked if `promotes` and `executor.keep=rung`.

        The trial goes on under a new number. Once it does, the history has the new trial in place of the stopped one.

        Args:
            kept: the numbers of the stopped trials that have a checkpoint and were not continued before: one of these.
        """
        return None

    def ranking(self, history: Sequence[Observation]) -> Sequence[int]:
        """The numbers of the complete trials, the best first, if the strategy knows better than their scores; else nothing."""
        return ()


class SuccessiveHalving:
    """Asynchronous successive halving: at each rung the best trials of those that have reached it go on.

    A rung that does not foretell the end stops nothing: once `ENOUGH` trials are complete, the rank correlation of their values
    at the rung with their final scores is to be at least `TRUSTED`.

    Args:
        rungs: their epochs.
        direction: maximize or minimize.
        reduction: one of so many trials goes on.

    Source: Li et al. 2020, arXiv:1810.05934.
    """

    @classmethod
    def of(cls, goal: Goal, epochs: int, rungs: int, reduction: int) -> "SuccessiveHalving":
        """At most `rungs` rungs: the last at `1 / reduction` of the epochs, each earlier one at `1 / reduction` of the next."""
        return cls(rung_epochs(epochs, rungs, reduction), goal.first.direction, reduction)

    def __init__(self, rungs: Sequence[int], direction: str, reduction: int):
        self.rungs, self.better, self.reduction = tuple(rungs), gt if direction == "maximize" else lt, reduction

    def stop(self, history: Sequence[Observation], number: int, epoch: int) -> bool:
        """Whether a trial ends at a rung."""
        if (foretold := rung_correlation(history, epoch)) is not None and foretold < TRUSTED:
            return False
        reached = {trial.number: trial.curve[epoch] for trial in history if epoch in trial.curve}
        value = reached.pop(number)
        ahead = sum(self.better(other, value) for other in reached.values())
        return ahead >= ceil((len(reached) + 1) / self.reduction)

    def promote(self, history: Sequence[Observation], kept: Collection[int]) -> int | None:
        """A trial that was stopped at a rung and is now among the best there, since later ones did worse; at the last rung first."""
        for rung in reversed(self.rungs):
            reached = sorted((t for t in history if rung in t.curve), key=lambda t: t.curve[rung], reverse=self.better is gt)
            for trial in reached[: len(reached) // self.reduction]:
                if trial.number in kept and max(trial.curve) == rung:
                    return trial.number
        return None


def rung_epochs(epochs: int, count: int, reduction: int) -> list[int]:
    """The last rung is at `1 / reduction` of the epochs, each earlier one at `1 / reduction` of the next: at most `count` of them."""
    return sorted({rung for place in range(1, count + 1) if (rung := ceil(epochs / reduction**place)) < epochs})


def rung_correlation(history: Sequence[Observation], epoch: int) -> float | None:
    """Spearman's correlation of the values at an epoch with the final scores, over the complete trials; None with fewer than `ENOUGH`."""
    pairs = [(t.curve[epoch], t.scores[0]) for t in history if t.state == "complete" and epoch in t.curve]
    if len(pairs) < ENOUGH:
        return None
    early, final = (ranks(values) for values in zip(*pairs, strict=True))
    return correlation(early, final) if len({*early}) > 1 and len({*final}) > 1 else 0.0


def ranks(values: Sequence[float]) -> list[float]:
    """The rank of each value; equal values share the mean of theirs."""
    order = sorted(values)
    return [(bisect_left(order, value) + bisect_right(order, value)) / 2 for value in values]


class AtRandom(Strategy):
    """Draws every value at random, independently of all others and of the history.

    Args:
        halving: stops trials at rungs.
        promotes: stopped trials are continued once they are among the best at their rung.
    """

    def __init__(self, space: Walkable, halving: SuccessiveHalving | None = None, promotes: bool = False):
        self.space, self.halving, self.promotes = space, halving, promotes
        self.rungs = halving.rungs if halving else ()

    def propose(self, history: Sequence[Observation], number: int, seed: int) -> Mapping[str, Any]:
        random = Random(f"{seed}/{number}")
        return traced(self.space, lambda domain: domain.sample(random)).values

    def stop(self, history: Sequence[Observation], number: int, epoch: int) -> bool:
        return self.halving is not None and self.halving.stop(history, number, epoch)

    def promote(self, history: Sequence[Observation], kept: Collection[int]) -> int | None:
        return self.halving.promote(history, kept) if self.halving is not None and self.promotes else None
