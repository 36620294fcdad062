from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import TPESampler
from optuna.trial import FrozenTrial, TrialState, create_trial

from autoopt.space import Space
from autoopt.strategy import Evidence, Strategy

optuna.logging.set_verbosity(optuna.logging.WARNING)


def tpe(space: Space, goal: Any, epochs: int, *, startup: int = 10) -> Strategy:
    """Tree-structured Parzen estimator: draws where good trials are dense and bad ones are not, the first `startup` trials at random.

    Bergstra et al. 2011, NeurIPS 24; Watanabe 2023, arXiv:2304.11127; Optuna's implementation.
    """
    return Parzen(space, goal.directions, startup)


class Parzen(Strategy):
    def __init__(self, space: Space, directions: Sequence[str], startup: int):
        self.space, self.directions, self.startup = space, list(directions), startup

    def propose(self, history: Sequence[Evidence], number: int, seed: int) -> Mapping[str, Any]:
        own = int.from_bytes(sha256(f"{seed}/{number}".encode()).digest()[:4], "big")
        study = optuna.create_study(directions=self.directions, sampler=TPESampler(seed=own, n_startup_trials=self.startup))
        study.add_trials(trial for evidence in history if (trial := self.told(evidence)) is not None)
        trial = study.ask()
        self.space.draw(trial)
        return trial.params

    def told(self, evidence: Evidence) -> FrozenTrial | None:
        """The evidence as Optuna keeps it; nothing of what still runs, or is no point of this space."""
        known = Recall(evidence.values)
        try:
            self.space.draw(known)
        except (KeyError, ValueError):
            return None
        params = {"params": dict(evidence.values), "distributions": known.distributions}
        match evidence.state:
            case "complete":
                return create_trial(state=TrialState.COMPLETE, values=list(evidence.scores), **params)
            case "stopped" | "failed":
                curve = dict(evidence.curve) if evidence.state == "stopped" and len(self.directions) == 1 else {}
                return create_trial(state=TrialState.PRUNED, intermediate_values=curve, **params)
        return None


class Recall:
    """Answers the questions of a space as an earlier trial did, and remembers what could have been answered."""

    def __init__(self, values: Mapping[str, Any]):
        self.values, self.distributions = values, dict[str, BaseDistribution]()

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False, step: float | None = None) -> float:
        return self._answer(name, FloatDistribution(low, high, log, step))

    def suggest_int(self, name: str, low: int, high: int, *, log: bool = False, step: int = 1) -> int:
        return self._answer(name, IntDistribution(low, high, log, step))

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        return self._answer(name, CategoricalDistribution(choices))

    def _answer(self, name: str, distribution: BaseDistribution) -> Any:
        self.distributions[name] = distribution
        if not distribution._contains(distribution.to_internal_repr(self.values[name])):
            raise ValueError(f"{name}={self.values[name]!r} is none of the space's")
        return self.values[name]
