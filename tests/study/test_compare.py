"""`study.compare` on recorded tables, whose true ranks are known: fairness, resuming, statistics, and what is refused."""

import csv
import re
import sys
from dataclasses import fields, replace
from io import StringIO
from math import inf
from pathlib import Path
from random import Random
from types import SimpleNamespace

import numpy as np
import pytest
from scipy import stats
from scipy.stats import ttest_rel
from scripted import baseline, record

from autoopt.analysis.candidate import Candidate
from autoopt.analysis.weighing import UNBOUNDED, weigh
from autoopt.api import Searched
from autoopt.commands.show import study_lines
from autoopt.config import compose
from autoopt.errors import BadInput, NotConcluded
from autoopt.goal import Bound, Goal, Objective
from autoopt.orders import Train
from autoopt.records.comparison import Comparison, OptionResult
from autoopt.records.journal import Journal
from autoopt.records.record import Record
from autoopt.records.stages import SEARCH
from autoopt.records.stored import open_stored
from autoopt.report.comparison import as_csv, as_latex, as_markdown_text, comparison_lines, comparison_rows, tuning_rows
from autoopt.report.sentence import conclusion
from autoopt.space import Space
from autoopt.strategy import AtRandom, Observation
from autoopt.study.compare import best_so_far, difference, holm, interval_of, result_of, time_to_match, trials_of
from autoopt.study.decide import ranked
from autoopt.study.turns import Turns, arms_of, check_size, option_of, turns_of

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
sys.path[:0] = [str(BENCHMARKS / "tables"), str(BENCHMARKS / "search")]

from replay import Replay, replayed  # noqa: E402
from table import Table  # noqa: E402

ACCURACY = Objective("val_accuracy", "maximize")
FAST = ("study.ablation=false", "study.seeds=1", "seed=3")


@pytest.fixture(scope="module")
def table():
    return Table.load("digits_mlp")


@pytest.fixture(scope="module")
def compared(table, tmp_path_factory):
    """A study that compares the table's two optimizers: its verdict and its records."""
    root = tmp_path_factory.mktemp("runs")
    verdict, _ = replayed(table, root, "study.compare=optimizer", "study.trials=33", *FAST)
    return verdict, open_stored("replay", str(root))


def searched(study):
    return [(r.key, r.recipe, r.seed, r.state, r.score) for r in study.records["search"]]


@pytest.mark.slow
def test_the_options_are_tried_alike(compared):
    _, study = compared
    records = study.records["search"]
    assert len(records) == 32, "33 trials are not equally many for two"
    assert [next(iter(r.recipe["optimizer"])) for r in records] == ["adamw", "momentum"] * 16
    assert [r.seed for r in records[::2]] == [r.seed for r in records[1::2]] and len({r.seed for r in records}) == 16
    assert records[0].state == records[1].state == "complete", "no option's defaults are stopped"
    space = Space.of(study.config)
    first, second = arms_of(space, "optimizer")
    assert (records[0].point, records[1].point) == (first.space.baseline(), second.space.baseline())
    for own in (records[::2], records[1::2]):
        assert {r.state for r in own} >= {"complete", "stopped"} and len({str(r.recipe) for r in own}) == 16


def test_the_best_of_each_is_compared_on_the_same_fresh_seeds(compared, table):
    verdict, study = compared
    found = verdict.comparison
    first, second = found.options
    assert (found.slot, found.part, found.seeds, found.trials) == ("optimizer", "test", 5, 16)
    seeds = {row.trial: [r.seed for r in study.records["compare"] if r.key.startswith(f"{row.trial}-")] for row in found.options}
    assert seeds[first.trial] == seeds[second.trial] and len({*seeds[first.trial]}) == 5
    assert not {*seeds[first.trial]} & {r.seed for stage in ("search", "final") for r in study.records[stage]}
    tests = {row.option: 1 - table.test[table.row(table.grid.space.values_of(study.record(row.trial).point))] for row in found.options}
    assert all(abs(score - tests[row.option]).min() < 1e-6 for row in found.options for score in row.scores), "on the test part"
    assert second.difference == pytest.approx(second.mean - first.mean) and second.p == pytest.approx(
        ttest_rel(second.scores, first.scores)[1]
    )
    assert (first.difference, first.p, first.epochs is not None) == (None, None, True)
    assert first.best[-1] == max(r.score for r in study.records["search"][::2] if r.state == "complete") and len(first.best) == 16


