from dataclasses import replace
from math import inf, sqrt

import numpy as np
import pytest
from scipy import stats
from scripted import ACCURACY, LOSS, baseline, record

from autoopt.analysis.candidate import Candidate
from autoopt.analysis.weighing import UNBOUNDED, both_resampled, enlarged, half_width, interval, required_sizes, variances, weigh
from autoopt.goal import Goal, Objective
from autoopt.records.stages import FINAL, TEST
from autoopt.study.confirm import race


def candidate(key, scores, validation=(0.5, 0.5), resamples=(), units=10**6):
    """A recipe on its seeds; `resamples`: one list a seed."""
    tests = [
        record(f"{key}-final-{i}-test", score, stage=TEST, resamples=list(resamples[i]) if len(resamples) else [], units=units)
        for i, score in enumerate(scores)
    ]
    finals = [record(f"{key}-final-{i}", score, stage=FINAL) for i, score in enumerate(validation)]
    return Candidate(key, baseline(), finals, tests)


def weighed(baseline, winner, part="test", objective=ACCURACY):
    return weigh(baseline, winner, part, objective)


def test_welch_by_hand():
    """Two sides of three seeds: Welch's interval, computed by hand.

    Variances 0.0004 and 0.0001, so the gain's is (0.0004 + 0.0001) / 3 = 1/6000, and Satterthwaite's degrees of freedom
    are 5² / ((4² + 1²) / 2) = 50 / 17 = 2.941. t of 97.5 % there is 3.2188 (between 4.3027 of 2 and 3.1824 of 3).
    """
    gain, bounds = weighed(candidate("0", [0.80, 0.82, 0.84]), candidate("7", [0.89, 0.90, 0.91]))
    assert gain == pytest.approx(0.08)
    assert bounds == pytest.approx((0.08 - 3.2188 * sqrt(1 / 6000), 0.08 + 3.2188 * sqrt(1 / 6000)), abs=2e-5)


def test_the_same_as_scipy():
    ours, theirs = [0.71, 0.69, 0.74, 0.70], [0.66, 0.70, 0.65]
    low, high = stats.ttest_ind(ours, theirs, equal_var=False).confidence_interval()
    assert weighed(candidate("0", theirs), candidate("1", ours))[1] == pytest.approx((low, high))


def test_five_seeds_are_paired():
    """Both sides are trained on the same seeds; what a seed does to both is no uncertainty of the gain."""
    ours, theirs = [0.71, 0.69, 0.74, 0.70, 0.66], [0.66, 0.65, 0.70, 0.64, 0.62]
    low, high = stats.ttest_rel(ours, theirs).confidence_interval()
    gain, found = weighed(candidate("0", theirs), candidate("1", ours))
    assert found == pytest.approx((low, high))
    unpaired = stats.ttest_ind(ours, theirs, equal_var=False).confidence_interval()
    assert gain - unpaired.low > 3 * (gain - low)


def test_differences_that_vary_by_rounding_alone_do_not_narrow_the_interval():
    """On ten examples each seed gains 0.1, in floating point by 1e-17 more or less: the sides' own variance counts, as of fewer seeds."""
    theirs, ours = [0.6, 0.7, 0.8, 0.7, 0.6], [0.7, 0.8, 0.9, 0.8, 0.7]
    assert len({a - b for a, b in zip(ours, theirs, strict=True)}) > 1
    low, high = stats.ttest_ind(ours, theirs, equal_var=False).confidence_interval()
    for part in ("test", "training"):
        assert weigh(candidate("0", theirs, theirs), candidate("1", ours, ours), part, ACCURACY)[1] == pytest.approx((low, high))
    exact = [0.25, 0.5, 0.75, 0.5, 0.25]
    assert weighed(candidate("0", exact), candidate("1", [score + 0.25 for score in exact]))[1][0] > -1
    assert weighed(candidate("0", [0.5] * 5), candidate("1", [0.75] * 5))[1] == UNBOUNDED, "no side tells how seeds vary"


