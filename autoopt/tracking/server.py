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
from typing import IO
from urllib.error import HTTPError, URLError
from urllib.parse import quote, urlsplit
from urllib.request import urlopen

from autoopt.errors import BadInput
from autoopt.tracking.spool import SQLITE, redacted, secrets, sqlite_file

HOST, PATIENCE, GRACE = "127.0.0.1", 120.0, 10.0
RUNS = "runs?workflowType=machine_learning"
QUIET_ENVIRONMENT = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}


def ui(uri: str, port: int | None = None, *, experiment: str | None = None, direction: str = "maximize") -> int:
    """Serve the store until Ctrl-C, after printing where its training runs are. A server only needs the address.

    Args:
        experiment: whose runs; else the page lists all experiments.
        direction: of its objective, by which its trials are sorted.
    """
    if urlsplit(uri).scheme in ("http", "https"):
        show(without_credentials(uri), experiment, direction)
        return 0
    path = sqlite_file(uri)
    if uri.startswith(SQLITE) and not path.is_file():
        raise BadInput(f"There is no MLflow store at {path}: run `autoopt search` first, or name another one.")
    if port and taken(port):
        raise BadInput(f"port={port} is in use; name another one, or none for a free one")
    print("starting MLflow's server, which takes it some 10 seconds", file=sys.stderr, flush=True)
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)  # the server must not outlive us
    try:
        with tempfile.TemporaryFile() as log:
            return serve_ui(uri, port or free_port(), experiment, direction, log)
    finally:
        signal.signal(signal.SIGTERM, before)


def serve_ui(uri: str, port: int, experiment: str | None, direction: str, log: IO[bytes]) -> int:
    command = [sys.executable, "-P", "-m", "mlflow", "server", "--host", HOST, "--port", str(port), "--workers", "1"]
    # The address goes by the environment, since anybody on the machine may read a command line.
    environment = os.environ | QUIET_ENVIRONMENT | {"MLFLOW_BACKEND_STORE_URI": uri}
    server = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
    try:
        if not answers(f"http://{HOST}:{port}", server):
            log.seek(0)
            said = redacted(log.read().decode(errors="replace")[-2000:], secrets(uri))
            raise BadInput(f"The MLflow server did not start on port {port}. It said:\n{said}")
        show(f"http://{HOST}:{port}", experiment, direction)
        print("Ctrl-C ends it", flush=True)
        return server.wait()
    except KeyboardInterrupt:
        return 0
    finally:
        stop(server)


def answers(address: str, server: subprocess.Popen[bytes]) -> bool:
    """Wait until it answers (10 to 20 s); the port may be another's, so it must live as well."""
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until and server.poll() is None:
        try:
            with urlopen(f"{address}/health", timeout=2):
                return server.poll() is None
        except OSError:
            time.sleep(0.2)
    return False


def show(address: str, experiment: str | None, direction: str) -> None:
    """Print where to look."""
    print(runs := page(address, experiment))
    if RUNS in runs:
        order = f"orderByKey={quote('metrics.`objective`')}&orderByAsc={str(direction == 'minimize').lower()}"
        trials = quote("tags.`autoopt.role` = 'trial'")
        print(f"its trials, the best first: {runs}&searchFilter={trials}&{order}&compareRunsMode=CHART", flush=True)


def page(address: str, experiment: str | None) -> str:
    """The experiment's training runs: without being asked, MLflow 3 opens on pages for language models."""
    query = f"{address}/api/2.0/mlflow/experiments/get-by-name?experiment_name={quote(experiment or '')}"
    try:
        with urlopen(query, timeout=10) as answer:
            number = json.load(answer)["experiment"]["experiment_id"]
    except HTTPError:  # no such experiment, or not for us: the list of what there is
        return f"{address}/#/experiments"
    except URLError as error:
        raise BadInput(f"No MLflow server answers at {address}: {error.reason}.") from error
    return f"{address}/#/experiments/{number}/{RUNS}"


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