@pytest.mark.slow
def test_the_true_order_is_found(compared, table):
    """Of the best recipes of each optimizer in the table."""
    means = {"adamw": inf, "momentum": inf}
    for cell, row in table.rows.items():
        means[dict(cell)["optimizer"]] = min(means[dict(cell)["optimizer"]], table.test[row].mean())
    first, second = compared[0].comparison.options
    assert (means["adamw"] < means["momentum"]) == (first.mean > second.mean)


def test_the_verdict_takes_its_winner_from_the_comparison(compared):
    verdict, study = compared
    best = max(verdict.comparison.options, key=lambda row: study.record(f"{row.trial}-compare-0").score)
    assert verdict.winner.trial == best.trial and not study.records["confirm"]
    assert verdict.test_opened_for == 3, "the two options' best, of which one won, and the baseline"
    assert study.verdict.comparison == verdict.comparison, "verdict.yaml holds it"
    assert not list((study.path / "trials").glob("*-compare-*/*.safetensors"))


@pytest.mark.slow
def test_a_comparison_is_trained_once(compared, table, tmp_path):
    """Deciding and resuming use its trainings, though their weights are deleted once they are measured."""
    verdict, study = compared
    assert len(study.records["compare"]) == 2 * 5
    assert verdict.trainings == sum(len(study.records[stage]) for stage in ("search", "compare", "final"))
    overrides = ("study.compare=optimizer", "study.trials=8", *FAST)
    again = [replayed(table, tmp_path, *overrides) for _ in range(2)]
    assert again[0][0].comparison == again[1][0].comparison and again[0][0].trainings == again[1][0].trainings
    assert len(open_stored("replay", str(tmp_path)).records["compare"]) == 2 * 5
    assert not any(isinstance(order, Train) for order in again[1][1].orders), "the second session trains nothing"


@pytest.mark.slow
def test_a_training_whose_weights_are_gone_before_it_was_measured_is_trained_again(table, tmp_path):
    replayed(table, tmp_path, "study.compare=optimizer", "study.trials=8", *FAST)
    journal = tmp_path / "replay" / "journal.log"
    lines = journal.read_text().splitlines(keepends=True)
    measured = next(place for place, line in enumerate(lines) if "-compare-0-test" in line)
    journal.write_text("".join(lines[:measured]))  # the session died here
    verdict, executor = replayed(table, tmp_path, "study.compare=optimizer", "study.trials=8", *FAST)
    trained = [order.key for order in executor.orders if isinstance(order, Train)]
    assert sum("-compare-" in key for key in trained) == 2 * 5 and verdict.comparison.part == "test"


def test_without_a_test_part_no_weights_are_stored(table, tmp_path, monkeypatch):
    measured = Replay._measured
    monkeypatch.setattr(Replay, "_measured", lambda self, order: replace(measured(self, order), tested={}))
    verdict, executor = replayed(table, tmp_path, "study.compare=optimizer", "study.trials=8", *FAST)
    orders = [order for order in executor.orders if "-compare-" in order.key]
    assert verdict.comparison.part == "validation" and len(orders) == 2 * 5 and not any(order.keep for order in orders)


def test_the_turns_before_the_first_gap_are_compared(compared, tmp_path):
    """Trial 4 was cut while others went on: options are compared on their first two trials, which have the same seeds."""
    whole = {record.key: record for record in compared[1].records["search"]}
    journal = Journal(tmp_path / "journal.log", "replay")
    for key in ("3", "0", "1", "2", "6", "5", "7"):
        journal.add(SEARCH, whole[key])
    study = compares("optimizer", 33, *Table.load("digits_mlp").grid.config)
    study.journal = journal
    trials = trials_of(study)
    journal.close()
    assert {option: [r.key for r in records] for option, records in trials.items()} == {"adamw": ["0", "2"], "momentum": ["1", "3"]}
    assert len({record.seed for records in trials.values() for record in records}) == 2


