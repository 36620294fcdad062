"""A verdict as a sentence, a table on the terminal, and a page."""

from dataclasses import MISSING, fields, replace
from math import inf
from pathlib import Path

import pytest
import yaml

from autoopt.analysis.candidate import mean_metrics
from autoopt.recipe import Recipe
from autoopt.records.explanation import Ablation, Edge, Effect, Importance, Rival, Simpler
from autoopt.records.verdict import Limit, Point, Side, Verdict, read_verdict
from autoopt.report.differences import recipe_differences
from autoopt.report.notebook import verdict_html
from autoopt.report.numbers import duration, number, with_interval
from autoopt.report.reasons import ablation_rows, ablation_title, reasons
from autoopt.report.sentence import compared, conclusion
from autoopt.report.sides import side_rows
from autoopt.report.sparkline import sparkline
from autoopt.report.terminal import closing, console, pareto, table_of_rows
from autoopt.slots import SLOTS
from autoopt.study.publish import conclusion_of

BARE = {"batches": {"size": 64, "sampler": None}, "split": {"seed": 0}, **{slot: {} for slot in SLOTS}}
COSTS = {"latency_ms": 0.5, "size_mb": 1.25, "parameters": 12345.0}


def side(trial, score, title="adamw cosine", seeds=3, **metrics):
    recipe = {**BARE, "optimizer": {title.partition(" ")[0]: {}}}
    return Side(trial, title, score, [score] * seeds, score - 0.01, metrics, recipe, f"{trial}-final-0")


def verdict(gain=0.3, low=0.2, high=0.4, **fields):
    plain = {
        "study": "s",
        "objective": "val_accuracy",
        "direction": "maximize",
        "part": "test",
        "baseline": side("0", 0.5),
        "winner": side("7", 0.8, "sgd cosine"),
        "counts": {"complete": 5, "stopped": 3, "failed": 2},
        "reasons": {"lost": 2},
        "trainings": 12,
        "seconds": 61.0,
        "elapsed": 70.0,
        "dropped": {},
        "quarantined": (),
        "front": (),
        "test_opened_for": 2,
        "seeds_planned": 0,
        "sampled": "examples",
        "seeds_needed": 0,
        "test_needed": 0.0,
        "alone": "",
        "folder": "autoopt-runs/s",
    }
    return Verdict(gain=gain, interval=(low, high), **{**plain, **fields})


