"""The file of a study's journal: Optuna's log format, written by one process, and repaired when it is opened."""

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from optuna.storages.journal import BaseJournalBackend


class StoreError(Exception):
    """What the study keeps cannot be written; nothing that was written is lost."""

    exit_code = 75


class JournalFile(BaseJournalBackend):
    """Optuna's journal format in one file that only this process writes.

    A last line that a crash or a full disk has torn bricks Optuna's own file for good; here it is cut off, and kept
    aside, when the file is opened, and when a write fails. What `sync` returned from is safe; nothing else was acknowledged.

    Args:
        write: open to write; else the file is left as it is, and a torn end is not read.

    Raises:
        StoreError: a line before the last is spoilt; nothing is changed.
    """

    def __init__(self, path: Path, write: bool = True):
        self.path, self.write = path, write
        text = path.read_bytes() if path.exists() else b""
        whole, self.logs = parse_lines(path, text)
        self.file = os.open(path, os.O_CREAT | os.O_RDWR | os.O_APPEND, 0o644) if write else -1
        if write and whole < len(text):
            with path.with_suffix(".torn").open("ab") as aside:
                aside.write(text[whole:].rstrip(b"\n") + b"\n")
            os.ftruncate(self.file, whole)

    def read_logs(self, log_number_from: int) -> Iterable[dict[str, Any]]:
        return self.logs[log_number_from:]

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        size = os.fstat(self.file).st_size
        lines = b"".join(json.dumps(log, separators=(",", ":")).encode() + b"\n" for log in logs)
        try:
            if os.write(self.file, lines) < len(lines):
                raise OSError("it was written in part")
        except OSError as error:
            os.ftruncate(self.file, size)
            raise StoreError(f"{self.path} cannot be written: {error.strerror or error}") from error
        self.logs.extend(json.loads(line) for line in lines.splitlines())

    def sync(self) -> None:
        """Wait until what was appended is on the disk.

        Raises:
            StoreError: the disk did not take it.
        """
        try:
            os.fsync(self.file)
        except OSError as error:
            raise StoreError(f"{self.path} cannot be written: {error.strerror or error}") from error

    def close(self) -> None:
        if self.file >= 0:
            os.fsync(self.file)
            os.close(self.file)


def parse_lines(path: Path, text: bytes) -> tuple[int, list[dict[str, Any]]]:
    """How many bytes of a journal are whole lines, and their records; its last line may be torn.

    Raises:
        StoreError: another one is spoilt.
    """
    logs: list[dict[str, Any]] = []
    end = 0
    for line in text.split(b"\n")[:-1]:  # what stands after the last one is torn
        if (log := parse_line(line)) is None:
            break
        logs.append(log)
        end += len(line) + 1
    if text[end:].rstrip(b"\n").count(b"\n"):
        raise StoreError(f"{path}, line {len(logs) + 1} (from byte {end} on) is spoilt; nothing was changed: put the file back from a copy")
    return end, logs


def parse_line(line: bytes) -> dict[str, Any] | None:
    """The record in a line, if the line is whole."""
    try:
        log = json.loads(line)
    except ValueError:
        return None
    return log if isinstance(log, dict) else None
