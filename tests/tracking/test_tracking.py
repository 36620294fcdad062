"""The mirror against a real MLflow store: everything arrives, once, whoever dies."""

import errno
import json
import math
import os
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time

import pytest
from mlflow import MlflowClient
from processes import alive

from autoopt import tracking
from autoopt.errors import BadInput
from autoopt.process.log import HEAD, TAIL
from autoopt.tracking import Records, Tracker, end_runs, experiment_name, store_uri, write_spool
from autoopt.tracking.server import free_port
from autoopt.tracking.spool import Destination, Spool, is_closed, spool_name, sqlite_file, target
from autoopt.tracking.view import VIEW_KEY, view_name

METRICS = {"val_accuracy": 0.5, "val_loss": 1.0, "train_loss": 2.0, "lr": 0.1}

pytestmark = pytest.mark.slow
forked = pytest.mark.usefixtures("forked_writers")


def start(folder, store) -> Tracker:
    tracker = Tracker(folder, uri=store, experiment="digits")
    tracker.study("digits-cnn", {"trials": 3}, {"autoopt.study": "digits-cnn"})
    return tracker


def train(tracker, number, epochs=20, status="FINISHED"):
    tracker.trial(number, f"{number:03} adamw", {"lr": 0.1}, {"autoopt.stage": "search"})
    for step in range(1, epochs + 1):
        tracker.epoch(number, step, METRICS, time.time())
    if status:
        tracker.end(number, status, {"objective": 0.9}, {"autoopt.state": "complete"})


def runs(store, role="trial") -> list:
    client = MlflowClient(store)
    experiment = client.get_experiment_by_name("digits").experiment_id
    found = client.search_runs([experiment], f"tags.`autoopt.role` = '{role}'", max_results=1000)
    return sorted(found, key=lambda run: run.info.run_name)


def points(store, run, metric="val_loss") -> list[int]:
    return [point.step for point in MlflowClient(store).get_metric_history(run.info.run_id, metric)]


def drain(folder) -> tuple[int, str]:
    """The exit code of a writer without a supervisor, and what it says."""
    before = len(log(folder))
    return tracking.start_writer(folder, {}).wait(60), log(folder)[before:]


def log(folder) -> str:
    return (folder / "tracking.log").read_text()


def test_a_study_is_a_run_and_its_trials_are_runs_under_it(folder, store, tmp_path):
    report = tmp_path / "report.html"
    report.write_text("<p>good</p>")
    best = tmp_path / "best"
    best.mkdir()
    (best / "recipe.yaml").write_text("lr: 1")
    tracker = start(folder, store)
    train(tracker, 0)
    train(tracker, 1, status="KILLED")
    train(tracker, 2, status=None)
    tracker.note("**adamw** won")
    tracker.artifacts(report)
    tracker.artifacts(best)
    tracker.conclude("FINISHED", {"gain": 0.2}, {"autoopt.state": "concluded"}, {"winner": 1})
    assert tracker.close(60) == 0

    (parent,) = runs(store, "study")
    assert parent.info.status == "FINISHED" and parent.info.run_name == "digits-cnn"
    assert parent.data.tags["mlflow.note.content"] == "**adamw** won"
    assert parent.data.params == {"trials": "3", "winner": "1"} and parent.data.metrics == {"gain": 0.2}
    assert (tmp_path / "mlruns" / parent.info.run_id / "artifacts" / "report.html").read_text() == "<p>good</p>"
    assert (tmp_path / "mlruns" / parent.info.run_id / "artifacts" / "best" / "recipe.yaml").exists()
    trials = runs(store)
    assert [run.info.status for run in trials] == ["FINISHED", "KILLED", "RUNNING"]
    assert {run.data.tags["mlflow.parentRunId"] for run in trials} == {parent.info.run_id}
    assert trials[0].data.metrics == METRICS | {"objective": 0.9} and trials[0].data.params == {"lr": "0.1"}
    assert trials[0].data.tags["autoopt.state"] == "complete"
    assert points(store, trials[0]) == list(range(1, 21)) and points(store, trials[0], "objective") == [0]
    assert trials[0].info.end_time >= trials[0].info.start_time


