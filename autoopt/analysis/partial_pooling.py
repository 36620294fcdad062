"""The chance that one recipe is better than another, given scores by which they were chosen."""

from collections.abc import Mapping

import numpy as np
from scipy.special import ndtr

SPREADS = np.linspace(0.05, 2.0, 40)
"""How far apart recipes may lie: the standard deviation of their true scores, in units of that of a training's noise."""
USUAL = 0.5
"""The deviation of the half-normal prior of the spread: candidates are the best of a search, so that they are much alike."""


def chance_better(means: Mapping[str, float], seeds: Mapping[str, int], noise: float, one: str, other: str) -> float:
    """The chance that the true score of one recipe is higher than that of another.

    The true scores are normal around a common mean; their spread is unknown, and averaged over. So a lead is shrunk by as much as the
    scores of all recipes together show it to be luck, and it does not matter that it was chosen for being the greatest.

    Gelman et al. 2013, Bayesian Data Analysis, ISBN 9781439840955, section 5.4.

    Args:
        means: by recipe, its mean score over its seeds.
        seeds: by recipe, how many these were.
        noise: the variance of the score of one training around its recipe's true score; above 0.
    """
    names = list(means)
    scores, errors = np.array([means[name] for name in names]), noise / np.array([seeds[name] for name in names])
    ours, theirs = names.index(one), names.index(other)
    weights, chances = [], []
    for spread in SPREADS:
        within = noise * spread**2
        precisions = 1 / (errors + within)
        common = precisions @ scores / precisions.sum()
        evidence = (np.log(precisions).sum() - np.log(precisions.sum()) - precisions @ (scores - common) ** 2) / 2
        weights.append(evidence - (spread / USUAL) ** 2 / 2)
        kept = within * precisions  # the share of its distance to the common mean that a recipe keeps
        true, variances = common + kept * (scores - common), kept * errors
        # the common mean is uncertain, too, and moves the recipes that keep less of their own score more
        shift = (kept[theirs] - kept[ours]) ** 2 / precisions.sum()
        chances.append(ndtr((true[ours] - true[theirs]) / np.sqrt(variances[ours] + variances[theirs] + shift)))
    likely = np.exp(np.array(weights) - max(weights))
    return float(likely @ np.array(chances) / likely.sum())
