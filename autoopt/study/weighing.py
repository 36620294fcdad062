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
    part (the variance of the gain over resamples of its examples, or of its groups where it was split by groups, or of its
    batches where a LightningModule logs a mean over these; the same resamples for both sides). The degrees of freedom are
    Satterthwaite's (1946, doi:10.2307/3002019). Where the objective cannot be split, the seeds alone count; where every seed
    gave the same training, nothing is known of chance. An objective that is the same for every seed of a recipe, such as the
    size, is exact.
    """
    if winner.key == baseline.key:
        return 0.0, (0.0, 0.0)
    theirs, ours = baseline.scores(part), winner.scores(part)
    gain = objective.gain(mean(ours), mean(theirs))
    if objective.cost and objective.cost.exact and len({*theirs}) == len({*ours}) == 1:
        return gain, (gain, gain)
    if min(len(theirs), len(ours)) < 2:  # one seed tells nothing of how seeds vary
        return gain, UNBOUNDED
    if gain and all(map(repeats, (baseline, winner))):
        return gain, UNBOUNDED
    parts = [(variance(side) / len(side), len(side) - 1) for side in (theirs, ours)]
    if resampled(baseline, winner, part):
        parts.append(sampling_of(winner, baseline))
    return gain, interval(gain, parts)


def resampled(baseline: Candidate, winner: Candidate, part: str) -> bool:
    """Whether the interval counts the finite test part too: both sides were measured on the same resamples of it."""
    units = {r.units if r.resamples else 0 for c in (baseline, winner) for r in c.tests}
    return part == "test" and len(units) == 1 and units != {0}


def repeats(candidate: Candidate) -> bool:
    """Whether every seed gave the same model, as far as resamples of the test part tell it: they vary, but not from seed to seed."""
    drawn = [r.resamples for r in candidate.tests if r.resamples]
    alike = len({r.score for r in candidate.tests}) == 1 and all(each == drawn[0] for each in drawn)
    return len(drawn) > 1 and alike and len({*drawn[0]}) > 1


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
