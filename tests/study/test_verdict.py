from math import inf, sqrt
from types import SimpleNamespace

import numpy as np
import pytest
import yaml
from scripted import ACCURACY, LOSS

from autoopt.space import Space
from autoopt.study.confirm import Candidate
from autoopt.study.journal import Record
from autoopt.study.verdict import conclude, spread

EVERYTHING = Space({})
RECIPE = {"optimizer": {"adamw": {}}, "schedule": {}, "study": {"epochs": 1}}


def candidate(key, scores, validation=(0.5, 0.5), resamples=(), units=10**6):
    """What confirm and the opening of the test part come to; `resamples`: one list a seed."""
    recipe = {slot: {} for slot in ("data", "model", "activation", "initializer", "augmentation", "regularizer", "loss", "device")}
    records = [
        Record(
            *(f"{key}-seed-{i}", "test", RECIPE, i, "complete", score, {"m": score}),
            resamples=list(resamples[i]) if len(resamples) else [],
            units=units,
        )
        for i, score in enumerate(scores)
    ]
    before = [Record(f"{key}-seed-{i}", "confirm", RECIPE, i, "complete", score, {"m": score}) for i, score in enumerate(validation)]
    point = Record(key, "search", {**recipe, **RECIPE, "compression": {}}, 0, "complete").point
    return Candidate(key, point, before, records)


def verdict_of(baseline, winner, objective=ACCURACY, records=(), opened=(), space=EVERYTHING):
    told = {"search": list(records), "confirm": [*baseline.validation, *winner.validation], "test": list(opened)}
    journal = SimpleNamespace(records=lambda stage: told.get(stage, []))
    return conclude(SimpleNamespace(name="s", path="runs/s"), objective, (baseline, winner), journal, space)


def test_welch_by_hand():
    """Two sides of three seeds: Welch's interval, computed by hand.

    Variances 0.0004 and 0.0001, so the gain's is (0.0004 + 0.0001) / 3 = 1/6000, and Satterthwaite's degrees of freedom
    are 5² / ((4² + 1²) / 2) = 50 / 17 = 2.941. t of 97.5 % there is 3.2188 (between 4.3027 of 2 and 3.1824 of 3).
    """
    found = verdict_of(candidate("0", [0.80, 0.82, 0.84]), candidate("7", [0.89, 0.90, 0.91]))
    assert found.gain == pytest.approx(0.08)
    assert found.interval == pytest.approx((0.08 - 3.2188 * sqrt(1 / 6000), 0.08 + 3.2188 * sqrt(1 / 6000)), abs=2e-5)
    assert found.better
    assert found.best.key == "7"
    assert found.part == "test"
    assert "Trial 7 is better than the baseline: gain in val_accuracy on the test split +0.0800" in found.conclusion()


def test_the_same_as_scipy():
    from scipy import stats

    ours, theirs = [0.71, 0.69, 0.74, 0.70], [0.66, 0.70, 0.65]
    low, high = stats.ttest_ind(ours, theirs, equal_var=False).confidence_interval()
    assert verdict_of(candidate("0", theirs), candidate("1", ours)).interval == pytest.approx((low, high))


def test_minimize_turns_the_gain():
    found = verdict_of(candidate("0", [1.0, 1.1, 1.2]), candidate("3", [0.5, 0.6, 0.7]), LOSS)
    assert found.gain == pytest.approx(0.5)
    assert found.better
    assert found.tree()["direction"] == "minimize"
    assert not verdict_of(candidate("0", [0.5, 0.6, 0.7]), candidate("3", [1.0, 1.1, 1.2]), LOSS).better


def test_the_sampling_of_the_test_part_widens_the_interval():
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 0.1, (2, 3, 200))
    narrow = verdict_of(candidate("0", [0.80, 0.82, 0.84]), candidate("7", [0.89, 0.90, 0.91]))
    wide = verdict_of(
        candidate("0", [0.80, 0.82, 0.84], resamples=0.8 + noise[0]), candidate("7", [0.89, 0.90, 0.91], resamples=0.9 + noise[1])
    )
    assert wide.gain == narrow.gain
    assert not wide.better
    variance = np.var(noise[1].mean(0) - noise[0].mean(0), ddof=1)
    assert np.diff(wide.interval) / 2 > 1.96 * sqrt(variance)