@pytest.mark.slow
def test_a_cut_comparison_equals_an_uncut_one(compared, table, tmp_path):
    for trials in (13, 33):
        replayed(table, tmp_path, "study.compare=optimizer", f"study.trials={trials}", *FAST)
    study = open_stored("replay", str(tmp_path))
    verdict, whole = compared
    assert searched(study) == searched(whole)
    assert study.verdict.comparison == verdict.comparison


@pytest.mark.slow
def test_four_workers_that_lose_trainings(table, tmp_path):
    """A training that the machine ends in all its attempts is trained again when the study resumes."""
    overrides = ("study.compare=optimizer", "study.trials=32", "study.patience=2", "executor.retries=2", *FAST)
    options = {"workers": 4, "speeds": (1, 3), "failures": 0.35}
    verdict, lost = None, list[str]()
    while verdict is None:
        try:
            verdict, _ = replayed(table, tmp_path, *overrides, **options)
        except NotConcluded as error:
            assert str(error) not in lost, "each attempt gets further"
            lost.append(str(error))
    assert re.match(r"training \d+-compare-\d has not ended \(lost: the worker is gone\); the same command trains it", lost[0])
    assert [row.trials for row in verdict.comparison.options] == [16, 16], "patience is for the best of all, not for each option"
    assert verdict.comparison.seeds == 5


def test_techniques_that_are_on_or_off_are_compared_with_none(table, tmp_path):
    verdict, _ = replayed(table, tmp_path, "study.compare=augmentation", "study.trials=8", *FAST)
    assert [row.option for row in verdict.comparison.options] == ["none", "mixup"]
    names = [r.point.names()["augmentation"] for r in open_stored("replay", str(tmp_path)).records["search"]]
    assert names == ["none", "mixup"] * 4


def test_another_comparison_is_another_study(table, tmp_path):
    replayed(table, tmp_path, "study.compare=optimizer", "study.trials=8", *FAST)
    with pytest.raises(BadInput, match=r"replay was begun with study\.compare=optimizer, now schedule"):
        replayed(table, tmp_path, "study.compare=schedule", "study.trials=16", *FAST)


# what is refused


@pytest.mark.parametrize(
    ("overrides", "line"),
    [
        (["study.compare=optimizr"], r"study\.compare=optimizr: no slot of this name\. Did you mean 'optimizer'\?"),
        (["study.compare=model"], r"study\.compare=model: model=mlp leaves nothing to compare; give two options or more"),
        (["study.compare=data"], r"study\.compare=data: data=digits leaves nothing to compare"),
        (["study.compare=augmentation", "augmentation=none"], r"augmentation=none leaves nothing to compare"),
        (["study.compare=augmentation", "augmentation=[mixup]"], r"augmentation=mixup leaves nothing to compare"),
        (
            ["study.compare=optimizer", "optimizer=adamw,sgd,lion", "study.trials=11"],
            r"study\.compare=optimizer: 3 of 11 trials each for 3 options are too few to tune them; give study\.trials=12 or more",
        ),
        (["study.compare=augmentation", "augmentation=mixup,cutmix", "study.trials=11"], r"3 of 11 trials each for 3 options"),
        (["study.compare=optimizer", "study.start=other"], r"every option begins at its defaults; leave study\.start=other out"),
        (["study.compare=optimizer", "objective=[val_accuracy,size_mb]"], r"compared in one objective; give one of val_accuracy, size_mb"),
        (["study.compare=optimizer", "study.memory=true"], r"leave study\.memory=true out"),
        (["study.compare=optimizer", "compression=half"], r"give compression=none, and compress the best of it in another study"),
        (["study.compare=compression", "compression=half"], r"what is compared is the training"),
    ],
    ids=str,
)
def test_a_comparison_that_is_refused(overrides, line):
    with pytest.raises(BadInput, match=line) as caught:
        compose(["data=digits", *overrides])
    assert len(caught.value.problems) == 1


