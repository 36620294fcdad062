"""How a study is searched: a strategy proposes the values of each trial and decides at rungs whether it goes on."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
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
