"""Is the winner better than the baseline? The gain with its interval, out of seeds and of a finite test part."""

from collections.abc import Sequence
from math import inf, sqrt
from statistics import mean, variance

import numpy as np
from scipy.special import stdtrit

from autoopt.goal import Objective
from autoopt.study.confirm import Candidate
from autoopt.study.verdict import LEVEL

UNBOUNDED = (-inf, inf)


def weigh(baseline: Candidate, winner: Candidate, part: str, objective: Objective) -> tuple[float, tuple[float, float]]:
    """The gain, and its 95 % interval by Student's t.

    Two sources of chance are added: the seeds (of each side its variance over the number of seeds) and the finite test
    part (the variance of the gain over resamples of its examples, or of its groups where it was split by groups; the same
    resamples for both sides). The degrees of freedom are Satterthwaite's (1946, doi:10.2307/3002019). Where single
    predictions are unknown (a LightningModule measures itself), the seeds alone count. An objective that is the same for
    every seed of a recipe, such as the size, is exact.
    """
    if winner.key == baseline.key:
        return 0.0, (0.0, 0.0)
    theirs, ours = baseline.scores(part), winner.scores(part)
    gain = objective.gain(mean(ours), mean(theirs))
    if objective.cost and objective.cost.exact and len({*theirs}) == len({*ours}) == 1:
        return gain, (gain, gain)
    if min(len(theirs), len(ours)) < 2:  # one seed tells nothing of how seeds vary
        return gain, UNBOUNDED
    parts = [(variance(side) / len(side), len(side) - 1) for side in (theirs, ours)]
    if part == "test" and all(r.resamples for c in (baseline, winner) for r in c.tests):
        parts.append(sampling_of(winner, baseline))
    return gain, interval(gain, parts)


def sampling_of(winner: Candidate, baseline: Candidate) -> tuple[float, int]:
    """The variance of the gain that comes of the finite test part, with its degrees of freedom."""
    drawn = [np.mean([r.resamples for r in c.tests], axis=0) for c in (winner, baseline)]
    units = max(2, winner.tests[0].units)
    return float(np.var(drawn[0] - drawn[1], ddof=1)) * units / (units - 1), min(len(drawn[0]), units) - 1


def interval(gain: float, parts: Sequence[tuple[float, int]]) -> tuple[float, float]:
    """The interval around a sum of independent variances, each with its degrees of freedom."""
    total = sum(v for v, _ in parts)
    if total == 0:  # seeds that agree to the last digit tell nothing of chance, unless there is no difference at all
        return (gain, gain) if gain == 0 else UNBOUNDED
    freedom = total**2 / sum(v**2 / n for v, n in parts)
    half = float(stdtrit(freedom, (1 + LEVEL) / 2)) * sqrt(total)
    return gain - half, gain + half
