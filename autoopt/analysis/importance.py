"""Which searched values mattered, by the trials of the search."""

import warnings
from collections import defaultdict
from collections.abc import Sequence
from math import inf, isfinite

import optuna
from optuna.trial import FrozenTrial, TrialState, create_trial

from autoopt.distributions import silent
from autoopt.goal import Goal
from autoopt.records.explanation import Importance
from autoopt.records.journal import record_of

MOST_TRIALS = 2 / 3
"""The rung of the comparison was reached by at least this share of the trials."""
FEWEST = 10
"""Fewer trials tell nothing."""
BEST = 0.25
"""PED-ANOVA compares this share of the trials with all of them; a tenth, which is usual, is too few of some dozen trials."""


def importance_of(trials: Sequence[FrozenTrial], goal: Goal) -> Importance | None:
    """How much each searched value explains, at the latest epoch that most trials reached; `None` where too few did or all
    are equal.

    Stopped and failed trials count as far as they came. A value that is searched in several ways, as with a schedule that goes
    only with one optimizer, counts once.

    Source: Watanabe et al. 2023, arXiv:2304.10255.
    """
    records = ((trial, record_of(trial.user_attrs)) for trial in trials if trial.params)
    curves = [(trial, goal.curve(record.curve(goal.first.name))) for trial, record in records if record is not None]
    reached = sorted((max(curve) for _, curve in curves if curve), reverse=True)
    needed = max(FEWEST, round(MOST_TRIALS * len(curves)))
    if len(reached) < needed:
        return None
    epoch = reached[needed - 1]
    there = [(trial, curve[epoch]) for trial, curve in curves if isfinite(curve.get(epoch, inf))]
    shares: dict[str, float] = defaultdict(float)
    for path, share in evaluated(there, goal.first.direction).items():
        shares[path.partition("(")[0]] += share
    if not (total := sum(shares.values())):
        return None
    ordered = sorted(shares.items(), key=lambda row: -row[1])
    return Importance({key: round(share / total, 4) for key, share in ordered}, epoch, len(there))


def evaluated(trials: Sequence[tuple[FrozenTrial, float]], direction: str) -> dict[str, float]:
    """The importance of each value by its path, of trials with a value each."""
    from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances  # loads scikit-learn, which takes a second

    with silent(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of values that few trials have
        study = optuna.create_study(directions=[direction])  # type: ignore[list-item]
        for trial, value in trials:
            study.add_trial(create_trial(value=value, params=trial.params, distributions=trial.distributions, state=TrialState.COMPLETE))
        return get_param_importances(study, evaluator=PedAnovaImportanceEvaluator(target_quantile=BEST), normalize=False)