def test_a_comparison_that_fits_is_taken():
    assert (
        compose(["data=digits", "optimizer=adamw,sgd,lion", "study.compare=optimizer", "study.trials=12"])["study"]["compare"]
        == "optimizer"
    )


def test_options_with_fewer_recipes_than_trials_are_refused():
    space = Space.of(compose(["data=digits", "optimizer=sgd,adamw", "optimizer.sgd.lr=0.1,0.2,0.3", "optimizer.sgd.weight_decay=0",
                              "schedule=constant", "augmentation=none", "regularizer=none", "batches.size=32", "initializer=keep",
                              "loss=mse", "model.mlp.width=8", "model.mlp.depth=1",
                              "model.mlp.connection=plain", "device=cpu", "device.cpu.precision=32"]))  # fmt: skip
    few, many = arms_of(space, "optimizer")
    check_size(many, "optimizer", 100, 2)
    check_size(few, "optimizer", 3, 2)
    with pytest.raises(BadInput, match=r"study\.compare=optimizer: sgd leaves 3 recipes, fewer than its 4 trials: .* or study\.trials=6"):
        check_size(few, "optimizer", 4, 2)


def test_an_optimizer_that_takes_the_schedule_over_is_not_in_a_comparison_of_schedules():
    space = Space.of(compose(["data=digits", "optimizer=adamw,schedule_free_adamw", "schedule=constant,cosine"]))
    assert [list(arm.space.options["optimizer"]) for arm in arms_of(space, "schedule")] == [["adamw"], ["adamw"]]
    space = Space.of(compose(["data=digits", "optimizer=schedule_free_adamw", "schedule=constant,cosine"]))
    with pytest.raises(BadInput, match="optimizer=schedule_free_adamw cannot be used here: it takes over the schedule, which is compared"):
        arms_of(space, "schedule")


def compares(slot, trials, *overrides, baseline=None):
    space = Space.of(compose(["data=digits", *overrides]))
    return SimpleNamespace(settings={"compare": slot, "trials": trials}, space=space, baseline=baseline)


def test_a_baseline_with_another_option():
    """The first option is that of the baseline."""
    baseline = Space.of(compose(["data=digits", "optimizer=lion"])).baseline()
    assert [arm.name for arm in turns_of(compares("optimizer", 8, "optimizer=sgd,lion", baseline=baseline)).arms] == ["lion", "sgd"]
    with pytest.raises(BadInput, match=r"study\.compare=optimizer: the baseline has lion; name it among the options, optimizer=lion,…"):
        turns_of(compares("optimizer", 8, "optimizer=sgd,adamw", baseline=baseline))


def test_options_that_drop_out_leave_too_few():
    study = compares("optimizer", 8, "optimizer=sgd,lion")
    dropped = SimpleNamespace(**{**vars(study), "space": study.space.without("optimizer", "lion", "it fails")})
    with pytest.raises(BadInput, match=r"study\.compare=optimizer: only sgd is left; optimizer/lion was left out: it fails"):
        turns_of(dropped)
    with pytest.raises(BadInput, match=r"study\.compare=optimizer: 2 of 5 trials each for 2 options are too few"):
        turns_of(compares("optimizer", 5, "optimizer=sgd,lion"))


# turns


def test_a_strategy_sees_its_own_trials_as_if_there_were_no_others():
    arms = arms_of(Space.of(compose(["data=digits", "optimizer=adamw,sgd,lion"])), "optimizer")
    turns = Turns(arms)
    strategy = turns.strategy(AtRandom)
    values = {"optimizer": "sgd", "optimizer.sgd.lr": 0.1}
    history = [Observation(number, "running", values) for number in range(8)]
    assert strategy.seen(history, 1) == [Observation(number, "running", {"optimizer.sgd.lr": 0.1}) for number in range(3)]
    assert strategy.propose(history, 7, seed=5) == AtRandom(arms[1].space).propose([], 2, seed=5) | {"optimizer": "sgd"}
    assert (turns.total(60), turns.total(62), turns.total(2)) == (60, 60, 0)


