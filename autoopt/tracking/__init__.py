"""The MLflow mirror of a study, on the supervisor's side: it appends a line to a spool and goes on.

MLflow is slow to import, to open and to answer, and may be unreachable. Therefore another process
(`python -m autoopt.tracking FOLDER`) follows the spool and writes it to the store, so that tracking slows no trial.
"""

import os
import subprocess
import sys
import time as clock
import uuid
from collections.abc import Iterable, Mapping
from contextlib import suppress
from importlib.metadata import distributions
from pathlib import Path
from urllib.parse import urlsplit

from autoopt.errors import BadInput
from autoopt.tracking.server import ui
from autoopt.tracking.spool import (
    HIDDEN,
    LAST,
    LOG,
    NOTE,
    PARENT,
    SPOOL,
    SQLITE,
    Destination,
    Spool,
    State,
    address_of,
    is_closed,
    is_locked,
    redacted,
    secrets,
    spool_name,
    sqlite_file,
    target,
    unwritten,
)

__all__ = ["Records", "Tracker", "end_runs", "experiment_name", "store_uri", "ui", "write_spool"]

Attributes = Mapping[str, object]
Metrics = Mapping[str, float]
REVIVE = 60.0
SCHEMES = ("sqlite", "postgresql", "mysql", "mssql", "http", "https", "databricks", "databricks-uc", "uc")
"""The schemes of the stores that MLflow itself has; other distributions add schemes by its entry points."""


def store_uri(uri: str | None) -> str:
    """The store's address: as given, else MLFLOW_TRACKING_URI, else `mlflow.db` here. Paths become absolute.

    Raises:
        BadInput: MLflow has no store for such an address.
    """
    uri = uri or os.environ.get("MLFLOW_TRACKING_URI") or "sqlite:///mlflow.db"
    shown = redacted(uri, secrets(uri))
    if HIDDEN in uri:
        raise BadInput(f"tracking.uri={uri}: the credentials in it were not kept: give tracking.uri= with them, or set MLFLOW_TRACKING_URI")
    if uri in ("databricks", "databricks-uc", "uc"):
        return uri
    try:
        scheme = urlsplit(uri).scheme.partition("+")[0]
    except ValueError as error:  # whose text may hold the credentials
        raise BadInput(f"tracking.uri={shown}: expected an address, such as {SQLITE}mlflow.db or http://[::1]:5000") from error
    if scheme in ("", "file"):
        raise BadInput(f"tracking.uri={shown}: MLflow keeps runs in a database or a server: use sqlite:///mlflow.db.")
    if scheme not in SCHEMES and scheme not in stores():
        raise BadInput(f"tracking.uri={shown}: expected one of {', '.join(f'{known}:' for known in SCHEMES)}, such as {SQLITE}mlflow.db")
    if not uri.startswith(SQLITE):
        return uri
    return address_of(os.path.abspath(sqlite_file(uri))) + "".join(uri.partition("?")[1:])


def stores() -> list[str]:
    """The schemes of the stores of other distributions; a malformed distribution is skipped."""
    schemes = []
    for distribution in distributions():
        with suppress(Exception):
            schemes += [point.name for point in distribution.entry_points if point.group == "mlflow.tracking_store"]
    return schemes


def experiment_name(experiment: str | None, name: str) -> str:
    """The experiment: as given, else MLFLOW_EXPERIMENT_NAME, else the study's name."""
    return experiment or os.environ.get("MLFLOW_EXPERIMENT_NAME") or name


