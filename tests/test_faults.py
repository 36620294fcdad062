"""Faults of the machine, in whole searches of real processes: nothing is lost, nothing is charged to a recipe, nothing is left."""

import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest
import yaml
from test_search import SMALL, bench, rows

from autoopt.process.log import HEAD, TAIL
from autoopt.records.stored import open_stored
from autoopt.tracking.spool import END

pytestmark = pytest.mark.slow
__all__ = ["bench"]
LOUD = """
from torch.optim import AdamW, Optimizer
from autoopt.data.examples import Examples

TEXT = "\\x1b[2Jbang \\x07" + "x" * 5_000_000 + "\\nmore"

def in_earnest(params, total_steps) -> Optimizer:
    if total_steps > 2:
        raise RuntimeError(TEXT)
    return AdamW(params)
def at_once(params) -> Optimizer: raise RuntimeError(TEXT)
def data() -> Examples: raise RuntimeError(TEXT)
"""
IMPORTS = """
import os, signal, sys
import torch
from lightning.pytorch import Callback
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
"""
BAD = {
    "optimizer": ("params", "Optimizer"),
    "schedule": ("optimizer, total_steps", "LRScheduler"),
    "loss": ("task", "nn.Module"),
    "regularizer": ("model", "Callback"),
    "augmentation": ("inputs, targets", "tuple"),
}
FAULTS = {
    "raises": "raise RuntimeError('boom')",
    "returns": "return 3",
    "exits": "sys.exit(0)",
    "leaves": "os._exit(0)",
    "dies": "os.kill(os.getpid(), signal.SIGKILL)",
    "recurses": "return eval('(lambda f: f(f))(lambda f: f(f))')",
    "aborts": "os.abort()",
    "misses": "return undefined_name",
}
STAGES = ("search", "confirm", "final", "compress", "ablation")


def trials_of(folder):
    """The process of the trial in a folder, by its key; its template writes its log."""
    found = {}
    for template in Path("/proc").glob("[0-9]*"):
        try:
            logs = [log for fd in (template / "fd").iterdir() if (log := fd.readlink()).name == "log.txt" and log.is_relative_to(folder)]
            pids = [int(pid) for task in template.glob("task/*/children") for pid in task.read_text().split()]
        except OSError:  # ended just now, or another user's
            continue
        if len(logs) == len(pids) == 1:
            found[pids[0]] = str(logs[0].parent.relative_to(folder / "trials"))
    return found


def every_record(bench):
    """What has to be the same wherever and whenever it ran, of every stage."""
    stored = open_stored("s", str(bench.study.parent))
    return {stage: rows(stored.records[stage]) for stage in STAGES} | {"test": [(r.key, r.score) for r in stored.records["test"]]}


def test_a_trial_of_any_stage_that_is_killed_is_retried_and_changes_nothing(bench):
    """Each is killed in its first attempt, from the preflight to the measurement on the test part."""
    more = ("executor.workers=1", "compression=half", "study.compress=2", "study.ablation=true")
    bench.search(*more)
    uncut, verdict = every_record(bench), bench.verdict
    bench.study.rename(bench.study.with_name("uncut"))
    process, killed = bench.start("search", *SMALL, *more), {}
    while process.is_alive():
        for pid, key in trials_of(bench.study).items():
            if killed.setdefault(key, pid) == pid:
                with suppress(ProcessLookupError):  # it has ended since
                    os.kill(pid, signal.SIGKILL)
    said = bench.end(process, 0)
    assert killed.keys() >= {"preflight/baseline", "preflight/optimizer-sgd", "0", "compress-0", "0-final-0", "0-final-0-test"}, killed
    assert said.count("is tried again: lost: killed by signal 9") >= len(killed) - 2, "of a few the outcome was on its way already"
    assert every_record(bench) == uncut
    assert (bench.verdict["gain"], bench.verdict["interval"]) == (verdict["gain"], verdict["interval"])
    assert yaml.safe_load((bench.study / "space.yaml").read_text())["quarantined"] == []
    bench.alone()