def test_minimize_turns_the_gain():
    gain, (low, _) = weighed(candidate("0", [1.0, 1.1, 1.2]), candidate("3", [0.5, 0.6, 0.7]), objective=LOSS)
    assert gain == pytest.approx(0.5) and low > 0
    assert weighed(candidate("0", [0.5, 0.6, 0.7]), candidate("3", [1.0, 1.1, 1.2]), objective=LOSS)[1][1] < 0


def test_the_sampling_of_the_test_part_widens_the_interval():
    noise = np.random.default_rng(0).normal(0, 0.1, (2, 3, 200))
    gain, narrow = weighed(candidate("0", [0.80, 0.82, 0.84]), candidate("7", [0.89, 0.90, 0.91]))
    same, wide = weighed(
        candidate("0", [0.80, 0.82, 0.84], resamples=0.8 + noise[0]), candidate("7", [0.89, 0.90, 0.91], resamples=0.9 + noise[1])
    )
    assert same == gain
    assert wide[0] < 0 < narrow[0]
    variance = np.var(noise[1].mean(0) - noise[0].mean(0), ddof=1)
    assert np.diff(wide) / 2 > 1.96 * sqrt(variance)


def test_resamples_are_taken_in_pairs():
    """The same draw of the test part for both sides: what shifts both alike is no uncertainty of the gain."""
    shift = np.random.default_rng(0).normal(0, 0.5, 200)
    both = [np.tile(level + shift, (3, 1)) for level in (0.8, 0.9)]
    paired = weighed(candidate("0", [0.80, 0.82, 0.84], resamples=both[0]), candidate("7", [0.89, 0.90, 0.91], resamples=both[1]))
    plain = weighed(candidate("0", [0.80, 0.82, 0.84]), candidate("7", [0.89, 0.90, 0.91]))
    assert paired[1] == pytest.approx(plain[1])


def test_the_interval_covers_the_truth():
    """400 studies with a known gain, noise of seeds and noise of the finite test part: 95 % means at least 92 %."""
    rng, truth, covered = np.random.default_rng(0), 0.02, 0
    for _ in range(400):
        size = 400
        right = rng.uniform(size=size)  # how hard each test example is: the same ones for both sides
        sides = []
        for level in (0.80, 0.80 + truth):
            hits = [right < level + rng.normal(0, 0.01) + rng.normal(0, 0.02, size) for _ in range(3)]
            sides.append(np.array(hits, float))
        draws = rng.integers(0, size, (100, size))
        pair = (
            candidate(key, side.mean(1), resamples=[seed[draws].mean(1) for seed in side]) for key, side in zip("07", sides, strict=True)
        )
        _, (low, high) = weighed(*pair)
        covered += low <= truth <= high
    assert covered / 400 >= 0.92
    assert covered / 400 < 1, "an interval that always covers says nothing"


@pytest.mark.parametrize("resamples", [(), [[0.8, 0.81, 0.79]]], ids=["without resamples", "with resamples"])
def test_one_seed_tells_nothing(resamples):
    gain, bounds = weighed(candidate("0", [0.5], [0.5], resamples), candidate("7", [0.9], [0.9], resamples))
    assert gain == pytest.approx(0.4) and bounds == UNBOUNDED == (-inf, inf)


def test_two_seeds_tell_something():
    _, (low, high) = weighed(candidate("0", [0.5, 0.51]), candidate("7", [0.9, 0.91]))
    assert -inf < low < 0.4 < high < inf


def test_one_seed_left_on_one_side_tells_nothing():
    draws = [[0.8, 0.81, 0.79]] * 3
    sides = candidate("0", [0.5, 0.51, 0.52], resamples=draws), candidate("7", [0.9], resamples=draws[:1])
    assert weighed(*sides)[1] == UNBOUNDED


def test_the_baseline_against_itself():
    same = candidate("0", [0.8, 0.9])
    assert weighed(same, same) == (0.0, (0.0, 0.0))


def test_the_validation_part_is_weighed_where_that_is_asked_for():
    sides = candidate("0", [], [0.80, 0.82, 0.84]), candidate("7", [], [0.89, 0.90, 0.91])
    assert weighed(*sides, part="validation")[0] == pytest.approx(0.08)
    assert weighed(*sides, part="training") == weighed(*sides, part="validation"), "what a training costs stands in its own record"