UNKNOWN = (-inf, inf)
LIMIT = Limit("latency_ms at most 2", 2.414, 1.5, ("baseline",))
ABLATION = Ablation(
    2,
    (
        Effect(("schedule cosine",), None, UNKNOWN, None, "ablation-1", "nonfinite: nan"),
        Effect(("optimizer sgd",), 0.1, (0.08, 0.12), 0.084, "ablation-2"),
        Effect(("augmentation mixup", "batches.size"), 0.001, (-0.019, 0.021), -0.001, "ablation-3"),
        Effect(("cnn (width)",), None, UNKNOWN, None, "ablation-4"),
    ),
    (
        Effect(("schedule cosine", "optimizer sgd"), 0.2, (0.1, 0.3), 0.1, "0"),
        Effect(("augmentation mixup", "batches.size", "cnn (width)"), 0.1, UNKNOWN, 0.1, "ablation-5"),
    ),
    Simpler(BARE, -0.001, (-0.021, 0.019), -0.12),
)
IMPORTANCE = Importance({"optimizer.sgd.lr": 0.5, "schedule": 0.3, "optimizer.adamw.lr": 0.2}, 4, 60)
EDGE = Edge("optimizer.sgd.lr", 0.0297, 0.0001, 0.03, "optimizer.sgd.lr=interval(0.0001, 0.173)")
GAIN = "gain in val_accuracy on the test split +0.3000, 95 % interval"
UNSHOWN = f"No difference between trial 7 and the baseline could be shown, since the interval includes 0: {GAIN} -0.1000 to +0.4000."
TO_SHOW = "to show a difference of this size."
SENTENCES = [
    (verdict(), f"Trial 7 is better than the baseline: {GAIN} +0.2000 to +0.4000."),
    (
        verdict(low=-0.1, seeds_needed=12, test_needed=1.0),
        f"{UNSHOWN} It would take about 12 seeds (study.seeds=12) {TO_SHOW}",
    ),
    (verdict(low=-0.1, test_needed=4.0), f"{UNSHOWN} It would take a test split about 4 times as large {TO_SHOW}"),
    (verdict(low=-0.1, test_needed=1.54), f"{UNSHOWN} It would take a test split about 1.5 times as large {TO_SHOW}"),
    (
        verdict(low=-0.1, seeds_needed=9, test_needed=3.0),
        f"{UNSHOWN} It would take about 9 seeds (study.seeds=9) and a test split about 3 times as large {TO_SHOW}",
    ),
    (verdict(low=-0.1), f"{UNSHOWN} It is so small that even a hundred times as many seeds and test examples would not show it."),
    (
        verdict(-0.1, -0.3, 0.1, seeds_needed=12, test_needed=1.0),
        "No difference between trial 7 and the baseline could be shown, since the interval includes 0: "
        "gain in val_accuracy on the test split -0.1000, 95 % interval -0.3000 to +0.1000. "
        "As the baseline was ahead, more trials (study.trials) may find a gain; more seeds would not show one.",
    ),
    (
        verdict(0.0, 0.0, 0.0),
        "No difference between trial 7 and the baseline could be shown, since the interval includes 0: "
        "gain in val_accuracy on the test split +0.0000, the same for every seed.",
    ),
    (
        verdict(-0.3, -0.4, -0.2),
        "The baseline is better than trial 7, which was better only on validation: "
        "gain in val_accuracy on the test split -0.3000, 95 % interval -0.4000 to -0.2000.",
    ),
    (
        verdict(-0.3, -0.4, -0.2, winner=side("7", 0.2)),
        "The baseline is better than trial 7: gain in val_accuracy on the test split -0.3000, 95 % interval -0.4000 to -0.2000.",
    ),
    (
        verdict(part="validation", untested="there is no test split", sampled=""),
        "Trial 7 looks better than the baseline, but only on the split that chose it: "
        "gain in val_accuracy on the validation split +0.3000, 95 % interval +0.2000 to +0.4000 over seeds alone (there is no test split).",
    ),
    (
        verdict(2.0, 2.0, 2.0, objective="size_mb", direction="minimize"),
        "Trial 7 is better than the baseline: gain in size_mb on the test split +2.0000, the same for every seed.",
    ),
    (
        verdict(2.0, 1.0, 3.0, objective="seconds", direction="minimize", part="training"),
        "Trial 7 is better than the baseline: gain in seconds of the trainings +2.0000, 95 % interval +1.0000 to +3.0000.",
    ),
    (
        verdict(0.3, -inf, inf, baseline=side("0", 0.5, seeds=1)),
        "It is unknown whether trial 7 is better than the baseline: "
        "gain in val_accuracy on the test split +0.3000; set study.seeds=3 or more.",
    ),
    (
        verdict(0.3, -inf, inf, baseline=side("0", 0.5, seeds=1), winner=side("7", 0.8, seeds=1), seeds_planned=3),
        "It is unknown whether trial 7 is better than the baseline: gain in val_accuracy on the test split +0.3000 "
        "(the time ended after 1 of 3 seeds); set a longer study.time.",
    ),
    (
        verdict(0.3, -inf, inf),
        "It is unknown whether trial 7 is better than the baseline: gain in val_accuracy on the test split +0.3000; "
        "every seed gave the same score: remove the fixed seed from the model or the data.",
    ),
    (
        verdict(0.3, -inf, inf, baseline=side("0", 0.5, seeds=2), winner=side("7", 0.8, seeds=2)),
        "It is unknown whether trial 7 is better than the baseline: gain in val_accuracy on the test split +0.3000; "
        "every seed gave the same score: remove the fixed seed from the model or the data.",
    ),
    (verdict(sampled="batches"), f"Trial 7 is better than the baseline: {GAIN} +0.2000 to +0.4000 over seeds and test batches."),
    (
        verdict(sampled=""),
        f"Trial 7 is better than the baseline: {GAIN} +0.2000 to +0.4000 over seeds alone, without the size of the test split "
        "(val_accuracy is not logged as a mean over several batches).",
    ),
    (
        verdict(part="validation", untested="the test split cannot be measured", sampled=""),
        "Trial 7 looks better than the baseline, but only on the split that chose it: gain in val_accuracy on the validation split "
        "+0.3000, 95 % interval +0.2000 to +0.4000 over seeds alone (the test split cannot be measured).",
    ),
    (
        verdict(0.3, 0.2, 0.4, objective="latency_ms", direction="minimize", sampled=""),
        "Trial 7 is better than the baseline: gain in latency_ms on the test split +0.3000, 95 % interval +0.2000 to +0.4000.",
    ),
    (
        verdict(low=-0.1, part="validation", sampled=""),
        f"{UNSHOWN.replace('test', 'validation').removesuffix('.')} over seeds alone. "
        "It is so small that even a hundred times as many seeds would not show it.",
    ),
    (
        verdict(0.0, 0.0, 0.0, winner=side("0", 0.5), alone="only the baseline was tried, because study.trials=1"),
        "There is nothing to compare the baseline with: only the baseline was tried, because study.trials=1.",
    ),
    (
        verdict(gain=-0.1, low=-0.2, high=-0.05, limits=(LIMIT,)),
        "Trial 7 keeps the bounds; the baseline misses latency_ms at most 2 (2.41): gain in val_accuracy on the test split -0.1000, "
        "95 % interval -0.2000 to -0.0500.",
    ),
    (
        verdict(limits=(LIMIT, replace(LIMIT, winner=None, missed=("winner",)))),
        f"Trial 7 missed latency_ms at most 2 (not measured) in the last comparison: {GAIN} +0.2000 to +0.4000.",
    ),
    (verdict(seeds_planned=5), f"Trial 7 is better than the baseline: {GAIN} +0.2000 to +0.4000 (the time ended after 3 of 5 seeds)."),
]