@forked
def test_a_writer_that_cannot_be_started_again_ends_no_search(folder, store, monkeypatch):
    tracker = start(folder, store)
    os.kill(tracker._writer.pid, signal.SIGKILL)
    tracker._writer.wait()
    monkeypatch.setattr(tracking, "REVIVE", 0)

    def full(*_):
        raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")

    monkeypatch.setattr(tracking, "start_writer", full)
    train(tracker, 0, epochs=5)
    assert tracker.close(1) > 0


@forked
def test_killed_writers_lose_and_double_nothing(folder, store):
    """They are killed between the creation of runs and the state that would tell of it."""
    tracker = start(folder, store)
    for number in range(60):
        train(tracker, number, epochs=5)
    for done in (1, 12, 30):
        while count(store) < done:
            assert tracker._writer.poll() is None, "it writes on"
            time.sleep(0.005)
        os.kill(tracker._writer.pid, signal.SIGKILL)
        tracker._writer.wait()
        tracker._start()
    assert tracker.close(60) == 0
    trials = runs(store)
    assert len(trials) == 60 and len(runs(store, "study")) == 1
    assert all(points(store, run) == [1, 2, 3, 4, 5] for run in trials)
    assert {run.info.status for run in trials} == {"FINISHED"}


def count(store) -> int:
    with sqlite3.connect(store.removeprefix("sqlite:///")) as database:
        return database.execute("select count(*) from runs").fetchone()[0]


@forked
def test_a_lost_state_repeats_the_spool_and_doubles_nothing(folder, store):
    tracker = start(folder, store)
    train(tracker, 0)
    assert tracker.close(60) == 0
    (folder / "tracking.json").write_text("{torn")
    code, said = drain(folder)
    assert code == 0 and "0 records are not written yet" in said
    (trial,) = runs(store)
    assert points(store, trial) == list(range(1, 21)) and len(runs(store, "study")) == 1


@forked
def test_a_resumed_study_and_a_trial_run_again_go_on_with_their_runs(folder, store):
    tracker = start(folder, store)
    train(tracker, 0, epochs=2, status=None)
    assert tracker.close(60) == 0
    tracker = start(folder, store)
    tracker.trial(0, "000 adamw", {"lr": 0.7, "new": 1}, {"autoopt.stage": "search"})
    tracker.epoch(0, 3, METRICS, time.time())
    tracker.end(0, "FAILED", {}, {})
    assert tracker.close(60) == 0
    (trial,) = runs(store)
    assert trial.info.status == "FAILED" and points(store, trial) == [1, 2, 3]
    assert trial.data.params == {"lr": "0.1", "new": "1"} and log(folder) == ""
    assert len(runs(store, "study")) == 1


@forked
@pytest.mark.parametrize("session", ["the same", "the next"])
def test_a_trial_begun_again_has_each_epoch_once(folder, store, session):
    """It died, with its session or with its template, and what it measures now may differ in the last digit."""
    tracker = start(folder, store)
    train(tracker, 0, epochs=3, status=None)
    if session == "the next":
        assert tracker.close(60) == 0
        tracker = start(folder, store)
        tracker.trial(0, "000 adamw", {"lr": 0.1}, {"autoopt.stage": "search"})
    for step in range(1, 6):
        tracker.epoch(0, step, METRICS | {"val_loss": 1.0 + 1e-6}, time.time() + 5)
    tracker.end(0, "FINISHED", {"objective": 0.9}, {})
    assert tracker.close(60) == 0
    (trial,) = runs(store)
    assert points(store, trial) == [1, 2, 3, 4, 5] and points(store, trial, "objective") == [0]
    assert trial.info.status == "FINISHED"


@forked
def test_a_store_that_was_deleted_gets_the_whole_study(folder, store, template):
    tracker = start(folder, store)
    train(tracker, 0)
    assert tracker.close(60) == 0
    shutil.copy(template, store.removeprefix("sqlite:///"))
    tracker = start(folder, store)
    train(tracker, 1)
    assert tracker.close(60) == 0
    (parent,) = runs(store, "study")
    trials = runs(store)
    assert [points(store, run) for run in trials] == [list(range(1, 21))] * 2
    assert {run.data.tags["mlflow.parentRunId"] for run in trials} == {parent.info.run_id}


