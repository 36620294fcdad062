from math import inf, sqrt
from statistics import mean, stdev

import pytest
from scipy.special import stdtrit

from autoopt.analysis.two_way import TwoWay

OURS, THEIRS = [0.9, 0.7, 0.8, 0.85], [0.6, 0.5, 0.55, 0.5]


def rows(**scores):
    return {name: dict(enumerate(values)) for name, values in scores.items()}


def test_of_two_recipes_it_is_the_paired_t_interval():
    differences = [a - b for a, b in zip(OURS, THEIRS, strict=True)]
    half = stdtrit(3, 0.975) * stdev(differences) / sqrt(4)
    gain, interval = TwoWay(rows(a=OURS, b=THEIRS)).difference("a", "b")
    assert gain == pytest.approx(mean(differences))
    assert interval == pytest.approx((gain - half, gain + half))


def test_the_noise_of_all_recipes_counts():
    """Two-way analysis of variance: the mean square of the residuals, (recipes - 1)(seeds - 1) degrees of freedom."""
    scores = {"a": OURS, "b": THEIRS, "c": [0.8, 0.75, 0.7, 0.8]}
    seeds = [mean(values) for values in zip(*scores.values(), strict=True)]
    whole = mean(seeds)
    square = sum((y - mean(values) - seed + whole) ** 2 for values in scores.values() for y, seed in zip(values, seeds, strict=True)) / 6
    half = stdtrit(6, 0.975) * sqrt(2 * square / 4)
    gain, interval = TwoWay(rows(**scores)).difference("c", "b")
    assert interval == pytest.approx((gain - half, gain + half))


def test_a_recipe_with_fewer_seeds_is_compared_on_those_that_it_has():
    """The second seed is easy for everybody."""
    scores = {"a": {0: 0.5, 1: 0.9, 2: 0.5}, "b": {0: 0.4, 1: 0.8, 2: 0.4}, "c": {1: 0.85}}
    assert TwoWay(scores).difference("c", "b")[0] == pytest.approx(0.05)


def test_the_means_are_those_of_the_same_seed():
    """b was trained on the easy seed alone."""
    means = TwoWay({"a": {0: 1.0, 1: 3.0}, "b": {1: 2.5}, "c": {0: 0.0, 1: 2.0}}).means()
    assert means == pytest.approx({"a": 1.0, "b": 0.5, "c": 0.0})


@pytest.mark.parametrize(
    ("scores", "exact", "found"),
    [
        (rows(a=[0.9], b=[0.5]), False, (-inf, inf)),
        (rows(a=[0.9], b=[0.5]), True, (0.4, 0.4)),
        (rows(a=[0.9, 0.9], b=[0.5, 0.5]), False, (-inf, inf)),
        (rows(a=[0.1 + 0.2, 0.5], b=[0.3, 0.5]), False, (0.0, 0.0)),
    ],
    ids=["one seed", "exact", "no noise", "rounding"],
)
def test_what_tells_no_noise_has_no_interval(scores, exact, found):
    assert TwoWay(scores, exact).difference("a", "b")[1] == pytest.approx(found)
