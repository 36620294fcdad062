"""What a verdict counts and advises, from the candidates that were compared."""

from math import inf

import pytest
from scripted import baseline, record

from autoopt.study.confirm import Candidate
from autoopt.study.decide import needed, point, side
from autoopt.study.stages import COMPRESS, FINAL, TEST
from autoopt.study.weighing import to_show, variances


def candidate(key, scores, **metrics):
    finals = [record(f"{key}-final-{i}", score, stage=FINAL, metrics={"val_accuracy": score} | metrics) for i, score in enumerate(scores)]
    return Candidate(key, baseline(), finals)


class TestWhatWouldShowADifference:
    SIDES = candidate("0", [0.50, 0.52, 0.54]), candidate("7", [0.51, 0.54, 0.56])

    def needed(self, low, high):
        return needed(*self.SIDES, "validation", 0.02, (low, high))

    def test_is_told_where_the_interval_includes_0(self):
        seeds, test = self.needed(-0.03, 0.07)
        assert (seeds, test) == to_show(0.02, variances(*self.SIDES, "validation"), 3)
        assert seeds > 3
        assert self.needed(0.0, 0.04) == self.needed(-0.04, 0.0) == (seeds, test), "its ends belong to it"

    @pytest.mark.parametrize("interval", [(0.01, 0.03), (-0.03, -0.01), (-inf, inf), (0.0, 0.0)])
    def test_is_not_told_where_it_was_shown_or_is_unknown_or_exact(self, interval):
        assert self.needed(*interval) == (0, 0.0)


class TestASide:
    def test_has_the_mean_of_every_metric_of_both_parts(self):
        one = candidate("7", [0.5, 0.7], epochs_trained=3.0)
        tests = [record(f"7-final-{i}-test", score, stage=TEST, metrics={"test_accuracy": score}) for i, score in enumerate([0.4, 0.8])]
        found = side(Candidate("7", one.recipe, one.records, tests), "test")
        assert (found.trial, found.score, found.scores, found.validation) == ("7", pytest.approx(0.6), [0.4, 0.8], pytest.approx(0.6))
        assert found.metrics == pytest.approx({"val_accuracy": 0.6, "epochs_trained": 3.0, "test_accuracy": 0.6})
        assert (found.title, found.recipe, found.weights) == (baseline().title(), dict(baseline().tree), "7-final-0")

    def test_without_a_test_part_has_the_metrics_of_validation(self):
        found = side(candidate("7", [0.5, 0.7]), "validation")
        assert (found.score, found.metrics) == (pytest.approx(0.6), {"val_accuracy": pytest.approx(0.6)})


def test_a_point_of_the_front_has_its_score_and_its_costs():
    found = point(record("compress-1", 0.75, stage=COMPRESS, metrics={"latency_ms": 2.0, "size_mb": 0.5}))
    assert (found.trial, found.title, found.validation, found.latency_ms, found.size_mb) == ("compress-1", baseline().title(), 0.75, 2.0, 0.5)