@pytest.mark.parametrize(("given", "sentence"), SENTENCES)
def test_the_conclusion(given, sentence):
    assert conclusion(given) == sentence


@pytest.mark.parametrize(("given", "_"), SENTENCES)
def test_it_comes_back_from_yaml(given, _):
    given = replace(given, importance=IMPORTANCE, edges=(EDGE,), ablation=ABLATION, searched=0.75, rival=Rival("3", 0.014, 0.64))
    given = replace(
        given,
        front=(Point("compress-1", "half", {"val_accuracy": 0.5, "latency_ms": 1.0}),),
        limits=(LIMIT,),
        dropped={"a/b": "no"},
        quarantined=("a/b",),
    )
    tree = yaml.safe_load(given.yaml(conclusion="x"))
    assert read_verdict(tree) == given
    assert next(iter(tree)) == "conclusion", "people read it first"


def test_a_verdict_of_an_earlier_version_is_read():
    tree = yaml.safe_load(verdict().yaml())
    later = [f.name for f in fields(Verdict) if f.default is not MISSING or f.default_factory is not MISSING]
    assert read_verdict({key: value for key, value in tree.items() if key not in later}) == verdict()
    assert read_verdict({**tree, "rival": {"trial": "3", "chance": 0.84}}).rival is None


@pytest.mark.parametrize(("opened", "why"), [(0, "there is no test split"), (2, "the test split does not measure it")])
def test_a_verdict_of_an_earlier_version_says_why_the_validation_part_compares(opened, why):
    tree = yaml.safe_load(verdict(part="validation", test_opened_for=opened).yaml())
    del tree["untested"]
    assert f"({why})" in conclusion(read_verdict(tree))


