import multiprocessing
import os
import runpy
import subprocess
import sys
from collections.abc import Mapping
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest

from autoopt.tracking.spool import LOG

POOL = "MLFLOW_SQLALCHEMYSTORE_POOLCLASS"


@pytest.fixture
def folder(tmp_path) -> Path:
    path = tmp_path / "study"
    path.mkdir()
    return path


class Forked:
    """A process with what `Popen` has."""

    def __init__(self, process: BaseProcess):
        self._process, self.pid, self.kill = process, process.pid, process.kill

    def poll(self) -> int | None:
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        self._process.join(timeout)
        if (code := self.poll()) is None:
            raise subprocess.TimeoutExpired("writer", timeout or 0)
        return code


@pytest.fixture
def forked_writers(monkeypatch) -> None:
    """The writers are forked from this process, which has imported MLflow: that takes seconds."""
    monkeypatch.setenv(POOL, "NullPool")  # no connection to a database is open while it forks
    monkeypatch.setattr("autoopt.tracking.start_writer", start_writer)


def start_writer(folder: Path, environment: Mapping[str, str], *options: str) -> Forked:
    with (folder / LOG).open("ab") as log:
        process = multiprocessing.get_context("fork").Process(target=be_writer, args=([str(folder), *options], environment, log.fileno()))
        process.start()
    return Forked(process)


def be_writer(arguments: list[str], environment: Mapping[str, str], log: int) -> None:
    """Be `python -m autoopt.tracking`, which knows no store yet."""
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
    from mlflow.tracking._tracking_service.registry import TrackingStoreRegistry

    TrackingStoreRegistry._get_store_with_resolved_uri.cache_clear()
    SqlAlchemyStore._engine_map.clear()
    os.setsid()
    os.environ.pop(POOL)
    os.environ.update(environment)
    for number in (1, 2):
        os.dup2(log, number)
    sys.stdout, sys.stderr = sys.__stdout__, sys.__stderr__ = [os.fdopen(number, "w", 1, closefd=False) for number in (1, 2)]
    sys.argv = ["autoopt.tracking", *arguments]
    runpy.run_module("autoopt.tracking", run_name="__main__", alter_sys=True)