def test_resamples_are_taken_in_pairs():
    """The same draw of the test part for both sides: what shifts both alike is no uncertainty of the gain."""
    shift = np.random.default_rng(0).normal(0, 0.5, 200)
    both = [np.tile(level + shift, (3, 1)) for level in (0.8, 0.9)]
    found = verdict_of(candidate("0", [0.80, 0.82, 0.84], resamples=both[0]), candidate("7", [0.89, 0.90, 0.91], resamples=both[1]))
    plain = verdict_of(candidate("0", [0.80, 0.82, 0.84]), candidate("7", [0.89, 0.90, 0.91]))
    assert found.interval == pytest.approx(plain.interval)


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
        one, other = (
            candidate(key, side.mean(1), resamples=[seed[draws].mean(1) for seed in side]) for key, side in zip("07", sides, strict=True)
        )
        low, high = verdict_of(one, other).interval
        covered += low <= truth <= high
    assert covered / 400 >= 0.92
    assert covered / 400 < 1, "an interval that always covers says nothing"


@pytest.mark.parametrize("resamples", [(), [[0.8, 0.81, 0.79]]], ids=["without resamples", "with resamples"])
def test_one_seed_tells_nothing(resamples):
    found = verdict_of(candidate("0", [0.5], [0.5], resamples), candidate("7", [0.9], [0.9], resamples))
    assert found.interval == (-inf, inf)
    assert not found.better
    assert found.best.key == "0"
    said = "Whether trial 7 is better than the baseline cannot be told: gain in val_accuracy on the test split +0.4000"
    assert found.conclusion() == f"{said}; on so few seeds nothing can be said of chance; study.seeds=3 or more tells."
    assert yaml.safe_load(found.yaml())["interval"] == [-inf, inf]


def test_one_seed_left_on_one_side_tells_nothing():
    draws = [[0.8, 0.81, 0.79]] * 3
    found = verdict_of(candidate("0", [0.5, 0.51, 0.52], resamples=draws), candidate("7", [0.9], resamples=draws[:1]))
    assert found.interval == (-inf, inf)


def test_the_baseline_wins():
    same = candidate("0", [0.8, 0.9])
    found = verdict_of(same, same)
    assert (found.gain, found.interval, found.better) == (0.0, (0.0, 0.0), False)
    assert found.conclusion() == "The baseline is as good: no recipe that was confirmed beat it."
    assert "&" not in found.yaml(), "no aliases for people to read"
    assert yaml.safe_load(found.yaml())["winner"]["trial"] == "0"


def test_without_a_test_part_the_validation_part_is_weighed():
    one, other = candidate("0", [], [0.80, 0.82, 0.84]), candidate("7", [], [0.89, 0.90, 0.91])
    found = verdict_of(one, other)
    assert found.part == "validation"
    assert found.gain == pytest.approx(0.08)
    assert found.tree()["winner"]["score"] == pytest.approx(0.9)
    said = "Trial 7 is better than the baseline: gain in val_accuracy on the validation split +0.0800, 95 % interval "
    assert found.conclusion().startswith(said)
    assert found.conclusion().endswith(" (there is no test split: this one chose the winner, so the gain is flattered).")
    assert found.tree()["part"] == "validation"


def test_the_interval_holds_0():
    found = verdict_of(candidate("0", [0.80, 0.90, 0.70]), candidate("7", [0.81, 0.92, 0.72]))
    low, high = found.interval
    assert found.conclusion() == (
        "The baseline is as good, as far as can be told, since the interval holds 0: "
        f"gain in val_accuracy on the test split +0.0167, 95 % interval {low:+.4f} to {high:+.4f}."
    )


