import fcntl
import io
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from contextlib import suppress
from pathlib import Path

import pytest

from autoopt.goal import Bound, Goal, Objective
from autoopt.orders import Outcome, Problem, Train
from autoopt.recipe import Recipe
from autoopt.records.stages import COMPRESS, PREFLIGHT, SEARCH, TRAIN
from autoopt.slots import SLOTS
from autoopt.study.jobs import Job, Result
from autoopt.terminal import Progress

ACCURACY, LOSS = Objective("val_accuracy", "maximize"), Objective("val_loss", "minimize")
RECIPE = Recipe({slot: {} for slot in SLOTS} | {"optimizer": {"adamw": {}}, "schedule": {"cosine": {}}})


def result(key, score=None, stage=SEARCH, stopped=False, problem=None, **metrics):
    outcome = None if problem else Outcome(stopped=stopped, metrics=metrics)
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


class WriteOnly:
    def __init__(self):
        self.text = ""

    def write(self, text):
        self.text += text

    def flush(self): ...


def closed():
    out = io.StringIO()
    out.close()
    return out


@pytest.mark.parametrize(
    "out", [WriteOnly(), io.TextIOWrapper(io.BytesIO(), "ascii"), None, closed()], ids=["object", "ascii", "none", "closed"]
)
def test_a_program_may_have_any_output(monkeypatch, out):
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setenv("FORCE_COLOR", "1")  # as many CI systems set it
    with Progress(resumes=True) as screen:
        screen.say("+0.1 ± 0.2")
        screen.goal = Goal((ACCURACY,))
        screen.stage(SEARCH, 4, 2)
    if isinstance(out, WriteOnly):
        assert out.text == "+0.1 ± 0.2\nsearch: 2 to go, 2 done before\n"
    elif isinstance(out, io.TextIOWrapper):
        out.flush()
        assert out.buffer.getvalue() == b"+0.1 ? 0.2\nsearch: 2 to go, 2 done before\n"


def test_a_reader_that_has_gone_is_passed_on(monkeypatch):
    """To the command, which exits with 141; by itself rich exits with 1."""

    class Gone(WriteOnly):
        def write(self, text):
            raise BrokenPipeError

    monkeypatch.setattr(sys, "stdout", Gone())
    with pytest.raises(BrokenPipeError):
        Progress().say("x")


def test_a_stage_with_nothing_to_do_says_nothing(capsys):
    assert shown(capsys, stages=[(SEARCH, 4, 4), (PREFLIGHT, 0, 0)]) == ""


def test_failures_are_told_but_those_of_the_preflight(capsys):
    lost = Problem("lost", "killed by [SIGKILL]")
    printed = shown(capsys, result("3", problem=lost), result("preflight/x", stage=PREFLIGHT, problem=lost))
    assert printed.splitlines() == ["search: 4 to go", "  trial 3 failed (lost): killed by [SIGKILL]"]


def test_quiet(capsys):
    with Progress(quiet=True) as screen:
        screen.say("x")
        screen.stage(SEARCH, 3, 0)
        screen.result(result("0", 0.5))
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("objective", "scores", "best"),
    [
        (ACCURACY, [0.5, 0.7, 0.6], "best val_accuracy 0.7000 in trial 1 · baseline 0.5000 (+0.2000)"),
        (LOSS, [0.5, 0.4, 0.6], "best val_loss 0.4000 in trial 1 · baseline 0.5000 (+0.1000)"),
        (LOSS, [23910.8943, 23890.1], "best val_loss 23890 in trial 1 · baseline 23911 (+21)"),
        (LOSS, [0.5], "best val_loss 0.5000 in trial 0 · baseline 0.5000 (+0.0000)"),
    ],
)
def test_what_stands_below_the_bar(objective, scores, best):
    screen = Progress(quiet=True, resumes=True)
    assert screen.detail() == "loading torch, Lightning and the data"
    screen.goal = Goal((objective,))
    screen.stage(SEARCH, 9, 0)
    screen.running(2)
    for key, score in enumerate(scores):
        screen.result(result(str(key), score))
    screen.result(result("8", objective.sign * 1e6, stopped=True))
    screen.result(result("compress-1", objective.sign * 1e6, stage=COMPRESS))
    assert screen.detail() == f"2 running · {best} · Ctrl-C stops it, the same command resumes"