def test_weights_that_were_damaged_before_they_are_measured_are_trained_again(bench):
    more = ("executor.workers=1", "study.trials=2", "study.seeds=2")
    bench.search(*more)
    uncut, verdict = every_record(bench), bench.verdict
    bench.study.rename(bench.study.with_name("uncut"))
    process = bench.start("search", *SMALL, *more)
    bench.until(lambda: any(key.endswith("-test") for key in trials_of(bench.study).values()))
    os.kill(process.pid, signal.SIGKILL)
    bench.end(process, -signal.SIGKILL)
    damaged, gone = sorted(bench.study.glob("trials/*-final-*/model.safetensors"))[:2]
    spoilt = bytearray(damaged.read_bytes())
    spoilt[-9] ^= 1
    spoilt[-1000] ^= 128
    damaged.write_bytes(spoilt)
    gone.unlink()
    said = bench.search(*more)
    assert "train the winner and the baseline on further seeds: 2 to go, 2 done before" in said
    final = {key: rest for key, *rest in every_record(bench)["final"]}
    assert final == {key: rest for key, *rest in uncut["final"]}
    assert sorted(every_record(bench)["test"]) == sorted(uncut["test"])
    assert (bench.verdict["gain"], bench.verdict["interval"]) == (verdict["gain"], verdict["interval"])
    bench.alone()


def test_the_text_of_an_error_neither_drives_nor_fills_the_terminal(bench):
    (bench.folder / "loud.py").write_text(LOUD)
    options = ("optimizer=adamw,loud:in_earnest,loud:at_once", "study.trials=8", "study.ablation=false", "strategy=random")
    said = bench.search(*options)
    assert "quarantined: optimizer/at_once: RuntimeError: \N{REPLACEMENT CHARACTER}[2Jbang" in said
    assert "failed (plugin): optimizer/in_earnest" in said
    failed = next(trial for trial in bench.trials if trial.state == "failed")
    for arguments in (("show", "s"), ("show", "s", failed.key), ("list",), ("search", "name=t", "data=loud:data", "model=mlp")):
        said += bench.end(bench.start(*arguments), 2 if "data=loud:data" in arguments else 0)
    assert "data=data: RuntimeError" in said
    assert len(said) < 40_000
    assert "\x1b" not in said and "\x07" not in said
    assert (bench.study / "trials" / failed.key / "log.txt").stat().st_size < HEAD + TAIL + 100, "its log is cut, too"


def test_every_bad_plugin_is_named_as_the_one_to_blame(bench):
    """40 of them, 8 faults in each of 5 slots, tried one by one before the search."""
    heads = [
        f"def {slot}_{fault}({given}) -> {kind}:\n    {code}\n" for slot, (given, kind) in BAD.items() for fault, code in FAULTS.items()
    ]
    (bench.folder / "bad.py").write_text("\n".join([IMPORTS, *heads]))
    options = {slot: ",".join(f"bad:{slot}_{fault}" for fault in FAULTS) for slot in BAD}
    first = {"optimizer": "adamw,", "schedule": "constant,", "loss": "cross_entropy,"}
    process = bench.start("plan", *SMALL, *(f"{slot}={first.get(slot, '')}{bad}" for slot, bad in options.items()))
    said = bench.end(process, 0)
    named = {f"{slot}/{slot}_{fault}" for slot in BAD for fault in FAULTS}
    assert len(named) == 40 and not (missing := [key for key in named if key not in said]), (missing, said)
    assert "Traceback" not in said
    bench.alone()


def interrupted(bench, said, told, left):
    """Whether a command answered Ctrl-C in two lines: one at once, one at its end, which says what is left."""
    assert f"autoopt: interrupted by SIGINT; {left}" in told.splitlines()[-1], said + told
    assert "Stopping" in said and "Traceback" not in said + told
    bench.alone()


@pytest.mark.parametrize("moment", ["imports", "0", "1", "preflight"])
def test_ctrl_c_is_answered_in_any_moment_of_the_warm_up(bench, moment):
    command = [Path(sys.executable).with_name("autoopt"), "search", *SMALL]
    heard = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # a suite that runs in the background of a shell ignores it
    process = subprocess.Popen(command, cwd=bench.folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=heard)
    if moment == "imports":
        (bench.folder / "out.txt").touch()
        bench.until(lambda: "/_yaml." in Path(f"/proc/{process.pid}/maps").read_text())
    else:
        assert "warming up" in process.stdout.readline()
        if moment == "preflight":
            bench.until(lambda: [*bench.study.glob("trials/preflight/*/log.txt")])
        else:
            time.sleep(int(moment))
    process.send_signal(signal.SIGINT)
    said, told = process.communicate(timeout=120)
    assert process.returncode == 130
    if moment == "imports":
        assert (said, told) == ("", "autoopt: interrupted by SIGINT\n")
    else:
        interrupted(bench, said, told, "nothing was tried yet; the same command begins again")


