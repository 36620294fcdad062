"""How a study is searched: a strategy proposes the values of each trial and decides at rungs whether it goes on."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import ceil
from operator import gt, lt
from random import Random
from typing import Any

from autoopt.space import Domain


@dataclass(frozen=True)
class Evidence:
    """A trial as a strategy sees it.

    Args:
        number: of the trial, from 0, the baseline.
        state: running, complete, stopped or failed. A failed trial failed because of its values: trials that the machine
            ended are no evidence.
        values: the chosen values, by the path of their domain; empty where the trial is not a point of the space.
        scores: of a complete trial, a value for each objective of the goal.
        curve: the first objective by epoch.
    """

    number: int
    state: str
    values: Mapping[str, Any]
    scores: tuple[float, ...] = ()
    curve: Mapping[int, float] = field(default_factory=dict)


class Strategy(ABC):
    """Proposes trials and decides at rungs: a pure function of the history, the number of the trial and the seed.

    Therefore an interrupted and resumed search equals an uninterrupted search.
    """

    rungs: tuple[int, ...] = ()
    """The epochs at which `stop` is asked."""

    @abstractmethod
    def propose(self, history: Sequence[Evidence], number: int, seed: int) -> Mapping[str, Any]:
        """The values of the next trial by the paths of the space's domains; a path that is left out takes its default."""

    def stop(self, history: Sequence[Evidence], number: int, epoch: int) -> bool:
        """Whether a trial ends at this rung; its value at the rung is in the history."""
        return False


class Halving:
    """Asynchronous successive halving: at each rung the better half of the trials that have reached it goes on.

    The first rung is late, at a third of the epochs, and half go on: strong augmentation and falling schedules start slowly
    and end well.

    Args:
        epochs: of a full training.
        direction: maximize or minimize.
        first: the first rung, as a share of the epochs.
        keep: one of so many trials goes on.

    Source: Li et al. 2020, arXiv:1810.05934.
    """

    def __init__(self, epochs: int, direction: str, first: float = 1 / 3, keep: int = 2):
        self.better, self.keep = gt if direction == "maximize" else lt, keep
        rungs, rung = [], ceil(epochs * first)
        while rung < epochs:
            rungs.append(rung)
            rung *= keep
        self.rungs = tuple(rungs)

    def stop(self, history: Sequence[Evidence], number: int, epoch: int) -> bool:
        """Whether a trial ends at a rung."""
        reached = {trial.number: trial.curve[epoch] for trial in history if epoch in trial.curve}
        value = reached.pop(number)
        ahead = sum(self.better(other, value) for other in reached.values())
        return ahead >= ceil((len(reached) + 1) / self.keep)


class AtRandom(Strategy):
    """Draws every value at random, independently of all others and of the history.

    Args:
        space: with `walk(pick)`, which asks for the value of each domain that a recipe needs.
    """

    def __init__(self, space: Any):
        self.space = space

    def propose(self, history: Sequence[Evidence], number: int, seed: int) -> Mapping[str, Any]:
        values: dict[str, Any] = {}
        random = Random(f"{seed}/{number}")

        def pick(domain: Domain) -> Any:
            values[domain.path] = domain.sample(random)
            return values[domain.path]

        self.space.walk(pick)
        return values
