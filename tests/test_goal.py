from dataclasses import dataclass, field
from math import inf, nan

import pytest

from autoopt.goal import COSTS, GREATER, RANGES, SMALLER, Bound, Goal, Objective, direction_of, nowhere_worse, takes_stopwatch

ACCURACY, LATENCY, SIZE = Objective("val_accuracy", "maximize"), Objective("latency_ms", "minimize"), Objective("size_mb", "minimize")
LOSS = Objective("val_loss", "minimize")


@dataclass
class Trial:
    key: str
    score: float | None
    metrics: dict = field(default_factory=dict)
    state: str = "complete"


def keys(trials):
    return [trial.key for trial in trials]


@pytest.mark.parametrize(
    ("metric", "direction"),
    [
        ("val_loss", "minimize"),
        ("val_rmse", "minimize"),
        ("val/acc", "maximize"),
        ("val_Recall5", "maximize"),
        ("val_recall@5", "maximize"),
        ("test-f1", "maximize"),
        ("val_gloss_acc", "maximize"),
        ("val_glossary_accuracy", "maximize"),
        ("val_gloss_accuracy", "maximize"),
        ("val_maestro_f1", "maximize"),
        ("val_error_recall", "maximize"),
        ("val_error_f1", "maximize"),
        ("val_mae_acc", "maximize"),
        ("recall_error", "minimize"),
        ("accuracy_loss", "minimize"),
        ("brier_score", "minimize"),
        ("val_dice_loss", "minimize"),
        ("val_ndcg@10", "maximize"),
        ("val/mrr", "maximize"),
        ("val_concordance", "maximize"),
        ("val_c_index", "maximize"),
        ("val/C-Index", "maximize"),
        ("val_concordance_index", "maximize"),
        ("R_2", "maximize"),
        ("F_1", "maximize"),
        ("index", None),
        ("val_SMAPE", "minimize"),
        ("val_crps", "minimize"),
        ("avg_reward", "maximize"),
        ("val_bpd", "minimize"),
        ("val_eer", "minimize"),
        ("val_si_sdr", "maximize"),
        ("val/loss_dice", None),
        ("losses/iou_2", None),
        ("val_loss_mse", "minimize"),
        ("val_loss_gender", "minimize"),
        ("val_neg_mse", None),
        ("neg_mean_squared_error", None),
        ("val/negative-loss", None),
        ("val_score", None),
        ("val_acc_std", None),
        ("val_accuracy_drop", None),
        ("val_gap_acc", "maximize"),
        ("val_gloss", None),
        ("diceloss", None),
        ("terror", None),
        ("seconds", "minimize"),
        ("samples_per_second", "maximize"),
    ],
)
def test_a_direction_is_told_by_whole_words_of_which_the_last_counts(metric, direction):
    assert direction_of(metric) == direction


@pytest.mark.parametrize(
    ("metric", "limits"),
    [
        *(
            (name, (0.0, 1.0))
            for name in ("val_accuracy", "val_balanced_accuracy", "val/f1", "val_auroc", "miou", "val_Recall5", "val_error_f1")
        ),
        *((name, (0.0, inf)) for name in ("val_rmse", "recall_error", "latency_ms", "seconds", "samples_per_second")),
        ("val_r2", (-inf, 1.0)),
        ("val_perplexity", (1.0, inf)),
        *((name, (-1.0, 1.0)) for name in ("val_ssim", "val_mcc", "val_kappa")),
        ("val_ndcg@10", (0.0, 1.0)),
        ("val_mase", (0.0, inf)),
        *((name, (-inf, inf)) for name in ("val_loss", "val_dice_loss", "val_nll", "val_psnr", "val_score")),
    ],
)
def test_the_values_that_a_metric_can_have(metric, limits):
    assert Objective(metric, "maximize").limits() == limits


def test_a_loss_that_autoopt_measures_is_at_least_0():
    """That of a training step may be anything."""
    assert LOSS.limits(ours=True) == (0.0, inf) and LOSS.limits() == (-inf, inf)
    assert Objective("train_loss", "minimize").limits(ours=True) == (-inf, inf)


def test_every_word_with_a_range_tells_a_direction():
    assert {*RANGES} <= {*SMALLER, *GREATER}