@forked
def test_torn_and_spoilt_lines(folder, store):
    tracker = start(folder, store)
    train(tracker, 0)
    assert tracker.close(60) == 0
    with (folder / "tracking.jsonl").open("ab") as spool:
        spool.write(b'{"key": "1", "time": "x"\n{"key": "0", "time": 17')
    tracker = start(folder, store)
    train(tracker, 1)
    assert tracker.close(60) == 0
    assert len(runs(store)) == 2 and "left out" in log(folder)
    whole = [line for line in (folder / "tracking.jsonl").read_text().splitlines() if line.startswith('{"key": "0"')]
    assert all(json.loads(line) for line in whole)


@forked
def test_the_log_of_a_writer_keeps_its_head_and_its_tail_also_if_it_is_killed(folder, store):
    tracker = start(folder, store)
    with (folder / "tracking.jsonl").open("ab") as spool:
        spool.write(b'{"key": "1", "time": "x"\n' * 100_000)
    path = folder / "tracking.log"
    until = time.monotonic() + 60
    while path.stat().st_size < HEAD or b"bytes left out" not in path.read_bytes()[HEAD:][:99]:
        assert time.monotonic() < until
        time.sleep(0.05)
    os.kill(tracker._writer.pid, signal.SIGKILL)
    tracker._writer.wait()
    assert HEAD + TAIL <= path.stat().st_size <= HEAD + 3 * TAIL
    assert re.match(rb".* spool, line before byte \d+: left out: .*\n", path.read_bytes())
    tracker.close(0)


@forked
def test_what_mlflow_would_refuse_or_change(folder, store):
    tracker = start(folder, store)
    tracker.trial("a/../b'", "x" * 999, {"long": "y" * 9000, "what?": 1, "/../": 2}, {"t" * 300: "z" * 9000})
    tracker.note("\ud800 \0")
    tracker.trial(1, "many", {f"p{i}": i for i in range(250)}, {f"t{i}": i for i in range(250)})
    tracker.epoch(1, 1, {f"m{i}": i for i in range(2500)}, time.time())
    tracker.epoch(1, 2, {"m0": math.inf, "m1": math.nan, "m2": -math.inf, "m3": 3.5}, time.time())
    tracker.epoch(1, 2**80, {"m4": 1.0}, time.time())
    tracker.end(1, "NO SUCH STATUS", {}, {})
    tracker.artifacts(folder / "missing")
    train(tracker, 2)
    assert tracker.close(60) == 0

    by_name = {run.info.run_name: run for run in runs(store, "trial")}
    odd = by_name["x" * (250 - len(" … [cut]")) + " … [cut]"].data
    assert len(odd.params["long"]) == 6000 and odd.params["long"].endswith("[cut]")
    assert odd.params["what_"] == "1" and odd.params["_"] == "2"
    assert len(odd.tags["t" * 250]) == 8000
    many = by_name["many"].data
    assert len(many.params) == 250 and len(many.metrics) == 2500 and many.tags["t249"] == "249"
    assert (many.metrics["m0"], many.metrics["m1"], many.metrics["m2"], many.metrics["m3"]) == (0, 1, 2, 3.5)
    assert many.tags["autoopt.nonfinite.m0"] == "inf at step 2"
    assert many.tags["autoopt.nonfinite.m1"] == "nan at step 2"
    assert by_name["002 adamw"].info.status == "FINISHED"
    assert "m4 of run" in log(folder) and "missing" in log(folder)


@forked
def test_a_dead_server_costs_the_search_nothing(folder, tmp_path):
    tracker = start(folder, f"http://canary:secret-word@127.0.0.1:{free_port()}")
    began = time.perf_counter()
    for number in range(50):
        train(tracker, number)
    assert (time.perf_counter() - began) / (50 * 22) < 1e-3
    began = time.perf_counter()
    while "cannot be reached" not in log(folder):
        time.sleep(0.1)
    assert tracker.close() == 1 + 50 * 22
    assert time.perf_counter() - began < 25
    written = b"".join(path.read_bytes() for path in folder.iterdir())
    assert b"secret-word" not in written and b"canary:***@" in written
    code, said = drain(folder)
    assert code == 2 and "MLFLOW_TRACKING_URI" in said


