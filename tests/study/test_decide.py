"""What a verdict counts and advises, from the candidates that were compared."""

from dataclasses import replace
from itertools import product
from math import inf

import pytest
from scripted import ACCURACY, FACTS, LOSS, baseline, closed, record, studied

from autoopt.analysis.candidate import Candidate
from autoopt.analysis.weighing import required_sizes, variances
from autoopt.goal import Goal, Objective
from autoopt.records.stages import COMPRESS, CONFIRM, FINAL, SEARCH, TEST
from autoopt.records.verdict import Point
from autoopt.study.compress import compress_goal
from autoopt.study.decide import needed, plan_of, point, side, totals, verdict_of
from autoopt.study.explore import enough


def candidate(key, scores, resamples=(), **metrics):
    """A recipe on its seeds; `resamples`: one list a seed, if it was measured on the test part."""
    finals = [record(f"{key}-final-{i}", score, stage=FINAL, metrics={"val_accuracy": score} | metrics) for i, score in enumerate(scores)]
    tests = [
        record(f"{r.key}-test", r.score, stage=TEST, resamples=list(drawn), units=9) for r, drawn in zip(finals, resamples, strict=False)
    ]
    return Candidate(key, baseline(), finals, tests)


class TestWhatWouldShowADifference:
    SIDES = candidate("0", [0.50, 0.52, 0.54]), candidate("7", [0.51, 0.54, 0.56])

    def needed(self, low, high):
        return needed(*self.SIDES, "validation", 0.02, (low, high))

    def test_is_told_where_the_interval_includes_0(self):
        seeds, test = self.needed(-0.03, 0.07)
        assert (seeds, test) == required_sizes(0.02, *variances(*self.SIDES, "validation"), 3)
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


def test_a_point_of_the_front_has_its_value_in_each_objective():
    measured = record("compress-1", 0.75, stage=COMPRESS, metrics={"latency_ms": 2.0, "size_mb": 0.5})
    found = point(measured, compress_goal(Goal((ACCURACY,))))
    assert found == Point("compress-1", baseline().title(), {"val_accuracy": 0.75, "latency_ms": 2.0, "size_mb": 0.5})


def test_where_time_is_judged_the_room_is_for_one_training_at_a_time(tmp_path):
    latency = Objective("latency_ms", "minimize")
    rooms = []
    for number, objective in enumerate((latency, LOSS)):
        study = studied(tmp_path / str(number), None, "study.seeds=9", "study.trials=90", objective=objective, workers=4, time=8.0)
        for key in range(90):
            study.journal.add(SEARCH, record(str(key), 0.5, seconds=1.0))
        rooms.append(plan_of(study).trainings)
        closed(study)
    assert rooms[0] < rooms[1]


def test_a_resumed_study_plans_no_less_than_it_has_trained(tmp_path):
    """Its last session ended in the ablation, when hardly any time was left."""
    study = studied(tmp_path / "s", None, "study.seeds=5", "study.trials=16", time=90.0)
    for key in range(16):
        study.journal.add(SEARCH, record(str(key), 0.5, seconds=2.0))
    before, late = plan_of(study), replace(study, budget=replace(study.budget, spent=80.0))
    assert (before.candidates, before.final) == (2, 5)
    for stage, trials, seeds in ((CONFIRM, "35", 1), (FINAL, "03", 5)):
        for trial, i in product(trials, range(seeds)):
            study.journal.add(stage, record(stage.key.format(trial, i), 0.5, stage=stage))
    assert plan_of(late) == before
    closed(study)


class TestTheVerdict:
    def verdict(self, path, ours, theirs=(0.1, 0.3, 0.2), lightning=False, resamples=()):
        part = "test" if resamples else "validation"
        study = studied(path / "s", None, "study.seeds=3", objective=LOSS, spent=1.25, facts=FACTS | {"lightning": lightning}, part=part)
        for key, state, seconds in (("0", "complete", 0.25), ("1", "complete", 0.25), ("2", "stopped", 0.25)):
            study.journal.add(SEARCH, record(key, 0.5, state, seconds=seconds))
        study.journal.add(SEARCH, record("3", None, "failed", reason="lost", seconds=0.5))
        sides = [candidate(key, scores, resamples) for key, scores in (("0", theirs), ("7", ours))]
        for key in ("0-final-0-test", "0-final-1-test", "7-final-0-test"):
            study.journal.add(TEST, record(key, 0.5, stage=TEST))
        found = verdict_of(study, *sides, plan_of(study))
        closed(study)
        return found

    def test_counts_the_trials_and_their_time(self, tmp_path):
        found = self.verdict(tmp_path, [0.1, 0.25, 0.05])
        assert (found.counts, found.reasons) == ({"complete": 2, "stopped": 1, "failed": 1}, {"lost": 1})
        assert (found.trainings, found.test_opened_for, found.seeds_planned) == (4, 2, 0)
        assert (found.seconds, found.elapsed) == (1.2, 1.2), "rounded"

    def test_counts_a_continued_trial_once(self, tmp_path):
        study = studied(tmp_path / "s", None)
        study.journal.add(SEARCH, record("1", state="stopped", epochs=1, seconds=0.5))
        study.journal.add(SEARCH, record("3", 0.5, epochs=3, seconds=1.5, continues="1"))
        assert (totals(study)["trainings"], totals(study)["seconds"]) == (1, 1.5)
        limited = replace(study, tree={**study.tree, "study": {**study.settings, "epochs": 3, "trainings": 1.1}})
        assert not enough(limited, study.journal.records(SEARCH))
        closed(study)

    @pytest.mark.parametrize(("lightning", "clipped"), [(False, True), (True, False)])
    def test_has_no_gain_that_autoopts_own_loss_rules_out(self, tmp_path, lightning, clipped):
        _, high = self.verdict(tmp_path, [0.1, 0.25, 0.05], lightning=lightning).interval
        assert (high == pytest.approx(0.2)) == clipped and high >= 0.19

    @pytest.mark.parametrize(
        ("lightning", "resamples", "sampled"),
        [
            (False, [[0.1, 0.2], [0.3, 0.1], [0.2, 0.1]], "examples"),
            (True, [[0.1, 0.2], [0.3, 0.1], [0.2, 0.1]], "batches"),
            (True, [], ""),
            (False, [], ""),
        ],
    )
    def test_names_what_the_test_part_was_resampled_by(self, tmp_path, lightning, resamples, sampled):
        assert self.verdict(tmp_path, [0.1, 0.25, 0.05], lightning=lightning, resamples=resamples).sampled == sampled

    @pytest.mark.parametrize(("overrides", "left_out"), [((), ("optimizer/sgd",)), (("study.compare=optimizer",), ())])
    def test_names_what_kept_failing_unless_options_were_compared_which_leaves_none_out(self, tmp_path, overrides, left_out):
        study = studied(tmp_path / "s", None, *overrides, part="validation")
        for key in "123":
            study.journal.add(SEARCH, record(key, state="failed", reason="error", technique="optimizer/sgd"))
        assert verdict_of(study, *TestWhatWouldShowADifference.SIDES, plan_of(study)).quarantined == left_out
        closed(study)

    def test_names_the_planned_seeds_where_the_time_ended_before(self, tmp_path):
        assert self.verdict(tmp_path, [0.1, 0.25], [0.1, 0.3]).seeds_planned == 3