@pytest.mark.parametrize("file", ["verdict.yaml", "best/model.json", "best/model.onnx", "report.html"])
def test_ctrl_c_is_answered_while_the_results_are_written(bench, file):
    process = bench.start("search", *SMALL, "study.trials=2")
    bench.until((bench.study / file).exists)
    os.kill(process.pid, signal.SIGINT)
    said = bench.end(process, 130)
    interrupted(bench, said, said, "the same command resumes, `autoopt finish s` concludes with the trials so far")
    assert "to go" not in bench.search("study.trials=2") and bench.verdict["conclusion"]


def test_ctrl_c_is_answered_while_a_server_of_mlflow_hangs(bench):
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"tracking.uri=http://127.0.0.1:{server.getsockname()[1]}"
        process = bench.start("search", *SMALL, "study.trials=2", "tracking.enabled=true", address)
        bench.until(lambda: (bench.study / "tracking.jsonl").exists() and (bench.study / "tracking.jsonl").read_bytes().endswith(END))
        os.kill(process.pid, signal.SIGINT)
        said = bench.end(process, 130)
        assert "interrupted by SIGINT; the same command resumes" in said and bench.verdict["conclusion"]


def test_a_training_ends_with_the_first_ctrl_c_and_does_not_speak_of_a_search(bench):
    more = ("study.epochs=100", "executor.checkpoint=1s", "regularizer=mine:Nap")
    settings = [setting for setting in SMALL if setting.partition("=")[0] not in ("optimizer", "study.epochs", "regularizer")]
    process = bench.start("train", *settings, *more)
    bench.until(lambda: [*bench.study.glob("trials/0/resume/[0-9]*")])
    os.kill(process.pid, signal.SIGINT)
    said = bench.end(process, 130)
    interrupted(bench, said, said, "the same command trains it again, from its last checkpoint if it has one")
    assert "finish" not in said and "trials" not in said.replace("trials/", "")
    process = bench.start("train", *settings, *more)
    bench.until(lambda: "goes on from its checkpoint after" in (bench.folder / "out.txt").read_text())
    process.terminate()
    assert "interrupted by SIGTERM" in bench.end(process, 143)


def test_the_time_ends_a_trial_that_hangs(bench):
    """If it did not, the command would not end in the time that `bench` gives it."""
    said = bench.search("optimizer=adamw,mine:hangs", "study.time=12s", "study.trials=1000", "strategy=random", "executor.trial_time=1h")
    assert "only the baseline was tried" in said or bench.verdict["counts"]["complete"] > 1
    assert bench.verdict["counts"]["failed"] == 0, "no recipe is to blame for the end of the time"
    bench.alone()


def test_trials_and_searches_that_are_killed_go_on_from_the_last_checkpoint(bench):
    """A trial, then the supervisor in the search, then in the final comparison."""
    more = [
        "executor.workers=1",
        "study.trials=2",
        "study.epochs=16",
        "regularizer=mine:Nap",
        "study.ablation=false",
        "study.stopping=false",
    ]
    bench.search(*more, "executor.checkpoint=null")
    uncut, verdict = every_record(bench), bench.verdict
    bench.study.rename(bench.study.with_name("uncut"))
    more.append("executor.checkpoint=1s")

    def kept(pattern):
        return [*bench.study.glob(f"trials/{pattern}/resume/[0-9]*")]

    process = bench.start("search", *SMALL, *more)
    bench.until(lambda: kept("0"))
    os.kill(next(pid for pid, key in trials_of(bench.study).items() if key == "0"), signal.SIGKILL)
    for pattern in "1", "*-final-*":
        bench.until(lambda pattern=pattern: kept(pattern))
        os.kill(process.pid, signal.SIGKILL)
        said = bench.end(process, -signal.SIGKILL)
        if pattern == "1":
            assert "trial 0 is tried again: lost: killed by signal 9" in said and "trial 0 goes on from its checkpoint after" in said
        process = bench.start("search", *SMALL, *more)
        bench.until(lambda: "goes on from its checkpoint after" in (bench.folder / "out.txt").read_text())
    bench.end(process, 0)
    assert every_record(bench) == uncut
    assert (bench.verdict["gain"], bench.verdict["interval"]) == (verdict["gain"], verdict["interval"])
    assert not kept("*"), "a trial that has ended has no checkpoint"
    bench.alone()