@forked
def test_a_server_that_comes_back(folder, store, tmp_path):
    """What was said while it was away arrives when it is back, once."""
    port = free_port()
    tracker = start(folder, f"http://127.0.0.1:{port}")
    for number in range(5):
        train(tracker, number)
    quiet = os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", store, "--port", str(port)]
    while "cannot be reached" not in (folder / "tracking.log").read_text():
        time.sleep(0.1)
    server = subprocess.Popen([*command, "--workers", "1"], env=quiet, cwd=tmp_path, start_new_session=True)
    try:
        until = time.monotonic() + 90
        while not (folder / "tracking.json").exists() and time.monotonic() < until:
            time.sleep(0.2)
        assert tracker.close(60) == 0
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()
    trials = runs(store)
    assert len(trials) == 5 and all(points(store, run) == list(range(1, 21)) for run in trials)


def test_the_writer_goes_when_its_supervisor_is_killed(folder, store):
    script = f"""if True:
        import os, pathlib, time
        from autoopt.tracking import Tracker
        tracker = Tracker(pathlib.Path({str(folder)!r}), uri={store!r}, experiment="digits")
        tracker.study("s", {{}}, {{}})
        tracker.trial(0, "t", {{}}, {{}})
        while not (pathlib.Path({str(folder)!r}) / "tracking.json").exists():
            time.sleep(0.1)
        print(tracker._writer.pid, flush=True)
        time.sleep(60)"""
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as supervisor:
        writer = int(supervisor.stdout.readline())
        supervisor.kill()
    until = time.monotonic() + 60
    while alive(writer) and time.monotonic() < until:
        time.sleep(0.1)
    assert not alive(writer)
    (trial,), (study,) = runs(store), runs(store, "study")
    assert (trial.info.status, study.info.status, study.data.tags["autoopt.state"]) == ("KILLED", "KILLED", "unfinished")
    tracker = start(folder, store)
    tracker.conclude("FINISHED", {}, {})
    assert tracker.close(60) == 0
    assert runs(store, "study")[0].info.status == "FINISHED"


@forked
def test_the_runs_of_a_study_that_died_with_its_writer_end_when_the_next_command_sees_it(folder, store):
    tracker = start(folder, store)
    train(tracker, 0)
    train(tracker, 1, status="")
    until = time.monotonic() + 60
    while "1" not in (json.loads((folder / "tracking.json").read_text())["live"] if (folder / "tracking.json").exists() else ()):
        assert time.monotonic() < until
        time.sleep(0.1)
    tracker._writer.kill()
    tracker._writer.wait()
    assert [run.info.status for run in runs(store)] == ["FINISHED", "RUNNING"]
    state = (folder / "tracking.json").read_text()
    (folder / "tracking.json").write_text(state.replace("mlflow.db", "other.db"))
    end_runs([folder])
    assert log(folder) == "", "the runs are in another store"
    (folder / "tracking.json").write_text(state)
    end_runs([folder.parent / "none", folder])
    while not is_closed(folder) and time.monotonic() < until:
        time.sleep(0.1)
    assert [run.info.status for run in (*runs(store), *runs(store, "study"))] == ["FINISHED", "KILLED", "KILLED"]
    assert runs(store)[1].data.tags["autoopt.state"] == "unfinished"
    size = (folder / "tracking.log").stat().st_mtime_ns
    end_runs([folder])
    assert (folder / "tracking.log").stat().st_mtime_ns == size, "nothing starts for a study that has been ended"
    again = start(folder, store)
    again.conclude("FINISHED", {}, {})
    assert again.close(60) == 0 and runs(store, "study")[0].info.status == "FINISHED"


@forked
def test_a_measurement_after_its_training_does_not_lengthen_the_run(folder, store):
    tracker = start(folder, store)
    tracker.trial(0, "000 adamw", {}, {}, 1000.0)
    tracker.end(0, "FINISHED", {"objective": 0.9}, {}, 1005.0)
    tracker.measured(0, {"test_accuracy": 0.8}, 2000.0)
    assert tracker.close(60) == 0
    (run,) = runs(store)
    assert (run.info.start_time, run.info.end_time, run.data.metrics["test_accuracy"]) == (1_000_000, 1_005_000, 0.8)


@forked
def test_a_run_is_renamed_before_and_after_it_is_written(folder, store):
    tracker = start(folder, store)
    train(tracker, 0)
    tracker.rename(0, "★ 000 adamw")
    assert tracker.close(60) == 0
    assert [run.info.run_name for run in runs(store)] == ["★ 000 adamw"]
    tracker = start(folder, store)
    tracker.rename(0, "000 adamw")
    assert tracker.close(60) == 0
    assert [run.info.run_name for run in runs(store)] == ["000 adamw"]


