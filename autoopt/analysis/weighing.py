"""Is the winner better than the baseline? The gain with its interval, from the seeds and the finite test part."""

from collections.abc import Sequence
from math import inf, sqrt
from statistics import mean, variance
from typing import Any

import numpy as np
from scipy.special import stdtrit

from autoopt.analysis.candidate import Candidate
from autoopt.goal import Objective
from autoopt.records.verdict import LEVEL

Variances = Sequence[tuple[float, int]]
"""Independent parts of a variance, each with its degrees of freedom."""
PAIRED = 5
"""With so many seeds the differences by seed are weighed; of fewer they would have too few degrees of freedom."""
UNBOUNDED = (-inf, inf)
MOST = 100
"""So many times the seeds and the test examples are more than anybody has."""
ROUNDING = 1e-6
NEGLIGIBLE = 1e-12
"""Differences that are smaller than this share of the greatest score come from rounding."""


def weigh(
    baseline: Candidate, winner: Candidate, part: str, objective: Objective, limits: tuple[float, float] = UNBOUNDED
) -> tuple[float, tuple[float, float]]:
    """The gain, and its 95 % interval by Student's t.

    Two sources of variance are added: the seeds, which both sides share (the variance of the differences by seed, or of each
    side where these are fewer than `PAIRED`, or all the same and not 0, over the number of seeds), and the finite test
    part (the variance of the gain over resamples of its examples, or of its groups where it was split by groups, or of its
    batches where a LightningModule logs a mean over these; the same resamples for both sides). The degrees of freedom are
    Satterthwaite's (1946, doi:10.2307/3002019). Where the objective cannot be split, the seeds alone count; where every seed
    gave the same training, the interval is infinite. An objective that is the same for every seed of a recipe, such as the
    size, is exact.

    Args:
        limits: the least and the greatest value of the objective; the interval holds no gain that they rule out.
    """
    if winner.key == baseline.key:
        return 0.0, (0.0, 0.0)
    theirs, ours = baseline.scores(part), winner.scores(part)
    gain = objective.gain(mean(ours), mean(theirs))
    if (special := special_interval(gain, baseline, winner, part, objective)) is not None:
        return gain, special
    of_seeds, of_test = variances(baseline, winner, part)
    return gain, within_limits(interval(gain, [*of_seeds, *of_test]), theirs, ours, objective, limits)


def special_interval(gain: float, baseline: Candidate, winner: Candidate, part: str, objective: Objective) -> tuple[float, float] | None:
    """The interval of a gain that needs no variance: a point where the objective is exact, infinite where the seeds show no variance."""
    theirs, ours = baseline.scores(part), winner.scores(part)
    if objective.cost and objective.cost.exact and len({*theirs}) == len({*ours}) == 1:
        return gain, gain
    if min(len(theirs), len(ours)) < 2:  # one seed does not show how seeds vary
        return UNBOUNDED
    return UNBOUNDED if gain and all(map(repeats, (baseline, winner))) else None


def variances(baseline: Candidate, winner: Candidate, part: str) -> tuple[Variances, Variances]:
    """The variance of the gain: of the seeds, and of the test part where it counts."""
    theirs, ours = baseline.scores(part), winner.scores(part)
    gains = [a - b for a, b in zip(ours, theirs, strict=False)]
    shifted = any(gains) and max(gains) - min(gains) <= NEGLIGIBLE * max(map(abs, (*ours, *theirs)))  # by as much on every seed
    paired = len(ours) == len(theirs) >= PAIRED and not shifted
    sides = [gains] if paired else [theirs, ours]
    of_seeds = [(variance(side) / len(side), len(side) - 1) for side in sides]
    return of_seeds, [sampling_of(winner, baseline)] if both_resampled(baseline, winner, part) else []


