from dataclasses import replace
from types import SimpleNamespace

import pytest

from autoopt.recipe import Recipe
from autoopt.slots import SLOTS
from autoopt.space import Space
from autoopt.study.confirm import Candidate
from autoopt.study.journal import Record
from autoopt.study.objective import Objective
from autoopt.study.runner import Job, Result
from autoopt.study.verdict import conclude
from autoopt.terminal import Progress, closing, duration

ACCURACY, LOSS = Objective("val_accuracy", "maximize"), Objective("val_loss", "minimize")


def recipe(optimizer="adamw"):
    return Recipe({slot: {} for slot in SLOTS} | {"optimizer": {optimizer: {}}, "schedule": {"cosine": {}}})


def result(key, score=None, stage="search", stopped=False, **failure):
    outcome = None if failure else {"stopped": stopped, "metrics": {}}
    return Result(Job(key, stage, recipe(), 0), outcome, score=score, seconds=2.4, **failure)


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0, "0 s"), (0.4, "0 s"), (59.4, "59 s"), (60, "1:00"), (200, "3:20"), (3599, "59:59"), (3600, "1:00:00"), (90061, "25:01:01")],
)
def test_durations(seconds, said):
    assert duration(seconds) == said


def shown(capsys, *results, objective=ACCURACY, stages=(("search", 4, 0),)):
    with Progress() as screen:
        screen.objective = objective
        for stage in stages:
            screen.stage(*stage)
        for each in results:
            screen.result(each)
    return capsys.readouterr().out


def test_plain_lines(capsys):
    said = shown(capsys, result("0", 0.5), result("12", 0.25, stopped=True), stages=[("search", 4, 2)])
    assert said.splitlines() == [
        "search: 2 to go, 2 done before",
        "  3/4    0  val_accuracy 0.5000  adamw cosine  2 s",
        "  4/4   12  val_accuracy 0.2500 (stopped early)  adamw cosine  2 s",
    ]


def test_a_stage_with_nothing_to_do_says_nothing(capsys):
    assert shown(capsys, stages=[("search", 4, 4), ("preflight", 0, 0)]) == ""


def test_failures_are_said_but_those_of_the_preflight(capsys):
    said = shown(capsys, result("3", reason="lost", detail="killed by [SIGKILL]"), result("preflight/x", stage="preflight", reason="lost"))
    assert said.splitlines() == ["search: 4 to go", "  search 3 failed (lost): killed by [SIGKILL]"]


def test_quiet(capsys):
    with Progress(quiet=True) as screen:
        screen.say("x")
        screen.stage("search", 3, 0)
        screen.result(result("0", 0.5))
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("objective", "scores", "said"),
    [
        (ACCURACY, [0.5, 0.7, 0.6], "best val_accuracy 0.7000 in trial 1 (+0.2000 over the baseline)"),
        (LOSS, [0.5, 0.4, 0.6], "best val_loss 0.4000 in trial 1 (+0.1000 over the baseline)"),
        (LOSS, [0.5], "best val_loss 0.5000 in trial 0 (+0.0000 over the baseline)"),
    ],
)
def test_the_live_line(objective, scores, said):
    screen = Progress(quiet=True)
    screen.objective = objective
    screen.stage("search", 9, 0)
    screen.running(2)
    for number, score in enumerate(scores):
        screen.result(result(str(number), score))
    screen.result(result("8", objective.sign * 99, stopped=True))
    screen.result(result("compress-1", objective.sign * 99, stage="compress"))
    text = screen.line().plain
    assert text.startswith(f"search {len(scores) + 2}/9 · 2 running · {said} · ")
    assert text.endswith(" left · Ctrl-C ends it, the same command resumes")


def test_the_live_line_before_anything_has_come():
    screen = Progress(quiet=True)
    screen.stage("search", 9, 3)
    assert screen.line().plain == "search 3/9 · 0 running · Ctrl-C ends it, the same command resumes"


def side(key, scores, **costs):
    records = [Record(f"{key}-seed-{i}", "test", {}, i, "complete", score, {"m": score, **costs}) for i, score in enumerate(scores)]
    return Candidate(key, recipe("adamw" if key == "0" else "sgd"), records, records)


def closed(baseline, winner, records=(), path="autoopt-runs/s"):
    said = []
    after = [replace(r, stage="confirm", seconds=61.0 / len(baseline.validation)) for r in baseline.validation]
    told = {"search": list(records), "confirm": after}
    journal = SimpleNamespace(records=lambda stage: told.get(stage, []))
    verdict = conclude(SimpleNamespace(name="s", path=path), ACCURACY, (baseline, winner), journal, Space({}))
    closing(verdict, said.append)
    return said


def columns(table):
    return [list(column.cells) for column in table.columns]


def test_the_closing_table_of_a_winner():
    costs = {"latency_ms": 0.5, "size_mb": 1.25, "parameters": 12345.0}
    table, _, conclusion, counts, where, more = closed(side("0", [0.5, 0.51, 0.52], **costs), side("7", [0.8, 0.81, 0.82], **costs))
    labels, theirs, ours = columns(table)
    assert [c.header for c in table.columns] == ["", "baseline", "winner (trial 7)"]
    assert labels[0] == "val_accuracy, test split"
    assert (theirs[:2], ours[:2]) == (["0.5100", "0.5100"], ["0.8100", "0.8100"])
    assert ours[2:] == ["0.500", "1.250", "12,345", "sgd cosine"]
    assert conclusion.startswith("Trial 7 is better than the baseline: gain in val_accuracy on the test split +0.3000, 95 % interval +0.")
    assert counts == "0 trials complete, 0 stopped early, 0 failed; 3 trainings, 1:01 of trial time."
    assert where == "best/ holds the winner: autoopt-runs/s/best   all figures: autoopt-runs/s/verdict.yaml"
    assert more == "autoopt show s lists the trials, autoopt ui s shows them in MLflow."


def test_the_closing_names_a_study_of_another_root_as_the_commands_take_it():
    *_, more = closed(side("0", [0.5, 0.9]), side("7", [0.6, 0.8]), path="/data/runs/s")
    assert more == "autoopt show s root=/data/runs lists the trials, autoopt ui s root=/data/runs shows them in MLflow."


def test_the_closing_table_without_a_winner():
    records = [Record(str(i), "search", {}, 0, "failed", reason="lost") for i in range(2)]
    table, _, conclusion, counts, where, _more = closed(side("0", [0.5, 0.9]), side("7", [0.6, 0.8]), records)
    assert columns(table)[0] == ["val_accuracy, test split", "val_accuracy, validation, fresh seeds", "recipe"]
    assert conclusion.startswith("The baseline is as good") and "since the interval holds 0: gain" in conclusion
    assert "2 failed (2 lost); 4 trainings" in counts
    assert where.startswith("best/ holds the baseline")