def test_what_a_recipe_chooses():
    tree = compose(["data=digits", "optimizer=sgd", "augmentation=translate,mixup,noise", "augmentation.noise.use=true"])
    space = Space.of(tree)
    assert option_of(space.baseline(), space, "augmentation") == "none"
    assert option_of(space.baseline(), space, "optimizer") == "sgd"
    assert [(arm.name, arm.space.baseline().names()["augmentation"]) for arm in arms_of(space, "augmentation")] == [
        ("none", "noise"), ("translate", "translate,noise"), ("mixup", "mixup,noise")
    ]  # fmt: skip


# statistics


def candidate(key, scores, curves=(), tests=(), units=0):
    def record(score, curve=(), resamples=()):
        columns = {"epoch": [*range(1, len(curve) + 1)], "val_accuracy": [*curve]} if curve else {}
        return Record(key, "compare", {}, 0, "complete", score, {"seconds": 4.0}, columns, [*resamples], units, len(curve), 1.0, 1.0)

    padded = [*curves] or [()] * len(scores)
    return Candidate(key, None, [record(*row) for row in zip(scores, padded, strict=True)], [record(s, (), r) for s, r in tests])


def test_differences_are_difference():
    ours, theirs = [0.12, 0.53, 0.91, 0.32, 0.74], [0.1, 0.5, 0.9, 0.3, 0.73]
    first, other = candidate("0", theirs), candidate("1", ours)
    gain, (low, high), p = difference(first, other, "validation", ACCURACY, UNBOUNDED)
    known = ttest_rel(ours, theirs)
    interval = known.confidence_interval(0.95)
    assert (gain, p, low, high) == pytest.approx((0.018, known.pvalue, interval.low, interval.high))
    assert difference(first, other, "validation", Objective("val_loss", "minimize"), UNBOUNDED)[0] == pytest.approx(-0.018)


def test_equal_differences_are_weighed_by_what_the_seeds_do_to_each_side():
    """As they tell no variance of their own."""
    first, other = ([score, score + 0.25, score, score + 0.25, score] for score in (0.25, 0.5))
    gain, found, p = difference(candidate("0", first), candidate("1", other), "validation", ACCURACY, UNBOUNDED)
    welch = stats.ttest_ind(other, first, equal_var=False)
    assert (gain, found, p) == (0.25, pytest.approx(tuple(welch.confidence_interval(0.95))), pytest.approx(welch.pvalue))


def test_scores_that_do_not_vary_tell_no_variance():
    first = candidate("0", [0.25, 0.5, 0.25, 0.5, 0.25])
    assert difference(first, candidate("1", [0.25, 0.5, 0.25, 0.5, 0.25]), "validation", ACCURACY, UNBOUNDED) == (0.0, (0.0, 0.0), 1.0)
    assert difference(candidate("0", [0.5]), candidate("1", [0.75]), "validation", ACCURACY, UNBOUNDED) == (0.25, (-inf, inf), None)
    assert interval_of(candidate("0", [0.5]), "validation", UNBOUNDED) == (-inf, inf)
    assert difference(candidate("0", [5, 5]), candidate("1", [4, 4]), "validation", Objective("parameters", "minimize"), UNBOUNDED) == (
        1,
        (1, 1),
        None,
    )


def test_a_model_that_is_the_same_on_every_seed_has_no_p():
    """A fixed seed in the model: resamples of the test part vary, but tell nothing of other seeds."""
    first, other = (
        candidate(str(i), [0.5] * 5, tests=[(score, (score - 0.01, score, score + 0.01))] * 5, units=1000)
        for i, score in enumerate((0.8, 0.9))
    )
    gain = pytest.approx(0.1)
    assert difference(first, other, "test", ACCURACY, UNBOUNDED) == (gain, (-inf, inf), None)
    assert weigh(first, other, "test", ACCURACY) == (gain, (-inf, inf))
    assert interval_of(first, "test", UNBOUNDED) == (-inf, inf)