def test_the_baseline_is_better_after_all():
    found = verdict_of(candidate("0", [0.89, 0.90, 0.91]), candidate("7", [0.80, 0.82, 0.84]))
    low, high = found.interval
    assert low < high < 0
    assert found.conclusion() == (
        "The baseline is better than trial 7, which only validation preferred: "
        f"gain in val_accuracy on the test split -0.0800, 95 % interval {low:+.4f} to {high:+.4f}."
    )
    assert (found.better, found.best.key) == (False, "0")


def test_the_freedom_of_the_resamples_is_one_less_than_they_are():
    """Where the seeds agree they alone count: of five resamples four degrees of freedom, for which t of 97.5 % is 2.7764."""
    drawn = [[0.90, 0.92, 0.88, 0.91, 0.89]] * 3
    found = verdict_of(candidate("0", [0.8] * 3, resamples=[[0.8] * 5] * 3), candidate("7", [0.9] * 3, resamples=drawn))
    half = 2.7764 * np.std(drawn[0], ddof=1)
    assert found.interval == pytest.approx((0.1 - half, 0.1 + half), abs=1e-5)


def test_a_small_test_part_widens_the_interval():
    """Of three units (groups, or examples) the variance is 3/2 of the resamples', with two degrees of freedom: t is 4.3027."""
    drawn = [[0.90, 0.92, 0.88, 0.91, 0.89]] * 3
    sides = candidate("0", [0.8] * 3, resamples=[[0.8] * 5] * 3, units=3), candidate("7", [0.9] * 3, resamples=drawn, units=3)
    half = 4.3027 * np.std(drawn[0], ddof=1) * sqrt(3 / 2)
    assert verdict_of(*sides).interval == pytest.approx((0.1 - half, 0.1 + half), abs=1e-4)


def test_what_the_test_split_does_not_tell_is_weighed_where_it_was_trained():
    """Such as the seconds of the training."""
    sides = candidate("0", [None] * 2, [0.5, 0.51]), candidate("7", [None] * 2, [0.9, 0.91])
    found = verdict_of(*sides, opened=[*sides[0].test, *sides[1].test])
    assert (found.part, found.gain) == ("validation", pytest.approx(0.4))
    assert "(the test split does not tell it: this one chose the winner, so the gain is flattered)" in found.conclusion()


def test_for_how_many_recipes_the_test_split_was_opened():
    """In all sessions; a recipe counts once, however many seeds it has, and though a measurement of it failed."""
    keys = ["0-seed-0-test", "0-seed-1-test", "7-seed-0-test", "7-seed-0-test", "compress-7-seed-0-test", "12-seed-0-test"]
    opened = [Record(key, "test", RECIPE, 0, "failed" if key.startswith("12") else "complete") for key in keys]
    found = verdict_of(candidate("0", [0.8, 0.9]), candidate("7", [0.8, 0.9]), opened=opened)
    assert found.tree()["test_opened_for"] == 4


def test_what_was_left_out_and_what_is_broken():
    space = Space({}, dropped={"device/cuda": "no CUDA device", "optimizer/mine": "boom"}, broken=frozenset({"optimizer/mine"}))
    tree = verdict_of(candidate("0", [0.8, 0.9]), candidate("7", [0.8, 0.9]), space=space).tree()
    assert (tree["dropped"], tree["quarantined"]) == (dict(space.dropped), ["optimizer/mine"])


def test_seeds_that_agree_to_the_last_digit():
    """They tell nothing of chance, unless there is no difference at all."""
    assert spread(0.1, [(0.0, 2), (0.0, 2)]) == (-float("inf"), float("inf"))
    assert spread(0.0, [(0.0, 2), (0.0, 2)]) == (0.0, 0.0)


def test_counts_and_reasons():
    states = [("complete", None), ("stopped", None), ("failed", "lost"), ("failed", "lost"), ("failed", "nonfinite")]
    records = [Record(str(i), "search", RECIPE, 0, state, reason=reason) for i, (state, reason) in enumerate(states)]
    tree = verdict_of(candidate("0", [0.5, 0.6]), candidate("1", [0.5, 0.7]), records=records).tree()
    assert tree["trials"] == {"complete": 1, "stopped": 1, "failed": 3, "reasons": {"lost": 2, "nonfinite": 1}}
    assert tree["trainings"] == 9
