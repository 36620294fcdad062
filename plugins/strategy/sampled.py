"""Strategies that leave the proposals to a sampler of Optuna."""

from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from typing import Any

import optuna
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial, TrialState, create_trial

from autoopt.distributions import distribution, silent
from autoopt.goal import Goal
from autoopt.space import traced
from autoopt.strategy import Observation, Strategy, SuccessiveHalving

STATES = {"complete": TrialState.COMPLETE, "stopped": TrialState.PRUNED, "failed": TrialState.PRUNED}


class Sampled(Strategy):
    """Keeps an Optuna study of the history, and asks a new sampler for each trial; a trial that misses a bound is told as failed.

    Args:
        sampler: makes the sampler of a trial from a seed.
    """

    def __init__(self, space: Any, goal: Goal, sampler: Callable[[int], BaseSampler], halving: SuccessiveHalving):
        self.space, self.goal, self.sampler, self.halving = space, goal, sampler, halving
        self.rungs = halving.rungs
        self.told: dict[int, Observation] = {}
        self.study = self.fresh()

    def propose(self, history: Sequence[Observation], number: int, seed: int) -> Mapping[str, Any]:
        self.tell([trial for trial in history if trial.state in STATES and trial.values])
        own = int.from_bytes(sha256(f"{seed}/{number}".encode()).digest()[:4], "big")
        self.study.sampler = self.sampler(own)
        trial = self.study.ask()
        self.space.walk(lambda domain: domain.suggest(trial))
        self.study.tell(trial, state=TrialState.FAIL)  # no sampler that learns from the history alone looks at failed trials
        return trial.params

    def stop(self, history: Sequence[Observation], number: int, epoch: int) -> bool:
        return self.halving.stop(history, number, epoch)

    def tell(self, ended: Sequence[Observation]) -> None:
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
            return optuna.create_study(directions=self.goal.directions)  # type: ignore[arg-type]

    def frozen(self, trial: Observation) -> FrozenTrial | None:
        """A trial as Optuna stores it; None if it does not lie in the present space."""
        try:
            point = traced(self.space, lambda domain: domain.accept(trial.values[domain.path]))
        except (KeyError, ValueError):
            return None
        params, distributions = dict(point.values), {domain.path: distribution(domain) for domain in point.domains}
        state = "failed" if trial.violation else trial.state
        scores = list(trial.scores) if state == "complete" else None
        ranked = trial.state == "stopped" and trial.curve and len(self.goal.objectives) == 1  # Optuna ranks a stopped trial by one value
        curve = dict([max(trial.curve.items())]) if ranked else {}
        return create_trial(state=STATES[state], values=scores, params=params, distributions=distributions, intermediate_values=curve)
