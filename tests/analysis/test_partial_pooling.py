"""The chance that a recipe which was chosen by its scores is better than another."""

import numpy as np
import pytest

from autoopt.analysis.partial_pooling import USUAL, chance_better
from autoopt.study.explain import noise_of


def test_equal_scores_decide_nothing_and_a_great_lead_decides():
    seeds = {"a": 3, "b": 3, "c": 1}
    assert chance_better({"a": 0.9, "b": 0.9, "c": 0.8}, seeds, 0.01, "a", "b") == pytest.approx(0.5)
    assert chance_better({"a": 0.9, "b": 0.5, "c": 0.6}, seeds, 1e-4, "a", "b") > 0.99


def test_the_two_chances_add_up_to_one():
    given = ({"a": 0.9, "b": 0.7, "c": 0.8}, {"a": 3, "b": 3, "c": 1}, 0.01)
    assert chance_better(*given, "a", "c") + chance_better(*given, "c", "a") == pytest.approx(1.0)


def test_units_do_not_matter():
    means, seeds = {"a": 0.9, "b": 0.8, "c": 0.7}, {"a": 2, "b": 2, "c": 1}
    percent = {name: 100 * mean + 7 for name, mean in means.items()}
    assert chance_better(means, seeds, 0.01, "a", "b") == pytest.approx(chance_better(percent, seeds, 100.0, "a", "b"))


@pytest.mark.slow
def test_of_those_that_won_a_race_as_many_are_better_as_it_says():
    random, stated, better = np.random.default_rng(0), [], []
    for _ in range(3000):
        true = random.normal(size=4) * abs(random.normal()) * USUAL
        scores = true + random.normal(size=(2, 4))
        first = np.argsort(-scores[0])[:2]  # two of four go on to a second seed
        means = {str(place): scores[:, place].mean() if place in first else scores[0, place] for place in range(4)}
        one, other = sorted(map(str, first), key=lambda name: -means[name])
        stated.append(chance_better(means, {name: 2 if int(name) in first else 1 for name in means}, 1.0, one, other))
        better.append(true[int(one)] > true[int(other)])
    assert np.mean(stated) == pytest.approx(np.mean(better), abs=0.025), "the standard error is .009"
    assert np.mean(stated) < 0.65


def test_the_noise_is_that_within_recipes():
    assert noise_of([{0: 1.0, 1: 3.0}, {0: 11.0, 1: 12.0, 2: 13.0}, {0: 5.0}]) == pytest.approx((2 + 2) / 3)
    assert noise_of([{0: 1.0}, {}]) == 0.0