def test_the_freedom_of_the_resamples_is_one_less_than_they_are():
    """Where the seeds agree they alone count: of five resamples four degrees of freedom, for which t of 97.5 % is 2.7764."""
    drawn = [[0.90, 0.92, 0.88, 0.91, 0.89]] * 3
    _, bounds = weighed(candidate("0", [0.8] * 3, resamples=[[0.8] * 5] * 3), candidate("7", [0.9] * 3, resamples=drawn))
    half = 2.7764 * np.std(drawn[0], ddof=1)
    assert bounds == pytest.approx((0.1 - half, 0.1 + half), abs=1e-5)


@pytest.mark.parametrize(("units", "t"), [(3, 4.3027), (2, 12.7062), (1, 12.7062)])
def test_a_small_test_part_widens_the_interval(units, t):
    """Of n units (groups, or examples) the variance is n/(n-1) of the resamples', with n-1 degrees of freedom.

    A single unit counts as two.
    """
    drawn = [[0.90, 0.92, 0.88, 0.91, 0.89]] * 3
    sides = candidate("0", [0.8] * 3, resamples=[[0.8] * 5] * 3, units=units), candidate("7", [0.9] * 3, resamples=drawn, units=units)
    n = max(2, units)
    half = t * np.std(drawn[0], ddof=1) * sqrt(n / (n - 1))
    assert weighed(*sides)[1] == pytest.approx((0.1 - half, 0.1 + half), abs=1e-4)


def test_seeds_that_agree_to_the_last_digit():
    """They tell nothing of chance, unless there is no difference at all."""
    assert interval(0.1, [(0.0, 2), (0.0, 2)]) == UNBOUNDED
    assert interval(0.0, [(0.0, 2), (0.0, 2)]) == (0.0, 0.0)


@pytest.mark.parametrize("name", ["size_mb", "parameters", "flops"])
@pytest.mark.parametrize(("ours", "gain"), [(1.0, 1.0), (3.0, -1.0)])
def test_a_cost_that_no_seed_changes_is_exact(name, ours, gain):
    """One seed tells as much as three."""
    for seeds in (1, 3):
        sides = candidate("0", [2.0] * seeds), candidate("7", [ours] * seeds)
        assert weighed(*sides, objective=Objective(name, "minimize")) == (gain, (gain, gain))


def test_an_exact_cost_that_differs_between_seeds_after_all_is_weighed_like_any_other():
    sides = candidate("0", [2.0, 2.1, 2.2]), candidate("7", [1.0, 1.1, 1.2])
    _, (low, high) = weighed(*sides, objective=Objective("size_mb", "minimize"))
    assert low < 1.0 < high


def simulated(rng, candidates, seeds):
    """Whether a study of equal recipes says "better", where the winner is chosen and compared as a study does it.

    The seeds of a training move its validation and its test score alike (.01); each part adds noise of its own (.01).
    """

    def scores(count):
        seed = rng.normal(0, 0.01, count)
        return seed + rng.normal(0, 0.01, count), seed + rng.normal(0, 0.01, count)

    validated = {str(n + 1): scores(5)[0] for n in range(candidates)}
    winner, *_ = race(
        dict.fromkeys(validated, baseline()),
        lambda recipes, count: [Candidate(key, recipes[key], [record(key, s) for s in validated[key][:count]]) for key in recipes],
        Goal((ACCURACY,)),
    )
    sides = [candidate(key, scores(seeds)[1]) for key in ("0", winner.key)]
    return weighed(*sides)[1][0] > 0


@pytest.mark.slow
@pytest.mark.parametrize(("candidates", "seeds"), [(1, 3), (3, 3), (5, 3), (5, 5)])
def test_among_equal_recipes_better_is_said_as_rarely_as_the_level_promises(candidates, seeds):
    """2.5 % at most; 3 % allows for 2,000 simulated studies (the standard error is .35 %)."""
    rng = np.random.default_rng(candidates + seeds)
    assert np.mean([simulated(rng, candidates, seeds) for _ in range(2000)]) < 0.03


