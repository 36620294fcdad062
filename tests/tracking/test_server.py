"""The pages that `autoopt ui` serves."""

import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from threading import Thread

import pytest
from processes import alive

from autoopt.errors import BadInput
from autoopt.tracking import Tracker, ui
from autoopt.tracking.server import free_port, show, without_credentials
from autoopt.tracking.spool import spool_name
from autoopt.tracking.view import view_name


def test_no_store(tmp_path):
    with pytest.raises(BadInput, match=r"no MLflow store at .*/none.db: run `autoopt search` first"):
        ui(f"sqlite:///{tmp_path}/none.db")


def test_no_server():
    with pytest.raises(BadInput, match=r"No MLflow server answers at http://127.0.0.1:\d+"):
        ui(f"http://user:word@127.0.0.1:{free_port()}")


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (b"HTTP/1.0 200 OK\r\n\r\n<html>", "What answers at {} is no MLflow server."),
        (b"HTTP/1.0 200 OK\r\n\r\n[]", "What answers at {} is no MLflow server."),
        (b"SSH-2.0-OpenSSH_9.6\r\n", "No MLflow server answers at {}: SSH-2.0-OpenSSH_9.6."),
        (b"", "No MLflow server answers at {}: timed out."),
    ],
)
def test_another_server(said, told, monkeypatch):
    """Such as a proxy, a port of ssh, or a server that hangs."""
    monkeypatch.setattr("autoopt.tracking.server.ANSWER", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"http://127.0.0.1:{listener.getsockname()[1]}"
        answering = Thread(target=answer, args=(listener, said))
        answering.start()
        with pytest.raises(BadInput, match=f"^{re.escape(told.format(address))}$"):
            ui(address)
        answering.join()


def answer(listener, said):
    """Read a request and say this; or say nothing until the other has gone."""
    connection, _ = listener.accept()
    with connection:
        connection.recv(65536)
        connection.sendall(said) if said else connection.recv(1)


def test_credentials_are_not_shown():
    assert without_credentials("http://user:word@host:1/") == "http://host:1" and without_credentials("http://host") == "http://host"


@pytest.mark.slow
def test_the_page_of_the_training_runs(folder, store, tmp_path, capsys):
    tracker = Tracker(folder, uri=store, experiment="digits")
    tracker.study("s", {}, {}, view={"name": "s", "objective": "val_loss", "direction": "minimize", "searched": ["lr"]})
    assert tracker.close(60) == 0
    view = view_name(spool_name(folder))
    heard = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"  # which tests in the background ignore
    script = f"{heard}; from autoopt.tracking import ui; raise SystemExit(ui({store!r}, None, experiment='digits', view={view!r}))"
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, cwd=tmp_path)
    table, charts, end = (process.stdout.readline() for _ in range(3))
    leaderboard = table.strip().removeprefix("leaderboard: ")
    assert leaderboard.endswith(f"/#/experiments/1/runs?workflowType=machine_learning&viewStateShareKey={view}")
    assert charts == f"charts: {leaderboard}&compareRunsMode=CHART\n" and end == "Ctrl-C ends it\n"
    address = leaderboard.partition("/#")[0]
    assert address.startswith("http://127.0.0.1:")
    with urllib.request.urlopen(address) as answer:
        assert answer.status == 200
    show(address, "digits", None)
    show(address, "digits", "autoopt-other")
    show(address, "other", None)
    runs = f"{address}/#/experiments/1/runs?workflowType=machine_learning"
    assert capsys.readouterr().out.splitlines() == [runs, runs, f"{address}/#/experiments"]
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 0
    with pytest.raises(OSError):
        urllib.request.urlopen(address)


SERVING = """
import signal, subprocess, time
from autoopt.tracking.server import guarded
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # which tests under nohup ignore
server = subprocess.Popen(["sh", "-c", "sleep 300 & echo $!; wait"], stdout=subprocess.PIPE, start_new_session=True)
guard = guarded(server)
print(server.pid, int(server.stdout.readline()), flush=True)
time.sleep(300)
"""


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGKILL])
def test_the_server_and_its_workers_end_with_a_command_that_is_killed(number):
    process = subprocess.Popen([sys.executable, "-c", SERVING], stdout=subprocess.PIPE, text=True)
    pids = process.stdout.readline().split()
    assert len(pids) == 2
    process.send_signal(number)
    assert process.wait(10) == -number
    deadline = time.monotonic() + 60
    while any(map(alive, pids)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(map(alive, pids))


@pytest.mark.slow
def test_a_store_that_is_none(tmp_path):
    (tmp_path / "mlflow.db").write_text("this is no database" * 100)
    with pytest.raises(BadInput, match=r"did not start on port \d+. Its log ends with:\n(.|\n)*not a database"):
        ui(f"sqlite:///{tmp_path}/mlflow.db")


def test_a_port_in_use(tmp_path):
    (tmp_path / "mlflow.db").touch()
    with socket.create_server(("127.0.0.1", 0)) as listener, pytest.raises(BadInput, match=r"port=\d+ is in use"):
        ui(f"sqlite:///{tmp_path}/mlflow.db", listener.getsockname()[1])