@forked
def test_a_store_that_has_the_runs_gets_only_what_they_lack(folder, store, tmp_path):
    tracker = start(folder, store)
    train(tracker, 0, epochs=3)
    assert tracker.close(60) == 0
    other = tmp_path / "anew"
    other.mkdir()
    target = Destination(spool_name(folder), store, "digits")
    records = Records(other, target)
    records.study("digits-cnn", {}, {})
    train(records, 0, epochs=5)
    assert records.close() == 0 and write_spool(other, target) == ""
    (run,) = runs(store)
    assert points(store, run) == [1, 2, 3, 4, 5] and points(store, run, "objective") == [0]


@forked
def test_what_a_store_refuses_is_told(folder, tmp_path):
    target = Destination("abc", f"http://127.0.0.1:{free_port()}", "digits")
    records = Records(folder, target)
    records.study("s", {}, {})
    records.close()
    assert re.match(r"1 records; .* MLflow cannot be reached: .*refused", write_spool(folder, target))


@forked
def test_a_study_saves_its_leaderboard_and_links_it(folder, store):
    view = {"name": "s", "objective": "val_loss", "direction": "minimize", "searched": ["optimizer", "lr"]}
    tracker = Tracker(folder, uri=store, experiment="digits")
    tracker.study("s", {}, {}, view=view)
    assert tracker.close(60) == 0
    client, (run,), key = MlflowClient(store), runs(store, "study"), view_name(spool_name(folder))
    experiment = client.get_experiment_by_name("digits")
    saved = json.loads(experiment.tags[VIEW_KEY.format(key)])
    state = json.loads(saved["state"])
    assert (saved["name"], saved["createdAt"]) == ("s", run.info.start_time)
    assert state["searchFilter"] == f"tags.`mlflow.parentRunId` = '{run.info.run_id}' and tags.`autoopt.stage` = 'search'"
    assert (state["orderByKey"], state["orderByAsc"]) == ("metrics.`objective`", True)
    assert client.search_runs([experiment.experiment_id], state["searchFilter"]) == []
    link = f"#/experiments/{experiment.experiment_id}/runs?workflowType=machine_learning&viewStateShareKey={key}"
    assert experiment.tags["mlflow.note.content"] == f"Training runs of autoopt. [Leaderboard of s]({link})"


@forked
def test_a_verdict_that_stays_is_one_point(folder, store):
    for gains in ([0.5], [0.5, 0.6]):
        tracker = start(folder, store)
        for gain in gains:
            tracker.conclude("FINISHED", {"gain": gain}, {})
        assert tracker.close(60) == 0
    (study,) = runs(store, "study")
    assert [point.value for point in MlflowClient(store).get_metric_history(study.info.run_id, "gain")] == [0.5, 0.6]


@forked
def test_a_server_that_hangs_holds_the_command_for_ten_seconds_at_most(folder):
    with socket.create_server(("127.0.0.1", 0)) as server:  # it takes connections, and never answers
        tracker = start(folder, f"http://127.0.0.1:{server.getsockname()[1]}")
        for number in range(5):
            train(tracker, number)
        began = time.monotonic()
        assert tracker.close() == 1 + 5 * 22
        assert time.monotonic() - began <= 10.5
        until = time.monotonic() + 60  # it may still have been importing MLflow
        while alive(tracker._writer.pid) and time.monotonic() < until:
            time.sleep(0.1)
        assert not alive(tracker._writer.pid)


@forked
def test_one_writer_at_a_time(folder, store):
    tracker = start(folder, store)
    while not (folder / "tracking.json").exists():
        time.sleep(0.1)
    code, said = drain(folder)
    assert code == 2 and "another writer" in said
    os.kill(tracker._writer.pid, signal.SIGKILL)
    tracker._writer.wait()
    train(tracker, 0)
    tracker._started -= 100  # long enough ago for the tracker to look after its writer
    train(tracker, 1)
    assert tracker._writer.poll() is None
    assert tracker.close(60) == 0 and len(runs(store)) == 2


@forked
def test_another_store_gets_the_whole_study(folder, store, template, tmp_path):
    tracker = start(folder, store)
    train(tracker, 0)
    assert tracker.close(60) == 0
    other = tmp_path / "other" / "new.db"
    tracker = start(folder, f"sqlite:///{other}")
    assert tracker.close(60) == 0
    assert points(f"sqlite:///{other}", runs(f"sqlite:///{other}")[0]) == list(range(1, 21))