@pytest.mark.parametrize(
    ("metric", "stopwatch"),
    [
        ("latency_ms", True),
        ("flops", True),
        ("inference_samples_per_second", True),
        ("inference_acc", False),
        ("latency_loss", False),
        ("size_mb", False),
        (None, False),
    ],
)
def test_only_our_own_metrics_take_a_stopwatch(metric, stopwatch):
    assert takes_stopwatch(metric) is stopwatch


@pytest.mark.parametrize(
    ("name", "tested", "part"),
    [
        ("val_accuracy", {"test_accuracy": 0.5}, "test"),
        ("val/acc", {"test/acc": 0.5}, "test"),
        ("val_accuracy", {"test_loss": 0.5}, "validation"),
        ("val_accuracy", {}, "validation"),
        ("latency_ms", {"latency_ms": 1.0}, "test"),
        ("size_mb", {"size_mb": 1.0}, "test"),
        ("size_mb", {}, "validation"),
        ("seconds", {"test_accuracy": 0.5}, "training"),
        ("peak_memory_mb", {}, "training"),
        ("samples_per_second", {}, "training"),
        ("train_loss", {"test_accuracy": 0.5}, "training"),
    ],
)
def test_the_part_that_a_verdict_compares(name, tested, part):
    assert Objective(name, "minimize").judged_by(tested) == part


@pytest.mark.parametrize(
    ("name", "part"), [("my_metric", "training"), ("val_accuracy", "test"), ("val_f1", "validation"), ("latency_ms", "test")]
)
def test_what_validation_does_not_measure_is_compared_by_trainings_unless_it_is_a_cost(name, part):
    tested = {"test_accuracy": 0.5, "latency_ms": 1.0, "my_metric": 0.5}
    assert Objective(name, "maximize").judged_by(tested, validated=("val_accuracy", "val_f1")) == part


def test_every_cost_has_a_direction_and_a_place():
    assert {cost.direction for cost in COSTS.values()} == {"maximize", "minimize"}
    assert {cost.measured for cost in COSTS.values()} == {"training", "model", "stopwatch"}
    assert {name for name, cost in COSTS.items() if cost.exact} == {"flops", "parameters", "size_mb"}


def test_the_value_on_the_test_part_goes_by_its_name():
    assert ACCURACY.value({"val_accuracy": 0.1, "test_accuracy": 0.2}) == 0.1
    assert ACCURACY.value({"val_accuracy": 0.1, "test_accuracy": 0.2}, "test") == 0.2
    assert LATENCY.value({"latency_ms": 3.0}, "test") == 3.0
    assert ACCURACY.value({}, "test") is None


def test_better_and_gain_follow_the_direction():
    assert ACCURACY.better(0.9, 0.8) and not ACCURACY.better(0.8, 0.8)
    assert LATENCY.better(1.0, 2.0) and not LATENCY.better(2.0, 1.0)
    assert ACCURACY.gain(0.9, 0.8) == pytest.approx(0.1) and LATENCY.gain(1.0, 3.0) == 2.0
    assert str(LATENCY.gain(1.0, 1.0)) == "0.0"


def test_rank_takes_complete_trials_within_the_bounds_and_of_equals_the_smaller_then_the_faster():
    trials = [
        Trial("a", 0.5),
        Trial("b", 0.9, {"size_mb": 2.0}),
        Trial("i", 0.9, {"size_mb": 1.0, "latency_ms": 5.0}),
        Trial("c", 0.9, {"size_mb": 1.0, "latency_ms": 1.0}),
        Trial("d", 0.99, state="stopped"),
        Trial("e", None, state="failed"),
        Trial("f", None),
        Trial("g", 0.5, {"size_mb": 0.5}),
        Trial("h", 0.0),
    ]
    assert keys(Goal((ACCURACY,)).rank(trials)) == ["c", "i", "b", "a", "g", "h"]
    assert keys(Goal((Objective("x", "minimize"),)).rank(trials)) == ["h", "a", "g", "c", "i", "b"]
    assert keys(Goal((ACCURACY,), (Bound(SIZE, 1.5),)).rank(trials)) == ["c", "i", "g"], "what was not measured is not within a bound"