def test_only_a_search_says_that_the_same_command_resumes():
    """As `autoopt reproduce` and `autoopt plan` begin anew."""
    screen = Progress(quiet=True)
    screen.stage(TRAIN, 1, 0)
    assert screen.detail() == "0 running · Ctrl-C stops it"


def test_the_best_below_the_bar_keeps_the_bounds():
    screen = Progress(quiet=True)
    screen.goal = Goal((ACCURACY,), (Bound(Objective("latency_ms", "minimize"), 2.0),))
    screen.stage(SEARCH, 9, 0)
    screen.result(result("0", 0.5, latency_ms=3.0))
    assert "best" not in screen.detail()
    screen.result(result("1", 0.4, latency_ms=1.0))
    screen.result(result("2", 0.9))
    assert "best val_accuracy 0.4000 in trial 1 · baseline 0.5000 (-0.1000)" in screen.detail()


def test_of_equal_trials_the_smaller_is_the_best_below_the_bar_as_in_the_leaderboard():
    screen = Progress(quiet=True)
    screen.goal = Goal((ACCURACY,))
    screen.stage(SEARCH, 9, 0)
    for key, size in (("0", 3.0), ("1", 2.0), ("2", 2.0), ("3", 4.0)):
        screen.result(result(key, 0.5, size_mb=size))
    assert "in trial 1 · " in screen.detail()


def test_the_time_left_is_told_by_the_clock_of_the_study():
    screen = Progress(quiet=True)
    time = 100.0
    screen.clock = lambda: time
    screen.stage(SEARCH, 10, 2)
    assert screen.left() == "", "unknown before a trial has ended"
    time = 140.0
    screen.result(result("2", 0.5))
    screen.result(result("3", 0.5))
    assert screen.left() == "2:00 left", "20 s a trial, 6 to go"


def in_a_terminal(script, columns):
    """What a script prints in a terminal of its own."""
    parent, child = pty.openpty()
    fcntl.ioctl(child, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    environment = {**os.environ, "TERM": "xterm", "PYTHONPATH": str(Path(__file__).parent)}
    process = subprocess.Popen([sys.executable, "-c", script], stdin=child, stdout=child, stderr=child, env=environment)
    os.close(child)
    text = b""
    with suppress(OSError):  # the end of a terminal
        while more := os.read(parent, 65536):
            text += more
    process.wait()
    os.close(parent)
    return text.decode()


@pytest.mark.slow
def test_the_clock_goes_on_after_the_last_trial_of_a_stage():
    script = """
import time
from autoopt.records.stages import CONFIRM, FINAL
from test_terminal import Progress, result
with Progress() as screen:
    for stage in (CONFIRM, FINAL):  # one has as many trials as the other, of which rich does not see that it is a new one
        screen.stage(stage, 1, 0)
        screen.result(result("0", 0.5, stage=stage))
        time.sleep(1.1)
        screen.bar.refresh()
"""
    seen = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", in_a_terminal(script, 80))
    for stage, seconds in (("confirm", "0:00:01"), ("final", "0:00:02")):
        assert re.search(rf"[⠀-⣿] {stage} ━+ 1/1 {seconds}", seen)


@pytest.mark.slow
@pytest.mark.parametrize("columns", [80, 120])
def test_on_a_terminal_trials_scroll_by_above_a_bar(columns):
    script = """
from test_terminal import ACCURACY, SEARCH, Goal, Progress, result
with Progress() as screen:
    screen.bar.refresh()
    screen.goal = Goal((ACCURACY,))
    screen.stage(SEARCH, 4, 0)
    screen.running(1)
    screen.result(result("0", 0.5))
    screen.result(result("12", 0.25, stopped=True))
    screen.bar.refresh()
    screen.say("word " * 40)
"""
    seen = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", in_a_terminal(script, columns)).replace("\r", "\n")
    lines = [line.rstrip() for line in seen.splitlines()]
    assert "search: 4 to go" in lines and "  2/4   12  val_accuracy 0.2500 (stopped early)  adamw cosine  2 s" in lines
    assert any("warming up" in line and "━" in line for line in lines), "it shows that it lives"
    assert any(line.split()[1:2] == ["search"] and "━" in line and "2/4" in line and len(line) <= columns for line in lines)
    assert any(line.startswith("1 running · best val_accuracy 0.5000 in trial 0 · baseline 0.5000 (+0.0000)") for line in lines)
    assert {word for line in lines if line.startswith("word") for word in line.split()} == {"word"}, "no word is broken"
    assert all(len(line) <= columns for line in lines)