def test_a_size_that_differs_from_seed_to_seed_is_not_exact():
    size = Objective("size_mb", "minimize")
    theirs, ours = [5.0, 5.5, 6.0, 5.2, 5.7], [4.0, 4.1, 4.3, 4.4, 4.2]
    gain, (low, high), p = difference(candidate("0", theirs), candidate("1", ours), "validation", size, UNBOUNDED)
    known = ttest_rel(theirs, ours)
    assert (gain, p) == pytest.approx((known.statistic * (high - low) / 2 / stats.t.ppf(0.975, 4), known.pvalue)) and low < gain < high


def test_the_finite_test_part_widens_the_intervals():
    tests = [[(0.5, (0.4, 0.6, 0.5)), (0.6, (0.5, 0.7, 0.6))], [(0.6, (0.4, 0.7, 0.7)), (0.65, (0.5, 0.75, 0.7))]]
    first, other = (candidate(str(i), [0, 0], tests=rows, units=50) for i, rows in enumerate(tests))
    bare = [replace(c, tests=[replace(t, resamples=[]) for t in c.tests]) for c in (first, other)]
    (_, wide, p), (_, narrow, smaller) = (
        difference(first, other, "test", ACCURACY, UNBOUNDED),
        difference(*bare, "test", ACCURACY, UNBOUNDED),
    )
    assert p != smaller and wide != narrow
    assert interval_of(first, "test", UNBOUNDED) != interval_of(bare[0], "test", UNBOUNDED)


def test_holm():
    assert holm({"a": 0.01, "b": 0.04, "c": 0.03}) == pytest.approx({"a": 0.03, "c": 0.06, "b": 0.06})
    assert holm({"a": 0.9, "b": 0.8}) == {"b": 1.0, "a": 1.0} and holm({}) == {}


def test_when_an_option_is_as_good_as_the_first():
    first = candidate("0", [0.8, 0.8], [(0.5, 0.7, 0.8, 0.8), (0.6, 0.7, 0.8, 0.8)])
    faster = candidate("1", [0.9, 0.9], [(0.7, 0.9, 0.9, 0.9), (0.7, 0.7, 0.9, 0.9)])
    goal = Goal((ACCURACY,))
    assert time_to_match(faster, first, goal) == (2, 2.0), "the mean of both seeds at epoch 2 of 4, of 4 seconds"
    assert time_to_match(first, first, goal) == (3, 3.0)
    assert time_to_match(first, faster, goal) == (None, None)
    assert time_to_match(candidate("0", [0.5]), candidate("0", [0.5]), goal) == (None, None), "nothing is measured in the epochs"


@pytest.mark.parametrize("best_epoch", [False, True])
def test_the_first_option_is_as_good_as_itself_at_its_end_at_the_latest(best_epoch):
    """However the mean of its scores is rounded, and where its best epoch counts and lies elsewhere on each seed."""
    random = Random(1)
    for _ in range(200):
        curves = [[0.0, random.random() / 2, 0.5 + random.random() / 2] for _ in range(5)]
        peaks = [curve[::-1] if best_epoch and place % 2 else curve for place, curve in enumerate(curves)]
        first = candidate("0", [max(curve) for curve in curves], peaks)
        assert time_to_match(first, first, Goal((ACCURACY,), best_epoch=best_epoch))[0] == 3


def test_intervals_stay_within_the_range_of_the_metric():
    first, other = candidate("0", [0.8, 1.0, 1.0]), candidate("1", [1.0, 1.0, 0.98])
    assert interval_of(first, "validation", UNBOUNDED)[1] > 1.0 and interval_of(first, "validation", (0.0, 1.0))[1] == 1.0
    gain, (_, free), p = difference(first, other, "validation", ACCURACY, UNBOUNDED)
    assert free > 1 / 15 and difference(first, other, "validation", ACCURACY, (0.0, 1.0)) == (
        gain, (pytest.approx(2 * gain - free), pytest.approx(1 / 15)), p
    )  # fmt: skip
    percent = candidate("0", [80.0, 100.0, 100.0])
    assert interval_of(percent, "validation", (0.0, 1.0)) == interval_of(percent, "validation", UNBOUNDED), (
        "another metric than its name says"
    )