class TestSeedsThatChangeNothing:
    """A module that seeds itself: its score is the same, and so is every resample of it, so that nothing tells of chance."""

    SAME = candidate("0", [0.8, 0.8], resamples=[[0.8, 0.9, 0.85]] * 2)

    def test_on_both_sides_leave_the_interval_unknown(self):
        assert weighed(self.SAME, candidate("1", [0.9, 0.9], resamples=[[0.95, 0.9, 0.9]] * 2))[1] == UNBOUNDED

    @pytest.mark.parametrize(
        "other",
        [
            candidate("1", [0.9, 0.91], resamples=[[0.95, 0.9, 0.9]] * 2),
            candidate("1", [0.9, 0.9], resamples=[[0.95, 0.9, 0.9], [0.95, 0.9, 0.85]]),
            candidate("1", [1.0, 1.0], resamples=[[1.0, 1.0, 1.0]] * 2),
        ],
        ids=["another score", "another resample", "without a mistake"],
    )
    def test_on_one_side_alone_do_not(self, other):
        low, high = weighed(self.SAME, other)[1]
        assert -inf < low < high < inf
        assert weighed(replace(other, key="0"), replace(self.SAME, key="1"))[1] == pytest.approx((-high, -low))

    def test_without_a_difference_leave_none(self):
        assert weighed(self.SAME, replace(self.SAME, key="1")) == (0.0, (0.0, 0.0))


def test_other_numbers_of_test_batches_cannot_be_compared_one_by_one():
    drawn = [[0.8, 0.9], [0.7, 0.9]]
    sides = [candidate(key, [0.8, 0.9], resamples=drawn, units=units) for key, units in (("0", 4), ("1", 8))]
    assert not both_resampled(*sides, "test") and both_resampled(sides[0], sides[0], "test")


def bounded(theirs, ours, objective=ACCURACY, by_autoopt=False):
    """The interval with the objective's limits, and without."""
    sides = candidate("0", theirs), candidate("7", ours)
    return weigh(*sides, "test", objective, objective.limits(by_autoopt))[1], weigh(*sides, "test", objective)[1]


@pytest.mark.parametrize(
    ("theirs", "ours", "objective", "limits"),
    [
        ([0.80, 0.99, 0.90], [0.70, 0.99, 0.95], ACCURACY, (-0.8966, 0.1033)),
        ([0.2, 0.9, 0.1], [0.5, 0.1, 0.3], Objective("val_rmse", "minimize"), (None, 0.4)),
        ([0.2, 0.9, 0.1], [0.5, 0.1, 0.3], Objective("val_r2", "maximize"), (None, 0.6)),
        ([0.05, 0.1, 0.0], [0.0, 0.05, 0.05], ACCURACY, (-0.05, None)),
    ],
)
def test_no_interval_holds_a_gain_that_is_impossible(theirs, ours, objective, limits):
    (low, high), (lower, higher) = bounded(theirs, ours, objective)
    least, most = limits
    assert low == (lower if least is None or lower > least else pytest.approx(least))
    assert high == (higher if most is None else pytest.approx(most, abs=1e-4)) and (high < higher or low > lower)


def test_a_loss_of_a_plain_network_cannot_fall_below_0():
    (_, high), (_, higher) = bounded([0.1, 0.3, 0.2], [0.1, 0.25, 0.05], LOSS, by_autoopt=True)
    assert high == pytest.approx(0.2) and high < higher
    both, plain = bounded([0.1, 0.3, 0.2], [0.1, 0.25, 0.05], LOSS)
    assert both == plain, "a module's own loss may"


@pytest.mark.parametrize(
    ("objective", "theirs", "ours"),
    [
        (ACCURACY, [80.0, 99.0, 90.0], [70.0, 99.0, 95.0]),
        (Objective("val_score", "maximize"), [80.0, 99.0, 90.0], [70.0, 99.0, 95.0]),
        (Objective("val_neg_mse", "maximize"), [-0.2, -0.9, -0.1], [-0.5, -0.1, -0.3]),
    ],
    ids=["an accuracy in percent", "a metric that nobody knows", "an error turned into a score"],
)
def test_scores_outside_of_the_limits_have_no_limits(objective, theirs, ours):
    limited, plain = bounded(theirs, ours, objective)
    assert limited == plain


