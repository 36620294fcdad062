"""The stores that `autoopt doctor` checks: the folder of the studies, each study in it, and the MLflow store."""

import os
import shutil
import socket
import sqlite3
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import closing
from importlib.metadata import version
from pathlib import Path
from urllib.error import URLError
from urllib.parse import quote, urlsplit
from urllib.request import urlopen

from autoopt.commands.installed import Checked
from autoopt.errors import BadInput, one_line, summary
from autoopt.records.folder import FORMAT, REMEDIES, contents
from autoopt.records.journal_file import StoreError
from autoopt.records.stored import ROOT, died, names, open_stored
from autoopt.tracking import store_uri
from autoopt.tracking.environment import prepare_environment
from autoopt.tracking.spool import SPOOL, SQLITE, redacted, secrets, sqlite_file, target, unwritten

PORTS = {"http": 80, "https": 443, "postgresql": 5432, "mysql": 3306, "mssql": 1433}
TIMEOUT = 5.0
LITTLE = 1e9
"""Bytes of free disk space below which the check gives a note."""


def check_stores(settings: Mapping[str, str]) -> Iterator[Checked]:
    """The folder of the studies, the studies that are damaged, and the MLflow store."""
    root = settings.get("root", ROOT)
    yield check_folder(Path(root), f"root={root}")
    studies = names(root)
    checks = [check for name in studies for check in check_study(Path(root) / name)]
    yield from checks
    for journal in sorted(Path(root).glob("*/journal.log")):
        if journal.parent.name not in studies:
            yield Checked("broken", f"{journal.parent} has a journal, but no space.yaml: {REMEDIES['space.yaml']}")
    whole = len(studies) - sum(check.state == "broken" for check in checks)
    yield Checked("ok", f"{whole} {'study' if whole == 1 else 'studies'} in {root}/ can be read")
    yield check_store(settings.get("tracking.uri"))


def check_folder(path: Path, what: str) -> Checked:
    """Whether files can be written in a folder, or it can be made."""
    there = next(folder for folder in (path, *path.resolve().parents) if os.path.exists(folder))
    try:
        with tempfile.TemporaryFile(dir=there):
            free = shutil.disk_usage(there).free
    except OSError as error:
        return Checked("broken", f"{what}: {there} cannot be written: {error.strerror}: give another folder, or change its permissions")
    room = f"{free / 1e9:.1f} GB free"
    return Checked("note" if free < LITTLE else "ok", f"{what} can be {'written' if there == path else 'made'}, {room}")


def check_study(path: Path) -> Iterator[Checked]:
    """A study that cannot be read, that another version began, or whose last records MLflow lacks; nothing if all is well."""
    try:
        study = open_stored(path.name, str(path.parent))
        if (began := contents(path / "space.yaml", ()).get("format")) != FORMAT:
            yield Checked(
                "note", f"{path.name} was begun by another version of autoopt (format {began}, not {FORMAT}): it cannot be resumed"
            )
        if died(path) and (study.path / SPOOL).exists() and (behind := unwritten(path, target(path))):
            yield Checked("note", f"{path.name}: MLflow lacks {behind} records: python -m autoopt.tracking {path} writes them")
    except (BadInput, StoreError) as error:
        yield Checked("broken", str(error))
    except Exception as error:
        yield Checked("broken", f"{path.name} cannot be read ({summary(error)}): restore it from a backup, or delete {path}")


def check_store(given: str | None) -> Checked:
    """Whether the MLflow store answers, and is of this version."""
    try:
        uri = store_uri(given)
    except BadInput as error:
        return Checked("broken", str(error))
    shown = redacted(uri, secrets(uri))
    if uri.startswith(SQLITE) and not sqlite_file(uri).exists():
        return check_folder(sqlite_file(uri), f"MLflow store {shown}")
    prepare_environment()
    from mlflow import MlflowClient  # reads the environment

    try:
        reach(uri)
        if uri.startswith(SQLITE) and not has_runs(sqlite_file(uri)):
            return Checked("broken", f"MLflow store {shown} is another database: give another tracking.uri=")
        MlflowClient(uri).search_experiments(max_results=1)
    except Exception as error:
        return Checked("broken", f"MLflow store {shown}: {redacted(remedy_of(error, uri), secrets(uri))}")
    return Checked("ok", f"MLflow store {shown} answers{server_version(uri)}")


def has_runs(path: Path) -> bool:
    """Whether a database is MLflow's, which MLflow itself would make it; raises DatabaseError if it is no database."""
    with closing(sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True)) as store:
        tables = {name for (name,) in store.execute("select name from sqlite_master")}
    return {"alembic_version", "runs"} <= tables


def reach(uri: str) -> None:
    """Raise OSError if nothing listens at the address: some drivers would wait for minutes."""
    parts = urlsplit(uri)
    if parts.hostname and (port := parts.port or PORTS.get(parts.scheme.partition("+")[0])):
        socket.create_connection((parts.hostname, port), timeout=TIMEOUT).close()


def remedy_of(error: Exception, uri: str) -> str:
    """What is wrong with the store, in one line, and what to do."""
    problem = one_line(error)
    if "out-of-date database schema" in problem:
        return f"it is of another version of MLflow than {version('mlflow')}: make a copy, then run: mlflow db upgrade '{uri}'"
    if isinstance(error, ModuleNotFoundError):
        return f"its driver is not installed: pip install {error.name}"
    if isinstance(error, OSError):
        return f"nothing answers there ({problem}): start the server, or give another tracking.uri="
    return f"{type(error).__name__}: {problem:.200}"


def server_version(uri: str) -> str:
    """The version of a server, where it differs from that of the client."""
    if urlsplit(uri).scheme not in ("http", "https"):
        return ""
    try:
        with urlopen(f"{uri.rstrip('/')}/version", timeout=TIMEOUT) as answer:
            theirs = answer.read().decode().strip()
    except (URLError, OSError, ValueError):
        return ""
    return "" if theirs == version("mlflow") else f"; its version is {theirs:.20}, ours {version('mlflow')}"