def test_the_best_so_far():
    base = candidate("0", [0.5]).records[0]
    records = [replace(base, state=state, score=score) for state, score in
               [("failed", None), ("complete", 0.5), ("stopped", 0.9), ("complete", 0.4), ("complete", 0.6)]]  # fmt: skip
    assert best_so_far(records, Goal((ACCURACY,))) == [None, 0.5, 0.5, 0.5, 0.6]
    assert best_so_far(records, Goal((Objective("val_loss", "minimize"),))) == [None, 0.5, 0.5, 0.4, 0.4]


def test_an_option_is_neither_charged_for_the_machine_nor_praised_for_what_misses_a_bound():
    small = Goal((ACCURACY,), (Bound(Objective("size_mb", "minimize"), 1.0),))
    records = [
        record("0", 0.9, metrics={"size_mb": 2.0}),
        record("2", 0.5, metrics={"size_mb": 1.0}),
        *(record(str(place), None, "failed", reason=reason) for place, reason in ((4, "nonfinite"), (6, "preempted"), (8, "user"))),
    ]
    row = result_of("adamw", records, None, None, "test", small, UNBOUNDED)
    assert (row.trials, row.failed, row.best) == (5, 1, [None, 0.5, 0.5, 0.5, 0.5])


# reports

SAID = Comparison(
    "optimizer", "val_accuracy", "maximize", "test", 5,
    (
        OptionResult("adamw", 8, 0, [0.9] * 8, "4", "adamw cosine", {}, [0.9, 0.92], 0.91, (0.9, 0.92), 7, 1.5),
        OptionResult(
            "my_opt", 8, 2, [None, 0.8, *[0.95] * 6], "7", "my_opt", {}, [0.95, 0.95], 0.95, (0.94, 0.96), 1, 0.25, 0.04, (0.03, 0.05), 4e-4
        ),
        OptionResult("sgd", 8, 0, [0.8] * 8, "5", "sgd", {}, [0.9, 0.91], 0.905, (0.9, 0.91), None, None, -0.005, (-0.02, 0.01), 0.3),
        OptionResult("gd", 8, 8, [None] * 8),
    ),
)  # fmt: skip


def test_the_rows_of_the_table():
    assert comparison_rows(SAID) == [
        (
            "optimizer",
            "val_accuracy",
            "difference to adamw",
            "p (Holm)",
            "as good as adamw",
            "in a time of",
            "failed trials",
            "best trial",
        ),
        ("adamw", "0.9100 ± 0.0100", "–", "–", "after 7 epochs", "1.50 s", "0 of 8", "4"),
        ("my_opt", "0.9500 ± 0.0100", "+0.0400 ± 0.0100", "<0.001", "after 1 epoch", "0.25 s", "2 of 8", "7"),
        ("sgd", "0.9050 ± 0.0050", "-0.0050 ± 0.0150", "0.300", "never", "–", "0 of 8", "5"),
        ("gd", "no trial could be confirmed", "–", "–", "–", "–", "8 of 8", "–"),
    ]
    assert list(comparison_lines(SAID)) == [
        "Significantly better than adamw: my_opt.",
        "No difference to adamw could be shown: sgd.",
        "Each interval is for itself; p is corrected for the 2 comparisons, and tells what is significant.",
        "More seeds than 5 (study.seeds) narrow the intervals; more trials (study.trials) tune each option better.",
    ]
    assert list(comparison_lines(replace(SAID, seeds=1, options=SAID.options[:1]))) == [
        "A single seed shows no variance; give a longer study.time."
    ]


def test_nothing_is_never_as_good_as_what_no_epoch_measures():
    options = [replace(row, epochs=None, seconds=None) for row in SAID.options[:2]]
    assert [row[4] for row in comparison_rows(replace(SAID, options=options))[1:]] == ["–", "–"]