def test_limits_leave_an_unknown_interval_unknown():
    sides = candidate("0", [0.5], [0.5]), candidate("7", [0.9], [0.9])
    assert weigh(*sides, "test", ACCURACY, (0.0, 1.0))[1] == UNBOUNDED


def test_rounding_does_not_count_as_out_of_limits():
    (_, high), _ = bounded([0.9, 0.8, 1.0000001], [0.95, 0.85, 1.0])
    assert high == pytest.approx(0.1)


class TestWhatWouldShowIt:
    """A difference whose interval includes 0: how many seeds, or how large a test part, its size takes."""

    def test_more_seeds_where_these_vary_most(self):
        sides = candidate("0", [0.80, 0.84, 0.88]), candidate("7", [0.83, 0.87, 0.91])
        gain, (low, _) = weighed(*sides)
        of_seeds, of_test = variances(*sides, "test")
        seeds, test = required_sizes(gain, of_seeds, of_test, 3)
        assert low < 0 and test == 1
        each = [v * 3 for v, _ in of_seeds]
        assert half_width([(v / seeds, seeds - 1) for v in each]) < gain < half_width([(v / (seeds - 1), seeds - 2) for v in each])

    def test_the_number_of_seeds_shows_it_about_every_other_time(self):
        """That is what the size of a sample promises for a difference that is as large as it was seen."""
        rng, shown = np.random.default_rng(0), []
        seeds, _ = required_sizes(0.03, [(0.04**2 / 3, 2)] * 2, [], 3)
        for _ in range(400):
            theirs, ours = rng.normal(0.8, 0.04, seeds), rng.normal(0.83, 0.04, seeds)
            shown.append(weighed(candidate("0", theirs, theirs), candidate("7", ours, ours))[1][0] > 0)
        assert 0.4 < np.mean(shown) < 0.7

    def test_a_larger_test_part_where_that_varies_most(self):
        of_seeds, of_test = [(1e-6, 2), (1e-6, 2)], [(1e-3, 99)]
        seeds, times = required_sizes(0.03, of_seeds, of_test, 3)
        assert seeds == 0
        assert half_width([*of_seeds, *enlarged(of_test, times)]) < 0.03 < half_width([*of_seeds, *enlarged(of_test, times - 0.4)])

    def test_both_where_neither_is_enough(self):
        seeds, times = required_sizes(0.03, [(4e-4, 2), (4e-4, 2)], [(6e-4, 99)], 3)
        assert seeds > 3 and times == pytest.approx(seeds / 3)

    def test_seeds_alone_where_the_test_part_varies_less(self):
        of_seeds, of_test = [(4e-4, 2), (4e-4, 2)], [(1e-6, 99)]
        seeds, times = required_sizes(0.03, of_seeds, of_test, 3)
        assert seeds > 3 and times == 1
        assert half_width([*enlarged(of_seeds, seeds / 3), *of_test]) < 0.03

    def test_one_more_seed_where_that_is_enough(self):
        parts = [(4e-4, 2), (4e-4, 2)]
        gain = half_width(enlarged(parts, 4 / 3))
        assert required_sizes(gain * 1.001, parts, [], 3) == (4, 1.0)

    def test_a_hundred_times_as_much_is_the_most(self):
        """The report says so."""
        parts = [(4e-4, 2), (4e-4, 2)]
        least = half_width(enlarged(parts, 100))
        assert required_sizes(least * 1.0001, parts, [], 3) == (300, 1.0)
        assert required_sizes(least * 0.9999, parts, [], 3) == (0, 0.0)

    def test_three_seeds_twice_are_six_with_five_degrees_of_freedom(self):
        assert enlarged([(0.5, 2)], 2) == [(0.25, 5)]

    def test_nothing_where_there_is_hardly_a_difference(self):
        assert required_sizes(1e-6, [(4e-4, 2), (4e-4, 2)], [], 3) == (0, 0.0)
        assert required_sizes(0.0, [(4e-4, 2), (4e-4, 2)], [], 3) == (0, 0.0)
