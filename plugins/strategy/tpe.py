from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import TPESampler
from optuna.trial import FrozenTrial, TrialState, create_trial

from autoopt.distributions import distribution, silent
from autoopt.strategy import Evidence, Halving, Strategy

STATES = {"complete": TrialState.COMPLETE, "stopped": TrialState.PRUNED, "failed": TrialState.PRUNED}


def tpe(space, goal, epochs, *, startup: int = 10) -> Strategy:
    """Optuna's tree-structured Parzen estimator after `startup` random trials; it stops the worse half at a third and two thirds.

    Values that every trial has are modelled together, the others one by one. A trial that failed because of its values ranks
    last: without it, the sampler would move towards values with which trainings diverge.

    Source: Watanabe 2023, arXiv:2304.11127; Bergstra et al. 2011, NeurIPS 24.
    """
    return Tpe(space, goal, epochs, startup)


class Tpe(Strategy):
    """Keeps an Optuna study of the history, and asks its TPE sampler for each trial."""

    def __init__(self, space, goal, epochs, startup):
        self.space, self.goal, self.startup = space, goal, startup
        self.halving = Halving(epochs, goal.first.direction)
        self.rungs = self.halving.rungs
        self.told: dict[int, Evidence] = {}
        self.study = self.fresh()

    def propose(self, history: Sequence[Evidence], number: int, seed: int) -> Mapping[str, Any]:
        self.tell([trial for trial in history if trial.state in STATES and trial.values])
        own = int.from_bytes(sha256(f"{seed}/{number}".encode()).digest()[:4], "big")
        self.study.sampler = TPESampler(seed=own, n_startup_trials=self.startup)
        trial = self.study.ask()
        self.space.walk(lambda domain: domain.suggest(trial))
        self.study.tell(trial, state=TrialState.FAIL)  # no sampler looks at failed trials
        return trial.params

    def stop(self, history: Sequence[Evidence], number: int, epoch: int) -> bool:
        return self.halving.stop(history, number, epoch)

    def tell(self, ended: Sequence[Evidence]) -> None:
        """Bring the sampler's study up to the history, in the order of the numbers, since the estimator weighs trials by it."""
        known = [self.told.get(trial.number) for trial in ended[: len(self.told)]]
        if known != list(ended[: len(self.told)]):
            self.told, self.study = {}, self.fresh()
        for trial in ended[len(self.told) :]:
            self.told[trial.number] = trial
            if (frozen := self.frozen(trial)) is not None:
                self.study.add_trial(frozen)

    def fresh(self) -> optuna.Study:
        with silent():
            return optuna.create_study(directions=self.goal.directions)

    def frozen(self, trial: Evidence) -> FrozenTrial | None:
        """A trial as Optuna stores it; None if it does not lie in the present space."""
        values: dict[str, Any] = {}
        distributions: dict[str, BaseDistribution] = {}

        def pick(domain):
            values[domain.path] = domain.accept(trial.values[domain.path])
            distributions[domain.path] = distribution(domain)
            return values[domain.path]

        try:
            self.space.walk(pick)
        except (KeyError, ValueError):
            return None
        scores = list(trial.scores) if trial.state == "complete" else None
        ranked = trial.state == "stopped" and trial.curve and len(self.goal.objectives) == 1  # Optuna ranks a stopped trial by one value
        curve = dict([max(trial.curve.items())]) if ranked else {}
        return create_trial(state=STATES[trial.state], values=scores, params=values, distributions=distributions, intermediate_values=curve)