def test_a_bound_includes_its_end():
    at_most = Bound(Objective("latency_ms", "minimize"), 2.0)
    assert [at_most.excess(measured) for measured in ({"latency_ms": 2.0}, {"latency_ms": 3.0}, {})] == [0.0, 0.5, inf]
    at_least = Bound(Objective("val_recall", "maximize"), 0.8)
    assert [at_least.excess({"val_recall": value}) for value in (0.9, 0.8, 0.4)] == [0.0, 0.0, 0.5]
    assert Goal((ACCURACY,), (at_most, at_least)).violation({"latency_ms": 3.0, "val_recall": 0.4}) == 1.0
    assert (str(at_most), str(at_least)) == ("latency_ms at most 2", "val_recall at least 0.8")


def test_the_front_holds_what_no_other_equals_in_every_objective():
    goal = Goal((ACCURACY, LATENCY, SIZE))
    trials = [
        Trial("best", 0.9, {"latency_ms": 3.0, "size_mb": 3.0}),
        Trial("fast", 0.8, {"latency_ms": 1.0, "size_mb": 3.0}),
        Trial("small", 0.7, {"latency_ms": 3.0, "size_mb": 1.0}),
        Trial("worse", 0.8, {"latency_ms": 2.0, "size_mb": 3.0}),
        Trial("like fast", 0.8, {"latency_ms": 1.0, "size_mb": 3.0}),
        Trial("unmeasured", 0.99, {"latency_ms": 1.0}),
    ]
    assert keys(goal.front(trials)) == ["best", "fast", "small"]
    assert goal.scores(trials[-1]) is None and goal.scores(trials[0]) == (0.9, 3.0, 3.0)


def test_nowhere_worse():
    assert nowhere_worse((1, 1), (1, 2), (0, 0)) and nowhere_worse((1, 1), (1, 1), (0, 0)) and not nowhere_worse((0, 3), (1, 2), (0, 0))
    assert nowhere_worse((-0.9, 1.04), (-0.8, 1.0), (0, 0.05)) and not nowhere_worse((-0.9, 1.06), (-0.8, 1.0), (0, 0.05))


def test_of_equal_scores_the_front_keeps_the_one_that_is_smaller_and_as_fast_within_noise():
    goal = Goal((ACCURACY, LATENCY, SIZE))
    trials = [Trial("large", 0.9, {"latency_ms": 1.0, "size_mb": 2.0}), Trial("small", 0.9, {"latency_ms": 1.01, "size_mb": 1.0})]
    assert keys(goal.front(trials)) == ["small", "large"] and keys(goal.front(trials, {"latency_ms": 0.02})) == ["small"]


@pytest.mark.parametrize(
    ("goal", "timed"),
    [
        (Goal((ACCURACY,)), False),
        (Goal((LATENCY,)), True),
        (Goal((ACCURACY, LATENCY)), True),
        (Goal((ACCURACY,), (Bound(Objective("latency_ms", "minimize"), 1),)), True),
    ],
)
def test_a_goal_with_a_stopwatch_runs_trials_alone(goal, timed):
    assert goal.timed is timed


def test_what_a_trial_is_worth_after_each_epoch():
    values = {3: 0.4, 1: 0.5, 2: 0.7}
    assert Goal((ACCURACY,)).curve(values) == {1: 0.5, 2: 0.7, 3: 0.4}
    assert Goal((ACCURACY,), best_epoch=True).curve(values) == {1: 0.5, 2: 0.7, 3: 0.7}
    assert Goal((LOSS,), best_epoch=True).curve(values) == {1: 0.5, 2: 0.5, 3: 0.4}


def test_what_is_nan_keeps_no_bound_and_is_on_no_front():
    """Of the first objective a trial that ends with NaN has failed; of the others NaN is neither better nor worse than anything."""
    auc = Objective("val_auc", "maximize")
    bound, goal = Bound(auc, 0.9), Goal((ACCURACY, auc))
    assert bound.excess({"val_auc": nan}) == inf
    assert Goal((ACCURACY,), (bound,)).missed({"val_auc": nan}) == "val_auc at least 0.9 (nan)"
    trials = [Trial("a", 0.9, {"val_auc": 0.9}), Trial("b", 0.1, {"val_auc": nan}), Trial("c", 0.95, {"val_auc": 0.95})]
    assert keys(goal.front(trials)) == ["c"] and goal.scores(trials[1]) is None