def test_better_is_said_of_a_part_that_did_not_choose_the_winner():
    assert verdict().better and verdict(part="training").better
    assert not verdict(part="validation").better and not verdict(low=-0.1).better and not verdict(winner=side("0", 0.5)).better


@pytest.mark.parametrize(
    ("low", "missed", "best", "better"),
    [
        (0.1, (), "winner", True),
        (0.1, ("winner",), "baseline", False),
        (0.1, ("baseline",), "winner", True),
        (0.1, ("baseline", "winner"), "winner", False),
        (-0.1, ("baseline",), "winner", False),
        (-0.1, ("baseline", "winner"), "baseline", False),
    ],
)
def test_who_alone_keeps_the_bounds_is_best(low, missed, best, better):
    given = verdict(low=low, limits=(LIMIT if missed == ("baseline",) else replace(LIMIT, missed=missed),))
    assert given.best is getattr(given, best) and given.better is better


def test_a_bound_is_told_with_what_both_sides_have():
    def told(**fields):
        return list(reasons(verdict(limits=(LIMIT,), **fields)))

    assert told() == ["Bound: latency_ms at most 2; the winner has 1.5, the baseline 2.41."]
    assert told(winner=side("0", 0.5), alone="it was alone") == ["Bound: latency_ms at most 2; the baseline has 2.41."]
    (line,) = reasons(verdict(low=-0.1, limits=(replace(LIMIT, missed=()),)))
    assert line == "Bound: latency_ms at most 2; the candidate has 1.5, the baseline 2.41."


def test_an_interval_in_a_table():
    assert with_interval(0.25, (0.125, 0.375), sign="+") == "+0.2500 ± 0.1250"
    assert with_interval(0.25, (-0.5, 0.375), sign="+") == "+0.2500 (-0.5000 to +0.3750)"
    assert with_interval(0.25, (-inf, inf)) == "0.2500"


@pytest.mark.parametrize("part", ["test", "validation"])
def test_an_interval_that_begins_at_0_shows_no_difference(part):
    given = verdict(low=0.0, part=part)
    assert not given.better and given.best.trial == "0"
    assert conclusion(given).startswith("No difference between trial 7 and the baseline could be shown")


def test_the_model_that_is_advised():
    assert verdict().best.trial == verdict(part="validation").best.trial == "7"
    assert verdict(low=-0.1).best.trial == verdict(0.3, -inf, inf).best.trial == "0"


def closed(given):
    lines = []
    closing(given, lines.append)
    return lines


def columns(table):
    return [list(column.cells) for column in table.columns]


def test_the_closing_of_a_winner():
    given = verdict(baseline=side("0", 0.51, **COSTS), winner=side("7", 0.81, "sgd cosine", **COSTS))
    name, table, blank, sentence, what, counts, where, more = closed(given)
    assert name == "s"
    labels, theirs, ours = columns(table)
    assert [c.header for c in table.columns] == ["", "baseline", "winner (trial 7)"]
    assert labels[:2] == ["val_accuracy on the test split", "val_accuracy on validation, fresh seeds"]
    assert (theirs[:2], ours[:2]) == (["0.5100", "0.5000"], ["0.8100", "0.8000"])
    assert ours[2:] == ["0.500", "1.250", "12,345", "sgd cosine"]
    assert (blank, sentence, what) == ("", conclusion(given), compared(given))
    assert counts == "5 trials complete, 3 stopped early, 2 failed (2 lost); 12 trainings, 1:01 of trial time."
    assert where == "best/ holds the winner: autoopt-runs/s/best   all figures: autoopt-runs/s/report.html"
    assert more == "autoopt show s lists the trials, autoopt ui s shows them in MLflow."


def test_the_closing_names_what_failed():
    given = verdict(quarantined=("loss/focal", "optimizer/mine"), dropped={"optimizer/mine": "KeyError: 'm' (mine.py, line 9)"})
    assert "Left out, because it failed: loss/focal, optimizer/mine (KeyError: 'm' (mine.py, line 9))." in closed(given)