@forked
def test_a_full_disk_loses_nothing(folder, store, monkeypatch):
    tracker = start(folder, store)
    write, full = os.write, True

    def half(file: int, data: bytes) -> int:
        if full and len(data) < 40:
            raise OSError(28, "No space left on device")
        return write(file, data[: len(data) // 2] if full else data)

    monkeypatch.setattr(os, "write", half)
    train(tracker, 0)
    full = False
    assert tracker.close(60) == 0
    (trial,) = runs(store)
    assert points(store, trial) == list(range(1, 21))


def test_the_address_and_the_experiment(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.delenv("MLFLOW_EXPERIMENT_NAME", raising=False)
    assert store_uri(None) == f"sqlite:///{tmp_path}/mlflow.db"
    assert store_uri("sqlite:///a/b.db") == f"sqlite:///{tmp_path}/a/b.db"
    assert store_uri("http://host:1") == "http://host:1"
    assert experiment_name(None, "name") == "name"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://there")
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "mine")
    assert store_uri(None) == "http://there" and store_uri("sqlite:////x.db") == "sqlite:////x.db"
    assert experiment_name(None, "name") == "mine" and experiment_name("given", "name") == "given"
    with pytest.raises(BadInput, match=r"tracking.uri=./mlruns: .* use sqlite"):
        store_uri("./mlruns")
    with pytest.raises(BadInput, match=r"tracking.uri=foo://x: expected one of sqlite:, postgresql:"):
        store_uri("foo://x")
    with pytest.raises(BadInput, match=r"tracking.uri=\*\*\*: expected an address, such as sqlite:///mlflow.db or http://\[::1\]:5000$"):
        store_uri("http://[x")
    assert store_uri("mysql+pymysql://host/db") == "mysql+pymysql://host/db" and store_uri("databricks") == "databricks"


@forked
@pytest.mark.parametrize("name", ["a b", "why? c# 100% what%3F"])
def test_a_folder_of_any_name_keeps_its_own_store(folder, template, monkeypatch, tmp_path, name):
    (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / name)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    shutil.copy(template, "mlflow.db")
    before = sorted(path.name for path in tmp_path.iterdir())
    tracker = start(folder, None)
    assert tracker.close(60) == 0 and sorted(path.name for path in tmp_path.iterdir()) == before
    assert len(runs("sqlite:///mlflow.db", "study")) == 1  # as plain `mlflow ui` finds it in that folder
    assert sqlite_file(store_uri(None)) == tmp_path / name / "mlflow.db" == sqlite_file(store_uri(store_uri(None)))


def test_no_spool_is_said(tmp_path):
    done = subprocess.run([sys.executable, "-m", "autoopt.tracking", tmp_path], capture_output=True, text=True)
    assert done.returncode == 2 and "nothing to write" in done.stderr


def test_the_supervisor_never_imports_mlflow():
    script = "import sys, autoopt.tracking; sys.exit('mlflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script]).returncode == 0


@pytest.mark.parametrize("first", [b"", b"{", b"[1]", b"\xff\x00", b'{"spool":' + b"[" * 99_999])
def test_a_spool_whose_first_line_is_spoilt_is_gone_on_with(tmp_path, first):
    (tmp_path / "tracking.jsonl").write_bytes(first + b"\n{}\n")
    assert spool_name(tmp_path) == ""
    spool = Spool(tmp_path / "tracking.jsonl")
    spool.append({"key": "1"})
    assert spool.close() == 0
    if first.startswith(b'{"spool"'):
        with pytest.raises(BadInput, match=rf"tracking\.jsonl is damaged: autoopt report {tmp_path.name} --mirror writes the runs anew"):
            target(tmp_path)


@forked
def test_a_store_that_is_no_database_is_told_in_one_line(folder, tmp_path):
    (tmp_path / "mlflow.db").write_text("garbage" * 100, encoding="utf-8")
    target = Destination("abc", f"sqlite:///{tmp_path}/mlflow.db", "digits")
    records = Records(folder, target)
    records.study("s", {}, {})
    records.close()
    said = write_spool(folder, target)
    assert len(said.strip().splitlines()) <= 2 and re.search(r"MLflow cannot be reached: .*file is not a database", said), said
