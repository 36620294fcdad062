"""How a study is searched: a strategy proposes the values of each trial and decides at rungs whether it goes on."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import exp
from math import log as ln
from random import Random
from typing import Any


@dataclass(frozen=True)
class Evidence:
    """A trial as a strategy sees it.

    Args:
        number: of the trial, from 0, the baseline.
        state: running, complete, stopped or failed. A failed one has failed by what was chosen: trials that the machine
            ended are no evidence.
        values: what was chosen, by the path of the domain; empty where the trial is no point of the space.
        scores: one a goal's objective, of a complete trial.
        curve: the first objective by epoch.
    """

    number: int
    state: str
    values: Mapping[str, Any]
    scores: tuple[float, ...] = ()
    curve: Mapping[int, float] = field(default_factory=dict)


class Strategy(ABC):
    """Proposes trials and decides at rungs: a pure function of the history, the number of the trial and the seed.

    So a search that was cut anywhere equals the uncut one.
    """

    rungs: tuple[int, ...] = ()
    """The epochs at which `stop` is asked."""

    @abstractmethod
    def propose(self, history: Sequence[Evidence], number: int, seed: int) -> Mapping[str, Any] | None:
        """The values of the next trial by the paths of the space's domains, or `None` where nothing is left to try."""

    def stop(self, history: Sequence[Evidence], number: int, epoch: int) -> bool:
        """Whether a trial, which is in the history with its value at this rung, ends here."""
        return False


class AtRandom:
    """Answers the questions of a space (`space.draw(answers)`) at random; the answers are its `values`."""

    def __init__(self, random: Random):
        self.random, self.values = random, dict[str, Any]()

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False, step: float | None = None) -> float:
        if step is not None:
            value = low + step * self.random.randint(0, int((high - low) / step + 1e-9))
        elif log:
            value = exp(self.random.uniform(ln(low), ln(high)))
        else:
            value = self.random.uniform(low, high)
        self.values[name] = min(max(value, low), high)
        return float(self.values[name])

    def suggest_int(self, name: str, low: int, high: int, *, log: bool = False, step: int = 1) -> int:
        # of a logarithmic scale half a step is added on both sides, or the ends would be drawn half as often
        value = round(self.suggest_float(name, low - 0.5, high + 0.5, log=True)) if log else self.random.randrange(low, high + 1, step)
        self.values[name] = min(max(value, low), high)
        return int(self.values[name])

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        self.values[name] = self.random.choice(choices)
        return self.values[name]