def test_the_closing_names_the_candidates_that_failed_on_fresh_seeds():
    given = verdict(unsound={"3": "nonfinite: val_loss is nan"})
    line = "Trial 3 was a candidate, and is left out: a training of it on a fresh seed failed (nonfinite: val_loss is nan)."
    assert line in closed(given)


def test_who_does_not_win_is_called_a_candidate():
    assert side_rows(verdict(low=0.01))[0][2] == "winner (trial 7)"
    assert side_rows(verdict(low=-0.01))[0][2] == "candidate (trial 7)"


def test_the_closing_without_a_winner():
    *_, where, _more = closed(verdict(low=-0.1))
    assert where.startswith("best/ holds the baseline, which no trial was shown to beat: ")
    *_, where, _more = closed(verdict(low=0.1, limits=(replace(LIMIT, missed=("winner",)),)))
    assert where.startswith("best/ holds the baseline, which no trial was shown to beat within the bounds: "), "trial 7 beat it beyond them"


def test_the_closing_of_a_baseline_alone():
    _, table, _, sentence, counts, *_ = closed(verdict(0.0, 0.0, 0.0, winner=side("0", 0.5), alone="it was alone"))
    assert [c.header for c in table.columns] == ["", "baseline"]
    assert sentence.endswith("it was alone.") and counts.startswith("5 trials complete")


def recipe(**nodes):
    return Recipe({**BARE, **nodes})


ADAMW, MINE = {"adamw": {"lr": 0.001, "beta1": 0.9}}, {"mine": {"lr": 0.0123456, "from": "my:mine"}}


@pytest.mark.parametrize(
    ("ours", "theirs", "words"),
    [
        (recipe(optimizer=MINE), recipe(optimizer=ADAMW), "optimizer mine (lr=0.01235) instead of adamw (lr=0.001, beta1=0.9)"),
        (recipe(optimizer=ADAMW), recipe(optimizer={"adamw": {"lr": 0.1, "beta1": 0.9}}), "optimizer.adamw.lr=0.001 instead of 0.1"),
        (recipe(augmentation={"flip": {}, "mixup": {"use": True, "alpha": 0.2}}), recipe(), "augmentation flip and mixup (alpha=0.2)"),
        (recipe(), recipe(augmentation={"flip": {}}), "no augmentation flip"),
        (
            recipe(batches={"size": 32, "sampler": "balanced"}),
            recipe(),
            "batches.size=32 instead of 64, batches.sampler=balanced instead of null",
        ),
        (recipe(batches={"size": 16}), recipe(batches={"size": None}), "batches.size=16 instead of that of the data"),
        (recipe(), recipe(), "the same recipe"),
    ],
)
def test_what_differs_between_two_recipes(ours, theirs, words):
    assert recipe_differences(ours, theirs) == words


def test_the_closing_says_that_recipes_are_compared_and_names_all_that_differs():
    """With `optimizer=adamw,mine` nobody is to read "better" as of the optimizer alone."""
    theirs = replace(side("0", 0.5), recipe=recipe(optimizer=ADAMW, schedule={"constant": {}}).tree)
    ours = replace(side("7", 0.8), recipe=recipe(optimizer=MINE, schedule={"cosine": {}}, batches={"size": 32, "sampler": None}).tree)
    assert compared(verdict(baseline=theirs, winner=ours)) == (
        "This compares the tuned recipe of trial 7 with the baseline, which was not tuned (defaults, or as you gave it). "
        "Trial 7 has optimizer mine (lr=0.01235) instead of adamw (lr=0.001, beta1=0.9), schedule cosine instead of constant, "
        "batches.size=32 instead of 64."
    )


