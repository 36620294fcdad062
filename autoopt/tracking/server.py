"""MLflow's pages on a store: served on this machine only, without jobs and telemetry, opened on the training runs."""

import errno
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from http.client import HTTPException
from typing import IO, Any
from urllib.error import HTTPError
from urllib.parse import quote, urlsplit
from urllib.request import urlopen

from autoopt.errors import BadInput, one_line
from autoopt.tracking.spool import SQLITE, redacted, secrets, sqlite_file
from autoopt.tracking.view import VIEW_KEY, runs_page

HOST, PATIENCE, GRACE, ANSWER = "127.0.0.1", 120.0, 10.0, 10.0
QUIET_ENVIRONMENT = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}


def ui(uri: str, port: int | None = None, *, experiment: str | None = None, view: str | None = None) -> int:
    """Print the address of the training runs, and serve the store until Ctrl-C, unless a server serves it already.

    Args:
        experiment: the experiment to show; else the page lists all experiments.
        view: the name of a study's leaderboard in it.

    Raises:
        BadInput: there is no store, the port is in use, or the server does not start.
    """
    if urlsplit(uri).scheme in ("http", "https"):
        show(without_credentials(uri), experiment, view)
        return 0
    path = sqlite_file(uri)
    if uri.startswith(SQLITE) and not path.is_file():
        raise BadInput(f"There is no MLflow store at {path}: run `autoopt search` first, or name another store.")
    if port and taken(port):
        raise BadInput(f"port={port} is in use; name another port, or leave port= out for a free one")
    print("starting MLflow's server, which takes about 10 seconds", file=sys.stderr, flush=True)
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)  # the server must not outlive us
    try:
        with tempfile.TemporaryFile() as log:
            return serve_ui(uri, port or free_port(), experiment, view, log)
    finally:
        signal.signal(signal.SIGTERM, before)


def serve_ui(uri: str, port: int, experiment: str | None, view: str | None, log: IO[bytes]) -> int:
    """Run MLflow's server until it ends or Ctrl-C; raises BadInput if it does not start."""
    command = [sys.executable, "-P", "-m", "mlflow", "server", "--host", HOST, "--port", str(port), "--workers", "1"]
    # The address is in the environment, since everybody on the machine can read a command line.
    environment = os.environ | QUIET_ENVIRONMENT | {"MLFLOW_BACKEND_STORE_URI": uri}
    server = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
    guard = guarded(server)
    try:
        if not answers(f"http://{HOST}:{port}", server):
            log.seek(0)
            tail = redacted(log.read().decode(errors="replace")[-2000:], secrets(uri))
            raise BadInput(f"The MLflow server did not start on port {port}. Its log ends with:\n{tail}")
        show(f"http://{HOST}:{port}", experiment, view)
        print("Ctrl-C ends it", flush=True)
        return server.wait()
    except KeyboardInterrupt:
        return 0
    finally:
        stop(server)
        guard.kill()
        guard.wait()


def guarded(server: subprocess.Popen[bytes]) -> subprocess.Popen[bytes]:
    """A process that ends the server with its workers once this process is gone, even killed: its input then ends."""
    group = f"-- -{server.pid}"
    script = f"read _; kill {group}; sleep {GRACE:g}; kill -9 {group}"
    return subprocess.Popen(["sh", "-c", script], stdin=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True)


def answers(address: str, server: subprocess.Popen[bytes]) -> bool:
    """Wait until the server answers (10 to 20 s); it must be alive too, since another process may use the port."""
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until and server.poll() is None:
        try:
            with urlopen(f"{address}/health", timeout=2):
                return server.poll() is None
        except OSError:
            time.sleep(0.2)
    return False


def show(address: str, experiment: str | None, view: str | None) -> None:
    """Print the addresses of the pages: of the study's leaderboard and its charts, where the experiment has them.

    Raises:
        BadInput: no server answers.
    """
    found = experiment_of(address, experiment)
    if found is None:
        print(f"{address}/#/experiments", flush=True)
    elif view and any(tag["key"] == VIEW_KEY.format(view) for tag in found.get("tags", ())):
        leaderboard = f"{address}/#{runs_page(found['experiment_id'], view)}"
        print(f"leaderboard: {leaderboard}\ncharts: {leaderboard}&compareRunsMode=CHART", flush=True)
    else:
        print(f"{address}/#{runs_page(found['experiment_id'])}", flush=True)


def experiment_of(address: str, name: str | None) -> dict[str, Any] | None:
    """An experiment by its name; `None` where there is no such experiment, or no right to see it.

    Raises:
        BadInput: no server answers.
    """
    query = f"{address}/api/2.0/mlflow/experiments/get-by-name?experiment_name={quote(name or '')}"
    try:
        with urlopen(query, timeout=ANSWER) as answer:
            return dict(json.load(answer)["experiment"])
    except HTTPError:
        return None
    except (OSError, HTTPException) as error:
        raise BadInput(f"No MLflow server answers at {address}: {one_line(getattr(error, 'reason', error)):.200}.") from error
    except (ValueError, KeyError, TypeError) as error:
        raise BadInput(f"What answers at {address} is no MLflow server.") from error


def without_credentials(uri: str) -> str:
    return uri.replace(f"//{urlsplit(uri).netloc.rpartition('@')[0]}@", "//").rstrip("/")


def taken(port: int) -> bool:
    try:
        socket.create_server((HOST, port)).close()
    except OSError as error:
        return error.errno == errno.EADDRINUSE
    return False


def free_port() -> int:
    with closing(socket.create_server((HOST, 0))) as listener:
        return int(listener.getsockname()[1])


def stop(server: subprocess.Popen[bytes]) -> None:
    """End it with its workers, by their group."""
    for kind in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(server.pid, kind)
            server.wait(GRACE)
        except (ProcessLookupError, subprocess.TimeoutExpired):
            continue
