"""Trials as jobs: submitit's local and debug executors, and Slurm as far as submitit sees it."""

import os
import re
import shutil
import signal
import stat
import sys
import time
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import pytest

submitit = pytest.importorskip("submitit")

from autoopt.config import compose  # noqa: E402
from autoopt.errors import BadInput  # noqa: E402
from autoopt.executor import TemplateError, on_queue  # noqa: E402
from autoopt.executor.on_queue import OnQueue, QueueLink  # noqa: E402
from autoopt.executor.remote import Gone  # noqa: E402
from autoopt.executor.resources import Limits  # noqa: E402
from autoopt.executor.worker import Message  # noqa: E402
from autoopt.orders import Train  # noqa: E402
from autoopt.plugins.executor import submitit as module  # noqa: E402
from autoopt.space import Space  # noqa: E402
from autoopt.store import Store  # noqa: E402
from autoopt.testing.executor import collect_events  # noqa: E402

NOTHING = ("initializer=keep", "regularizer=none", "augmentation=none", "loss=cross_entropy", "schedule=constant", "optimizer=nesterov")
OWN = '''
import os

import lightning.pytorch as L
import torch


class Told(L.Callback):
    """Prints what a trial sees of the queue."""

    def on_train_start(self, trainer, module):
        print("SEEN", [name for name in os.environ if name.startswith(("SLURM", "SUBMITIT"))])


def told() -> L.Callback:
    """Mine."""
    return Told()
'''
pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    (tmp_path / "own_told.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)


@pytest.fixture
def slurm(tmp_path, monkeypatch):
    """Slurm's commands on PATH."""
    home = tmp_path / "slurm"
    home.mkdir()
    for name in ("sbatch", "srun", "sacct", "scancel", "scontrol"):
        link = home / name
        link.write_text(f"#!{sys.executable}\n" + (Path(__file__).with_name("fake_slurm.py")).read_text())
        link.chmod(link.stat().st_mode | stat.S_IEXEC)
    monkeypatch.setenv("PATH", f"{home}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("FAKE_SLURM", str(home))
    return home


def tree_of(epochs=3):
    return compose(
        ["data=digits", "data.digits.train=200", "model=linear", f"study.epochs={epochs}", *NOTHING, "regularizer=own_told:told"]
    )


def order(tree, key, **more):
    recipe = Space.of(tree).baseline()
    return Train(key=key, recipe=recipe, objective="val_accuracy", direction="maximize", **more)


def run(executor, tree, count):
    """The last events of so many trials."""
    for number in range(count):
        executor.submit(number, order(tree, str(number), keep=True))
    return [events[-1] for events in collect_events(executor, set(range(count))).values()]


@pytest.mark.parametrize(("cluster", "once"), [("local", False), ("local", True), ("debug", False)])
def test_trials_run_as_jobs(tmp_path, cluster, once):
    for name in "yaml", "submitit":  # which replace none of a job
        (tmp_path / f"{name}.py").write_text("open('canary', 'w').close()")
    tree, environment = tree_of(), dict(os.environ)
    executor = OnQueue({"tree": tree}, Store(tmp_path / "study"), Limits(workers=1), cluster, once, {"timeout_min": 10})
    try:
        ends = run(executor, tree, 2)
        assert dict(os.environ) == environment  # also while the jobs run
    finally:
        executor.close()
    assert {end.kind for end in ends} == {"finished"} and len({end.data["metrics"]["val_accuracy"] for end in ends}) == 1
    assert all(executor.store.has_weights(str(number)) for number in range(2))
    assert executor._count == (2 if once else 1)
    assert not executor._folder.exists()
    assert not (tmp_path / "canary").exists()


def test_on_slurm_an_array_of_workers_that_hide_it_from_their_trials(tmp_path, slurm):
    tree = tree_of()
    parameters = {"timeout_min": 10, "cpus_per_task": 1, "slurm_partition": "long", "slurm_array_parallelism": 2}
    executor = OnQueue({"tree": tree}, Store(tmp_path / "study"), Limits(workers=2), "slurm", False, parameters)
    try:
        assert {end.kind for end in run(executor, tree, 3)} == {"finished"}
    finally:
        executor.close()
    script = (slurm / "scripts").read_text()
    assert "--array=0-1%2" in script and "--partition=long" in script and script.count("#!/bin/bash") == 1
    assert "SEEN []" in executor.store.log("0").read_text()
    pickled = b"".join(path.read_bytes() for path in (tmp_path / "study" / "jobs").rglob("*submitted.pkl"))
    assert b"WorkerJob" in pickled and b"digits" not in pickled  # a command; the order is JSON


def test_a_job_that_slurm_preempts_ends_its_trial_as_preempted_and_comes_again(tmp_path, slurm):
    tree = tree_of(10**6)
    executor = OnQueue({"tree": tree}, Store(tmp_path / "study"), Limits(workers=1), "slurm", False, {"timeout_min": 600})
    try:
        executor.submit(0, order(tree, "0"))
        began = []

        def preempt(event):
            if not began:
                began.append(event)
                executor._links[0].job._interrupt()

        end = collect_events(executor, {0}, on_report=preempt)[0][-1]
        assert (end.kind, end.data["reason"]) == ("failed", "preempted")
        assert "told to end by SIGTERM; a checkpoint is kept after" in end.data["detail"]
        assert executor.store.checkpoints("0")
        tree = tree_of()
        executor.submit(1, order(tree, "1"))
        assert collect_events(executor, {1})[1][-1].kind == "finished"
        assert executor._count == 1  # the same job
    finally:
        executor.close()


def test_a_job_that_is_cancelled_or_silent_gives_up_its_trial(tmp_path, slurm, monkeypatch):
    monkeypatch.setattr(on_queue, "BEAT", 0.5)
    tree = tree_of(10**6)
    executor = OnQueue({"tree": tree}, Store(tmp_path / "study"), Limits(workers=1), "slurm", False, {"timeout_min": 600})
    try:
        for number, end in enumerate(["cancelled", "silent"]):
            executor.submit(number, order(tree, str(number)))
            done = []

            def stop(event, end=end, done=done):
                if not done:
                    done.append(event)
                    link = executor._hands[0].link
                    if end == "cancelled":
                        link.job.cancel()
                        link.job.watcher.clear()
                    else:
                        monkeypatch.setattr(on_queue, "LEASE", 3.0)
                        os.kill(int((slurm / f"{link.job.job_id}.pid").read_text()), signal.SIGSTOP)
                        for worker in workers(tmp_path):
                            os.kill(worker, signal.SIGSTOP)

            last = collect_events(executor, {number}, on_report=stop)[number][-1]
            assert last.data["reason"] == ("preempted" if end == "cancelled" else "lost"), last
    finally:
        for pid in [*workers(tmp_path), *(int(path.read_text()) for path in slurm.glob("*.pid"))]:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
        executor.close()


@pytest.mark.parametrize(
    ("state", "done", "beats", "seconds", "reason"),
    [
        ("CANCELLED by 1000", True, False, 10, "preempted"),
        ("NODE_FAIL", True, False, 10, "lost"),
        ("PREEMPTED", False, True, 10, None),
        ("PREEMPTED", False, True, 130, "preempted"),
        ("PENDING", False, False, 10**6, None),
        ("RUNNING", False, True, 130, None),
        ("RUNNING", False, True, 2000, "lost"),
    ],
)
def test_a_job_that_is_not_warm_is_given_up_by_its_state_or_its_silence(tmp_path, monkeypatch, state, done, beats, seconds, reason):
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    link = QueueLink(SimpleNamespace(job_id="12", state=state, done=lambda: done), tmp_path)
    if beats:
        (tmp_path / "beat").write_text("1")
        assert link.hear(busy=True) == []
    now[0] = float(seconds)
    if reason is None:
        assert link.hear(busy=True) == []
    else:
        with pytest.raises(Gone, match=r"job 12 has (ended: |not reported for 1800 s)") as caught:
            link.hear(busy=True)
        assert caught.value.problem.reason == reason


def test_a_job_whose_folder_is_gone_is_gone(tmp_path):
    link = QueueLink(SimpleNamespace(job_id="12"), tmp_path / "0")
    shutil.rmtree(tmp_path / "0")
    with pytest.raises(Gone, match=r"disk: its job 12 cannot be reached: .*No such file"):
        link.tell(Message({"do": "leave"}))
    assert not on_queue.has_post(link)


def test_a_folder_that_cannot_be_written_ends_the_search_in_one_line(tmp_path):
    executor = OnQueue({"tree": tree_of()}, Store(tmp_path / "study"), Limits(workers=1), "local", False, {"timeout_min": 10})
    shutil.rmtree(executor._folder)
    with pytest.raises(TemplateError, match=r"the last: disk: its folder cannot be written: .*No such file"):
        _ = executor.facts


def workers(folder):
    """The worker processes of a study."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().decode().split("\0")
        except OSError:
            continue
        if "autoopt.executor.mailbox" in words and any(str(folder) in word for word in words):
            found.append(int(path.parent.name))
    return found


def test_workers_of_a_dead_supervisor_leave_when_the_next_comes(tmp_path):
    tree = tree_of()
    store, setup = Store(tmp_path / "study"), {"tree": tree}
    first = OnQueue(setup, store, Limits(workers=1), "local", False, {"timeout_min": 10})
    assert first.facts and len(workers(tmp_path)) == 1
    old = workers(tmp_path)
    second = OnQueue(setup, store, Limits(workers=1), "local", False, {"timeout_min": 10})
    try:
        assert {end.kind for end in run(second, tree, 1)} == {"finished"}
        deadline = time.monotonic() + 60
        while set(old) & set(workers(tmp_path)) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert not set(old) & set(workers(tmp_path))
    finally:
        second.close()
        first._links.clear()
        first.close()


def test_what_cannot_be_used_is_told_in_one_line(tmp_path, slurm):
    setup = {"tree": tree_of()}
    with pytest.raises(BadInput, match=r"executor\.submitit\.mode=both: expected one of workers, trials"):
        module.submitit(setup, Store(tmp_path), Limits(), mode="both")
    with pytest.raises(BadInput, match=r"executor\.submitit: .*nowhere"):
        module.submitit(setup, Store(tmp_path), Limits(), cluster="nowhere")
    (slurm / "sbatch").write_text("#!/bin/sh\necho 'sbatch: error: invalid partition specified: nope' >&2\nexit 1\n")
    executor = module.submitit(setup, Store(tmp_path), Limits(), partition="nope")
    with pytest.raises(BadInput, match=r"executor=submitit: the queue refused a job: .*invalid partition specified: nope") as caught:
        _ = executor.facts
    assert "\n" not in str(caught.value)


def test_without_slurm_its_settings_are_refused_and_trials_run_here_only_with_a_word(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    setup = {"tree": tree_of()}
    for settings, line in (
        (
            {"partition": "gpu", "qos": "high"},
            "executor.submitit.partition=gpu executor.submitit.qos=high: there is no Slurm on this machine",
        ),
        ({"cluster": "slurm"}, "executor.submitit.cluster=slurm: there is no Slurm on this machine (no sbatch and srun on PATH); run"),
    ):
        with pytest.raises(BadInput, match=re.escape(line)):
            module.submitit(setup, Store(tmp_path), Limits(workers=1), **settings)
    for settings, told in (
        ({}, ["executor=submitit: there is no Slurm on this machine (no sbatch and srun on PATH), so the trials run on this machine"]),
        ({"cluster": "local", "partition": "gpu"}, []),
    ):
        executor = module.submitit(setup, Store(tmp_path), Limits(workers=1), **settings)
        executor.close()
        assert executor._told == told


def test_the_needs_of_a_trial_are_asked_of_slurm(tmp_path, slurm):
    limits = Limits(workers=1, gpus=2, processors=3)
    executor = module.submitit({"tree": tree_of()}, Store(tmp_path), limits, mem_gb=7, additional_parameters={"nice": 5})
    parameters = executor._queue._executor.parameters
    assert (parameters["gpus_per_node"], parameters["cpus_per_task"], parameters["mem"], parameters["time"]) == (2, 3, "7GB", 60)
    assert parameters["additional_parameters"] == {"nice": 5} and "partition" not in parameters
    executor.close()


def script(path, text):
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IEXEC)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("exit 3", "executor=submitit: the queue refused a job: sbatch exited with code 3"),
        ("sleep 1000", "executor=submitit: the queue does not answer: sbatch has not ended after 1 s"),
        ("echo no account >&2; exit 1", "executor=submitit: the queue refused a job: no account"),
    ],
)
def test_why_no_job_is_taken_is_told_once(tmp_path, slurm, monkeypatch, capfd, text, line):
    monkeypatch.setattr(on_queue, "ANSWER_TIME", 1.0)
    script(slurm / "sbatch", text)
    executor = module.submitit({"tree": tree_of()}, Store(tmp_path / "study"), Limits(workers=1))
    with pytest.raises(BadInput) as caught:
        _ = executor.facts
    assert (str(caught.value), capfd.readouterr().err) == (line, "")


def test_a_queue_that_takes_no_further_job_for_a_while_ends_no_search(tmp_path, slurm):
    real, tree = (slurm / "sbatch").read_text(), tree_of()
    executor = OnQueue({"tree": tree}, Store(tmp_path / "study"), Limits(workers=1), "slurm", True, {"timeout_min": 10})
    try:
        assert run(executor, tree, 1)[0].kind == "finished"
        script(slurm / "sbatch", "echo Socket timed out >&2; exit 1")
        executor.submit(1, order(tree, "1"))
        assert list(executor.events(0)) == [] and executor._broken == 1
        (slurm / "sbatch").write_text(real)
        assert collect_events(executor, {1})[1][-1].kind == "finished"
    finally:
        executor.close()


@pytest.mark.parametrize("text", ["sleep 1000", "echo 'sacct: error: slurmdbd: Connection refused' >&2; exit 1"])
def test_a_search_needs_neither_sacct_nor_scancel(tmp_path, slurm, monkeypatch, capfd, text):
    monkeypatch.setattr(on_queue, "ANSWER_TIME", 1.0)
    monkeypatch.setattr(on_queue, "BEAT", 0.5)
    script(slurm / "sacct", text)
    (slurm / "scancel").unlink()
    tree = tree_of()
    executor = OnQueue({"tree": tree}, Store(tmp_path / "study"), Limits(workers=1), "slurm", False, {"timeout_min": 10})
    try:
        assert run(executor, tree, 1)[0].kind == "finished"
    finally:
        executor.close()
    assert "Bypassing" not in "".join(capfd.readouterr())