def test_what_each_change_gives_is_a_table(capsys):
    given = verdict(ablation=ABLATION)
    assert ablation_rows(given, ABLATION) == [
        ("change", "left out of trial 7", "made in this order", "training time"),
        ("schedule cosine", "fails (nonfinite)", "with the next", ""),
        ("optimizer sgd", "+0.1000 ± 0.0200", "+0.2000 ± 0.1000", "+8 %"),
        ("augmentation mixup and batches.size", "+0.0010 ± 0.0200", "with the next", "+0 %"),
        ("cnn (width)", "not measured", "+0.1000", ""),
    ]
    assert ablation_title(given, ABLATION) == (
        "What each change of the baseline gives in val_accuracy (validation, 2 seeds, 95 % intervals)"
    )
    console().print(table_of_rows(ablation_rows(given, ABLATION)))
    lines = capsys.readouterr().out.splitlines()
    assert lines[2].split() == ["optimizer", "sgd", "+0.1000", "±", "0.0200", "+0.2000", "±", "0.1000", "+8", "%"]
    shown = verdict_html(given)
    assert "<td>+0.1000 ± 0.0200</td>" in shown and "<p>No gain could be shown for augmentation mixup and batches.size.</p>" in shown


def test_the_reasons():
    given = verdict(ablation=ABLATION, importance=IMPORTANCE, edges=(EDGE,), searched=0.8123, rival=Rival("3", 0.014, 0.642))
    assert list(reasons(given)) == [
        "Trial 7 had val_accuracy 0.8123 in the search, and 0.7900 on fresh seeds; "
        "its difference to trial 3, the next, was +0.0140 on the seeds that chose it, so that it is better with a chance of about 64 %.",
        "No gain could be shown for augmentation mixup and batches.size.",
        "best/simple.yaml is the recipe without them; no loss could be shown "
        "(-0.0010, 95 % interval -0.0210 to +0.0190; training time -12 %).",
        "To bound the number of trainings, some changes were measured together, and all of them on 2 of the 3 seeds.",
        "What val_accuracy after epoch 4 depended on in the search (PED-ANOVA, 60 trials): "
        "optimizer 70 % (mostly sgd.lr), schedule 30 % (the choice).",
        "optimizer.sgd.lr=0.0297 is at the upper end of its range (0.03); 'optimizer.sgd.lr=interval(0.0001, 0.173)' widens it.",
    ]
    assert [str(line) for line in closed(given) if line in [*reasons(given)]] == list(reasons(given))


def test_changes_that_are_measured_on_fewer_seeds_are_told_in_a_sentence():
    one = replace(ABLATION.left_out[1], changes=("batches.size",))
    given = verdict(ablation=replace(ABLATION, left_out=(one, replace(one, changes=("schedule",))), simpler=None))
    assert "To bound the number of trainings, the changes were measured on 2 of the 3 seeds." in list(reasons(given))


def test_what_only_a_training_measures_is_taken_apart_there():
    assert "(training, 2 seeds, 95 % intervals)" in ablation_title(verdict(part="training"), ABLATION)
    assert "(validation, 1 seed, 95 % intervals)" in ablation_title(verdict(), replace(ABLATION, seeds=1))


