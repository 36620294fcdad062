from typing import Annotated, Any

from optuna.samplers import TPESampler

from autoopt.domain import Bounds, Range
from autoopt.goal import Goal
from autoopt.plugins.strategy.sampled import Sampled
from autoopt.strategy import Strategy, SuccessiveHalving


def tpe(
    space: Any,
    goal: Goal,
    epochs: int,
    *,
    startup: Annotated[int, Bounds(0)] = 10,
    rungs: Annotated[int, Range(0, 5), Bounds(0)] = 2,
    reduction: Annotated[int, Range(2, 9), Bounds(2)] = 3,
) -> Strategy:
    """Optuna's tree-structured Parzen estimator after `startup` random trials.

    Values that every trial has are modelled together, the others one by one. A trial that failed because of its values ranks
    last: without it, the sampler would move towards values with which trainings diverge.

    Source: Watanabe 2023, arXiv:2304.11127; Bergstra et al. 2011, NeurIPS 24; rungs: Li et al. 2020, arXiv:1810.05934.
    """
    halving = SuccessiveHalving.of(goal, epochs, rungs, reduction)
    return Sampled(space, goal, lambda seed: TPESampler(seed=seed, n_startup_trials=startup), halving)