class Records:
    """The records of one study in a spool: a run for the study, and a child run for each trial."""

    def __init__(self, folder: Path, target: Destination):
        self._folder, self._target = folder, target
        self._spool = Spool(folder / SPOOL)
        self._spool.append(dict(target.header()))

    def study(
        self,
        name: str,
        params: Attributes,
        tags: Attributes,
        data: Mapping[str, str] | None = None,
        view: Attributes | None = None,
        time: float | None = None,
    ) -> None:
        """Begin the study's own run, before any trial; a resumed study continues its own run.

        Args:
            data: the `name` of the examples and a `digest` of them, which MLflow shows as the run's dataset.
            view: the arguments of the leaderboard (`autoopt.tracking.view.leaderboard_view`); a training has none.
        """
        self._put(
            PARENT,
            time=time,
            name=name,
            status="RUNNING",
            params=params,
            tags={"autoopt.role": "study", **tags},
            data=data or {},
            view=view or {},
        )

    def trial(self, number: int | str, name: str, params: Attributes, tags: Attributes, time: float | None = None) -> None:
        """Begin a child run, under a key that is unique in the study; a trial that is run again continues its own run."""
        known = {"autoopt.role": "trial", "autoopt.trial": number}
        self._put(number, time=time, name=name, status="RUNNING", params=params, tags=known | dict(tags))

    def epoch(self, number: int | str, step: int, metrics: Metrics, time: float) -> None:
        self._put(number, step=step, metrics=metrics, time=time)

    def measured(self, number: int | str, metrics: Metrics, time: float | None = None) -> None:
        """Add final metrics to a run, whether it has ended or not; each is a single point, which MLflow draws as a bar."""
        self._put(number, time=time, step=0, metrics=metrics)

    def end(self, number: int | str, status: str, metrics: Metrics, tags: Attributes, time: float | None = None) -> None:
        """End a run as FINISHED, KILLED or FAILED, with its final metrics."""
        self._put(number, time=time, status=status, step=0, metrics=metrics, tags=tags)

    def rename(self, number: int | str, name: str) -> None:
        self._put(number, name=name)

    def note(self, text: str) -> None:
        """Set the text (Markdown) that the study's page shows."""
        self._put(PARENT, tags={NOTE: text})

    def conclude(
        self, status: str, metrics: Metrics, tags: Attributes, params: Attributes | None = None, time: float | None = None
    ) -> None:
        self._put(PARENT, time=time, status=status, metrics=metrics, tags=tags, params=params or {})

    def model(self, folder: Path, study: str) -> None:
        """Log an exported folder as the trained model of the study's own run; it has to exist until it is written."""
        self._put(PARENT, model={"folder": str(folder.absolute()), "study": study})

    def artifacts(self, path: Path) -> None:
        """Add a file or a folder to the parent run; it has to exist until it is written."""
        self._put(PARENT, artifacts=str(path.absolute()))

    def close(self) -> int:
        """End the spool, and return how many records the disk did not take."""
        self._spool.append({"end": True})
        return self._spool.close()

    def _put(self, key: int | str, *, time: float | None = None, **fields: object) -> None:
        self._spool.append({"key": str(key), "time": int(1000 * (time or clock.time())), **fields})


class Tracker(Records):
    """Records that a process of its own writes to MLflow as they come. Only `close` waits."""

    def __init__(self, folder: Path, *, uri: str | None, experiment: str):
        super().__init__(folder, Destination(spool_name(folder) or uuid.uuid4().hex, store_uri(uri), experiment))
        self._start()

    def close(self, timeout: float = LAST + 1) -> int:
        """Let the writer finish, and return how many records MLflow still lacks (0, unless it is unreachable).

        These records stay in the spool; the next session writes them, or `python -m autoopt.tracking FOLDER`.
        """
        self._spool.append({"end": True})
        with suppress(OSError, subprocess.TimeoutExpired):
            if self._writer.poll() is not None:
                self._start()
            self._writer.wait(timeout)
        return self._spool.close() + unwritten(self._folder, self._target)

    def _put(self, key: int | str, *, time: float | None = None, **fields: object) -> None:
        super()._put(key, time=time, **fields)
        if clock.monotonic() > self._started + REVIVE and self._writer.poll() is not None:
            with suppress(OSError):  # the disk or the table of processes is full; the next time is as good
                self._start()

    def _start(self) -> None:
        self._started = clock.monotonic()
        self._writer = start_writer(self._folder, {"MLFLOW_TRACKING_URI": self._target.uri}, "--follow", str(os.getpid()))


def start_writer(folder: Path, environment: Mapping[str, str], *options: str) -> subprocess.Popen[bytes]:
    """Start a writer in a session of its own, which Ctrl-C does not reach, and with -P, without the user's folder on its path."""
    command = [sys.executable, "-P", "-m", "autoopt.tracking", str(folder), *options]
    (folder / LOG).touch(0o600)
    with (folder / LOG).open("ab") as log:
        return subprocess.Popen(
            command, env={**os.environ, **environment}, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )


def write_spool(folder: Path, target: Destination) -> str:
    """Write a spool that was ended to MLflow, however long it takes, and return what went wrong; empty if all is written."""
    start_writer(folder, {"MLFLOW_TRACKING_URI": target.uri}).wait()
    if not (behind := unwritten(folder, target)):
        return ""
    log = (folder / LOG).read_text(encoding="utf-8", errors="replace")
    said = [line for line in log.splitlines() if line][:-1]  # without the number of records
    return f"{behind} records; {said[-1] if said else 'the writer ended'}"


def end_runs(folders: Iterable[Path]) -> None:
    """End the runs of studies whose processes died: MLflow would show them as running for ever.

    Does not wait: one process, of a low priority, takes them in turn.
    """
    if begun := [str(folder) for folder in folders if has_open_runs(folder)]:
        with suppress(OSError):  # no process can be started
            start_writer(Path(begun[0]), {}, *begun[1:], "--died")


def has_open_runs(folder: Path) -> bool:
    """Whether the store of a study has runs that nobody ends.

    An address with credentials was not kept: MLFLOW_TRACKING_URI has to name the same store as when the study ran.
    """
    try:
        if is_closed(folder) or is_locked(folder / SPOOL) or not os.access(folder, os.W_OK):
            return False
        return State.saved(folder, target(folder)) is not None
    except (OSError, ValueError, KeyError, BadInput):  # no spool, or a spoilt one
        return False