def test_the_reasons_say_no_more_than_there_is():
    assert list(reasons(verdict())) == []
    single = replace(ABLATION, left_out=ABLATION.left_out[1:2], path=ABLATION.left_out[1:2], simpler=None)
    assert list(reasons(verdict(ablation=single))) == []
    needed = replace(ABLATION, left_out=ABLATION.left_out[1:3], seeds=3, simpler=None)
    assert list(reasons(verdict(ablation=needed)))[1] == "The recipe without them is not shown to be as good."
    nothing = replace(ABLATION, left_out=(replace(ABLATION.left_out[2], changes=("batches.size",)),), simpler=None)
    assert list(reasons(verdict(ablation=nothing))) == ["No gain could be shown for batches.size."]
    assert list(reasons(verdict(rungs={4: 0.614, 14: 0.9}))) == [
        "Rank correlation of early values with the final score: 0.61 after epoch 4 and 0.90 after epoch 14 (0.35 is enough)."
    ]
    assert list(reasons(verdict(rungs={4: -0.1}))) == [
        "Rank correlation of early values with the final score: -0.10 after epoch 4 "
        "(0.35 is enough; a rung stops nothing while it is less, once 8 trials are complete)."
    ]
    alone = replace(
        ABLATION, left_out=ABLATION.left_out[1:3], seeds=3, simpler=replace(ABLATION.simpler, interval=(-0.001, -0.001), time=None)
    )
    few = replace(IMPORTANCE, trials=12)
    low = replace(EDGE, value=0.000101, wider="optimizer.sgd.lr=interval(1e-05, 0.03)")
    assert list(reasons(verdict(searched=0.8))) == ["Trial 7 had val_accuracy 0.8000 in the search, and 0.7900 on fresh seeds."]
    early = "Trial 7 had val_accuracy 0.6000 when it was stopped after epoch 3, and 0.7900 on fresh seeds."
    assert list(reasons(verdict(searched=0.6, stopped_at=3))) == [early]
    assert list(reasons(verdict(ablation=alone, importance=few, edges=(low,))))[1:] == [
        "best/simple.yaml is the recipe without them; no loss could be shown (-0.0010).",
        "To bound the number of trainings, some changes were measured together.",
        "What val_accuracy after epoch 4 depended on in the search (PED-ANOVA, 12 trials, a rough estimate from so few): "
        "optimizer 70 % (mostly sgd.lr), schedule 30 % (the choice).",
        "optimizer.sgd.lr=0.000101 is at the lower end of its range (0.0001); 'optimizer.sgd.lr=interval(1e-05, 0.03)' widens it.",
    ]


def test_what_only_one_side_measured_is_no_row():
    _, table, *_ = closed(verdict(baseline=side("0", 0.5), winner=side("7", 0.8, **COSTS)))
    assert columns(table)[0][2:] == ["recipe"]


POINTS = {("compress-1", "half"): (0.5, 1.0, 0.0001), ("compress-2", "keep"): (0.6, 2.0, 0.01)}


def test_the_front_is_a_table_of_its_own():
    names = ("val_accuracy", "latency_ms", "size_mb")
    points = [Point(*of, dict(zip(names, values, strict=True))) for of, values in POINTS.items()]
    _name, _table, _, title, front, way, blank, *_ = closed(verdict(front=tuple(points)))
    assert title == (
        "Pareto front of the compressed models in val_accuracy, latency_ms and size_mb (validation; latency of one example, measured alone)"
    )
    assert (way, blank) == ("autoopt export s TRIAL writes one of them.", "")
    assert [(column.header, column.justify) for column in front.columns] == [
        ("trial", "left"),
        ("val_accuracy", "right"),
        ("latency, ms", "right"),
        ("size, MB", "right"),
        ("recipe", "left"),
    ]
    assert columns(front) == [
        ["compress-1", "compress-2"],
        ["0.5000", "0.6000"],
        ["1.000", "2.000"],
        ["0.000100", "0.010"],
        ["half", "keep"],
    ]


def test_the_closing_names_a_study_of_another_root_as_the_commands_take_it():
    *_, more = closed(verdict(folder="/data/runs/s"))
    assert more == "autoopt show s root=/data/runs lists the trials, autoopt ui s root=/data/runs shows them in MLflow."
    lines: list[object] = []
    closing(verdict(), lines.append, mirrored=False)
    assert lines[-1] == "autoopt show s lists the trials."
    *_, more = closed(verdict(folder="/my data/runs/s"))
    assert more.startswith("autoopt show s 'root=/my data/runs' lists the trials")