def within_limits(
    found: tuple[float, float], theirs: Sequence[float], ours: Sequence[float], objective: Objective, limits: tuple[float, float]
) -> tuple[float, float]:
    """The interval without the gains over the baseline that no value of the objective gives.

    Scores outside of the limits show that the metric is another one than its name says, such as an accuracy in percent.
    """
    if found == UNBOUNDED or not possible((*theirs, *ours), limits):
        return found
    worst, best = sorted(objective.gain(limit, mean(theirs)) for limit in limits)
    gain = objective.gain(mean(ours), mean(theirs))
    return max(found[0], min(worst, gain)), min(found[1], max(best, gain))


def possible(scores: Sequence[float], limits: tuple[float, float]) -> bool:
    """Whether all scores lie within the limits of the objective."""
    return all(limits[0] - ROUNDING <= score <= limits[1] + ROUNDING for score in scores)


def required_sizes(gain: float, of_seeds: Variances, of_test: Variances, seeds: int) -> tuple[int, float]:
    """How many seeds, and how many times as large a test part, would show a gain of this size: its interval would not include 0.

    What makes up most of the variance is enlarged alone, where that is enough.

    Args:
        seeds: how many there were.

    Returns:
        the number of seeds, 0 where these are enough, and the factor of the test part, 1 where it is large enough; two zeros where
        `MOST` times of both would not show it.
    """
    most_of_seeds = total(of_seeds) >= total(of_test)
    for more_seeds, more_test in ((most_of_seeds, not most_of_seeds), (True, True)):
        for count in range(seeds, MOST * seeds + 1):
            times = count / seeds
            if half_width([*enlarged(of_seeds, times if more_seeds else 1), *enlarged(of_test, times if more_test else 1)]) < abs(gain):
                return count if more_seeds else 0, times if more_test and of_test else 1.0
    return 0, 0.0


def enlarged(parts: Variances, times: float) -> Variances:
    """Parts of the variance where they come from so many times as many seeds or examples."""
    return [(value / times, round((freedom + 1) * times) - 1) for value, freedom in parts]


def total(parts: Variances) -> float:
    return sum(value for value, _ in parts)


def both_resampled(baseline: Candidate, winner: Candidate, part: str) -> bool:
    """Whether the interval counts the finite test part too: both sides were measured on the same resamples of it."""
    units = {r.units if r.resamples else 0 for c in (baseline, winner) for r in c.tests}
    return part == "test" and len(units) == 1 and units != {0}


def repeats(candidate: Candidate) -> bool:
    """Whether every seed gave the same model, as far as resamples of the test part tell it: they vary, but not from seed to seed."""
    seen = {(r.score, *r.resamples) for r in candidate.tests}
    return len(seen) == 1 and len({*candidate.tests[0].resamples}) > 1


def sampling_of(winner: Candidate, baseline: Candidate) -> tuple[float, int]:
    """The variance of the gain due to the finite test part, with its degrees of freedom."""
    ours, theirs = (np.mean([r.resamples for r in c.tests], axis=0) for c in (winner, baseline))
    return of_resamples(ours - theirs, winner.tests[0].units)


def of_resamples(values: Any, units: int) -> tuple[float, int]:
    """The variance of a mean over a finite number of units, by its values on resamples of them, with its degrees of freedom."""
    units = max(2, units)
    return float(np.var(values, ddof=1)) * units / (units - 1), min(len(values), units) - 1


def interval(gain: float, parts: Variances) -> tuple[float, float]:
    """The interval around a sum of independent variances."""
    if total(parts) == 0:  # equal scores on all seeds tell no variance, unless there is no difference at all
        return (gain, gain) if gain == 0 else UNBOUNDED
    half = half_width(parts)
    return gain - half, gain + half


def half_width(parts: Variances) -> float:
    """Half the width of the interval."""
    return float(stdtrit(degrees_of_freedom(parts), (1 + LEVEL) / 2)) * sqrt(total(parts))


def degrees_of_freedom(parts: Variances) -> float:
    """Of a sum of independent variances, by Satterthwaite's approximation."""
    return total(parts) ** 2 / sum(v**2 / n for v, n in parts)