def test_an_unknown_interval_is_left_out(tmp_path):
    single = OptionResult("adamw", 8, 0, [0.9] * 8, "4", "adamw", {}, [0.9], 0.9, (-inf, inf), 7, 1.5)
    (row,) = csv.DictReader(StringIO(as_csv(replace(SAID, seeds=1, options=(single,)))))
    assert (row["mean"], row["low"], row["high"]) == ("0.9", "", "")
    assert comparison_rows(replace(SAID, options=(single,)))[1][1] == "0.9000"


def test_a_comparison_from_python(compared):
    verdict, study = compared
    searched = Searched(**{f.name: getattr(verdict, f.name) for f in fields(verdict)})
    table = searched.options()
    assert list(table.index) == ["adamw", "momentum"] and table.loc["momentum", "difference"] == verdict.comparison.options[1].difference
    assert "difference to adamw" in searched._repr_html_()
    assert "Comparison of optimizer in val_accuracy on the test split" in " ".join(str(line) for line in study_lines(study))
    with pytest.raises(BadInput, match=r"no options are compared; give study\.compare=SLOT"):
        replace(searched, comparison=None).options()


def test_the_files_of_a_comparison(compared):
    verdict, study = compared
    texts = [(study.path / f"comparison.{suffix}").read_text() for suffix in ("md", "csv", "tex")]
    assert texts == [f(verdict.comparison) for f in (as_markdown_text, as_csv, as_latex)]
    rows = list(csv.DictReader(StringIO(as_csv(SAID))))
    assert [row["option"] for row in rows] == ["adamw", "my_opt", "sgd", "gd"] and rows[1]["p_holm"] == "0.0004"
    assert (rows[1]["seed_1"], rows[1]["best_of_1"], rows[1]["best_of_8"]) == ("0.95", "", "0.95")
    latex = as_latex(SAID)
    assert r"my\_opt & 0.9500 $\pm$ 0.0100 & +0.0400 $\pm$ 0.0100 & $<$0.001" in latex and "95 % intervals" in latex.splitlines()[0]
    assert len({line.count("&") for line in latex.splitlines() if "&" in line}) == 1
    assert (
        len({line.count("|") for line in as_markdown_text(SAID).splitlines() if re.match(r"\| (optimizer \| val|my_opt \| 0\.95)", line)})
        == 1
    )


def test_a_comparison_that_was_concluded_at_its_first_trial():
    begun = replace(SAID, seeds=0, options=(OptionResult("adamw", 0, 0, []), OptionResult("sgd", 0, 0, [])))
    assert tuning_rows(begun) == [("optimizer",), ("adamw",), ("sgd",)] and "no trial could be confirmed" in as_markdown_text(begun)
    assert tuning_rows(SAID)[0][1:] == ("1", "2", "4", "8")


def test_an_option_that_misses_a_bound_comes_after_those_that_keep_it():
    """As in the race of a search without a comparison."""
    goal = Goal((ACCURACY,), (Bound(Objective("latency_ms", "minimize"), 2.0),))
    ends = {"0": (0.99, 1.0), "1": (0.9, 3.0), "2": (0.7, 1.0), "3": (0.8, 1.0)}
    options = [Candidate(key, baseline(), [record(key, score, metrics={"latency_ms": latency})]) for key, (score, latency) in ends.items()]
    assert [c.key for c in ranked(SimpleNamespace(goal=goal), options[1:])] == ["3", "2", "1"]


def test_a_baseline_that_no_option_is_ahead_of_is_compared_with_none(table, tmp_path):
    """Another option's best, far behind it, is no winner; and it is the best of its own option in the table of the comparison."""
    space, best = table.grid.space, list(table.rows)[int(np.nanargmin(table.error[:, :, -1].mean(axis=1)))]
    (tmp_path / "best.yaml").write_text(space.recipe(dict(best)).yaml())
    verdict, _ = replayed(table, tmp_path, f"baseline={tmp_path}/best.yaml", "study.compare=optimizer", "study.trials=8", *FAST)
    assert verdict.comparison.options[0].trial == "0" and verdict.comparison.options[1].difference < 0
    line = "There is nothing to compare the baseline with: no option of optimizer has a recipe that is ahead of it on fresh seeds."
    assert conclusion(verdict) == line