def test_the_command_for_a_model_of_the_front_names_the_code_that_it_needs():
    points = (Point("1", "sgd", {"val_accuracy": 0.5, "flops": 1.0}), Point("2", "adamw", {"val_accuracy": 0.6, "flops": 2.0}))
    given = {"folder": "/data/runs/s", "trust": " trust=my_models:Net"}
    title, *_, way = pareto(verdict(front=points, **given))
    assert title == "Pareto front of the trials in val_accuracy and flops (validation)"
    assert way == "autoopt train recipe=s/TRIAL root=/data/runs trust=my_models:Net trains one of them."
    *_, way = pareto(verdict(front=tuple(replace(point, trial=f"compress-{point.trial}") for point in points), **given))
    assert way == "autoopt export s TRIAL root=/data/runs trust=my_models:Net writes one of them."


def test_a_front_of_trials_and_compressed_models_is_of_the_trials():
    both = [Point(trial, "adamw", {"val_accuracy": 0.9, "val_f1": 0.8}) for trial in ("compress-1", "3")]
    title, *_, way = pareto(verdict(front=tuple(both)))
    assert title.startswith("Pareto front of the trials in ") and way == "autoopt train recipe=s/TRIAL trains one of them."


def test_a_page_escapes_what_it_shows():
    shown = verdict_html(verdict(study="<s>", winner=side("7", 0.8, "<b>")))
    assert "&lt;s&gt;" in shown and "&lt;b&gt;" in shown and "<b>&lt;s&gt;</b>" in shown
    assert "val_accuracy on the test split" in shown and "0.8000" in shown


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ((0.88974,), "0.8897"),
        ((1.5,), "1.5000"),
        ((54.1934,), "54.19"),
        ((123.456,), "123.5"),
        ((23910.8943,), "23911"),
        ((0.00123,), "0.0012"),
        ((0.0000123456,), "0.0000123"),
        ((1.5e-9,), "1.5e-09"),
        ((0.0,), "0.0000"),
        ((0.5, 23910.8943), "0"),
        ((0.00001, 0.9), "0.0000"),
        ((float("nan"),), "nan"),
        ((-54.1934, inf), "-54.19"),
    ],
)
def test_a_number_has_the_digits_that_it_needs(values, text):
    """Beside others, those of the greatest."""
    assert number(*values) == text


@pytest.mark.parametrize(
    ("values", "text"),
    [([], ""), ([1.0], "▁"), ([1.0, 2.0, 3.0], "▁▅█"), ([2.0, inf, 1.0], "█?▁"), ([*range(1000)], "")],
)
def test_a_curve_in_a_line(values, text):
    shown = sparkline(values)
    assert shown == text if len(values) < 1000 else (len(shown), shown[0], shown[-1]) == (32, "▁", "█")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (0.4, "0 s"),
        (59.4, "59 s"),
        (60, "1:00"),
        (60.9, "1:00"),
        (120, "2:00"),
        (200, "3:20"),
        (3599, "59:59"),
        (3600, "1:00:00"),
        (7320, "2:02:00"),
        (90061, "25:01:01"),
    ],
)
def test_durations(seconds, text):
    assert duration(seconds) == text


def test_the_average_takes_what_all_have():
    assert mean_metrics([{"a": 1.0, "b": 2.0}, {"a": 3.0}]) == {"a": 2.0}
    assert mean_metrics([{"a": 1.0}]) == {"a": 1.0}
    assert mean_metrics([]) == {}


def test_mlflow_has_the_numbers_of_the_winner_whichever_side_is_advised():
    """`gain` is the winner's over the baseline, so the scores beside it are the winner's too."""
    alone = verdict(0.0, 0.0, 0.0, winner=side("0", 0.5))
    assert conclusion_of(alone, [], Path("best")).tags["autoopt.advised"] == "baseline", "nothing won"
    for low, advised in ((0.2, "winner"), (-0.2, "baseline")):
        told = conclusion_of(verdict(low=low), [], Path("best"))
        assert told.tags["autoopt.advised"] == advised
        assert (told.metrics["test_score"], told.metrics["baseline_test_score"], told.metrics["gain"]) == (0.8, 0.5, 0.3)
        assert told.metrics["objective"] == pytest.approx(0.79)
