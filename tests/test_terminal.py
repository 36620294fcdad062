import pytest

from autoopt.goal import Goal, Objective
from autoopt.orders import Outcome, Problem, Train
from autoopt.recipe import Recipe
from autoopt.slots import SLOTS
from autoopt.study.runner import Job, Result
from autoopt.study.stages import COMPRESS, PREFLIGHT, SEARCH
from autoopt.terminal import Progress

ACCURACY, LOSS = Objective("val_accuracy", "maximize"), Objective("val_loss", "minimize")
RECIPE = Recipe({slot: {} for slot in SLOTS} | {"optimizer": {"adamw": {}}, "schedule": {"cosine": {}}})


def result(key, score=None, stage=SEARCH, stopped=False, problem=None):
    outcome = None if problem else Outcome(stopped=stopped)
    return Result(Job(Train(key=key, recipe=RECIPE), stage), outcome, problem, score=score, seconds=2.4)


def shown(capsys, *results, objective=ACCURACY, stages=((SEARCH, 4, 0),)):
    with Progress() as screen:
        screen.goal = Goal((objective,))
        for stage in stages:
            screen.stage(*stage)
        for each in results:
            screen.result(each)
    return capsys.readouterr().out


def test_plain_lines(capsys):
    printed = shown(capsys, result("0", 0.5), result("12", 0.25, stopped=True), stages=[(SEARCH, 4, 2)])
    assert printed.splitlines() == [
        "search: 2 to go, 2 done before",
        "  3/4    0  val_accuracy 0.5000  adamw cosine  2 s",
        "  4/4   12  val_accuracy 0.2500 (stopped early)  adamw cosine  2 s",
    ]


def test_a_stage_with_nothing_to_do_says_nothing(capsys):
    assert shown(capsys, stages=[(SEARCH, 4, 4), (PREFLIGHT, 0, 0)]) == ""


def test_failures_are_told_but_those_of_the_preflight(capsys):
    lost = Problem("lost", "killed by [SIGKILL]")
    printed = shown(capsys, result("3", problem=lost), result("preflight/x", stage=PREFLIGHT, problem=lost))
    assert printed.splitlines() == ["search: 4 to go", "  search 3 failed (lost): killed by [SIGKILL]"]


def test_quiet(capsys):
    with Progress(quiet=True) as screen:
        screen.say("x")
        screen.stage(SEARCH, 3, 0)
        screen.result(result("0", 0.5))
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("objective", "scores", "best"),
    [
        (ACCURACY, [0.5, 0.7, 0.6], "best val_accuracy 0.7000 in trial 1 (+0.2000 over the baseline)"),
        (LOSS, [0.5, 0.4, 0.6], "best val_loss 0.4000 in trial 1 (+0.1000 over the baseline)"),
        (LOSS, [0.5], "best val_loss 0.5000 in trial 0 (+0.0000 over the baseline)"),
    ],
)
def test_the_live_line(objective, scores, best):
    screen = Progress(quiet=True)
    screen.goal = Goal((objective,))
    screen.stage(SEARCH, 9, 0)
    screen.running(2)
    for number, score in enumerate(scores):
        screen.result(result(str(number), score))
    screen.result(result("8", objective.sign * 99, stopped=True))
    screen.result(result("compress-1", objective.sign * 99, stage=COMPRESS))
    text = screen.line().plain
    assert text.startswith(f"search {len(scores) + 2}/9 · 2 running · {best} · ")
    assert text.endswith(" left · Ctrl-C stops it, the same command resumes")


def test_the_time_left_is_told_by_the_clock_of_the_study():
    screen = Progress(quiet=True)
    time = 100.0
    screen.clock = lambda: time
    screen.stage(SEARCH, 10, 2)
    time = 140.0
    screen.result(result("2", 0.5))
    screen.result(result("3", 0.5))
    assert "2:00 left" in screen.line().plain, "20 s a trial, 6 to go"


def test_the_live_line_before_anything_has_come():
    screen = Progress(quiet=True)
    screen.stage(SEARCH, 9, 3)
    assert screen.line().plain == "search 3/9 · 0 running · Ctrl-C stops it, the same command resumes"
