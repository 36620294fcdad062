"""The file of a study's journal: Optuna's log format, written by one process, and repaired when it is opened."""

import gc
import json
import os
from binascii import crc32
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from optuna.storages.journal import BaseJournalBackend

SUM = b"crc32"
WRITER = "worker_id"
CREATE_STUDY, CREATE_TRIAL, SET_TRIAL_USER_ATTR = 0, 4, 8  # the codes of Optuna's lines
KINDS = {"CategoricalDistribution": "categorical", "FloatDistribution": "float", "IntDistribution": "int"}
"""Optuna's distributions, and their names in its abbreviated format."""
TELL_OF_RECORDS = tuple(b'{"op_code":%d,' % code for code in (CREATE_STUDY, CREATE_TRIAL, SET_TRIAL_USER_ATTR))
"""How these lines begin."""


class StoreError(Exception):
    """A file of the study cannot be written; nothing that was written is lost."""

    exit_code = 75


class JournalFile(BaseJournalBackend):
    """Optuna's journal format in one file that only this process writes; each line ends with a checksum, which Optuna ignores.

    Lines are as short as Optuna can read them: without the name of their writer, and with distributions in its abbreviated format.
    A crash or a full disk can leave a torn last line, after which Optuna's own file cannot be used any more. Here a torn line
    is moved to a file beside it when the journal is opened, and cut off when a write fails. Lines are safe once `sync` returns.

    Args:
        write: open for writing; else the file is not changed, and a torn last line is ignored.
        brief: of a file that is not written, read only what tells of our records.

    Raises:
        StoreError: it cannot be read or written, or a line before the last is damaged; nothing is changed.
    """

    def __init__(self, path: Path, write: bool = True, brief: bool = False):
        self.path, self.write = path, write
        try:
            text = path.read_bytes() if path.exists() else b""
            whole, self.logs = parse_lines(path, text, brief_line if brief else parse_line)
            self.file = os.open(path, os.O_CREAT | os.O_RDWR | os.O_APPEND, 0o644) if write else -1
            if write and whole < len(text):
                with path.with_suffix(".torn").open("ab") as aside:
                    aside.write(text[whole:].rstrip(b"\n") + b"\n")
                os.ftruncate(self.file, whole)
        except OSError as error:
            raise StoreError(f"{error.filename or path} cannot be opened: {error.strerror}") from error

    def read_logs(self, log_number_from: int) -> Iterable[dict[str, Any]]:
        return self.logs[log_number_from:]

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        size = os.fstat(self.file).st_size
        lines = [to_line(shortened(log)) for log in logs]
        text = b"".join(lines)
        try:
            rest = text
            while rest:  # of which a disk that is almost full takes a part, before it says so
                rest = rest[os.write(self.file, rest) :]
        except OSError as error:
            os.ftruncate(self.file, size)
            why = f"{self.path} cannot be written: {error.strerror}"
            raise StoreError(f"{why}; what was written before is kept, and the same command goes on from there") from error
        for log, line in zip(logs, lines, strict=True):
            written = parse_line(line.removesuffix(b"\n"))
            assert written is not None
            self.logs.append({**written, WRITER: log.get(WRITER)})  # by which Optuna tells the lines of this session

    def sync(self) -> None:
        """Wait until the appended lines are on the disk.

        Raises:
            StoreError: they cannot be written.
        """
        try:
            os.fsync(self.file)
        except OSError as error:
            raise StoreError(f"{self.path} cannot be written: {error.strerror or error}") from error

    def close(self) -> None:
        if self.file >= 0:
            os.fsync(self.file)
            os.close(self.file)


def parse_lines(path: Path, text: bytes, parse: Callable[[bytes], dict[str, Any] | None]) -> tuple[int, list[dict[str, Any]]]:
    """The number of bytes of a journal's whole lines, and their records as `parse` reads them; its last line may be torn.

    Raises:
        StoreError: another line is damaged.
    """
    logs: list[dict[str, Any]] = []
    end = 0
    with uncollected():
        for line in text.split(b"\n")[:-1]:  # text after the last line end is torn
            if (log := parse(line)) is None:
                break
            logs.append(log)
            end += len(line) + 1
    if text[end:].rstrip(b"\n").count(b"\n"):
        raise StoreError(f"{path}, line {len(logs) + 1} (from byte {end}) is damaged; nothing was changed: restore the file from a backup")
    return end, logs


@contextmanager
def uncollected() -> Iterator[None]:
    """Look for no garbage while many objects are made, none of which is garbage: it would take a quarter of the time."""
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()


def shortened(log: dict[str, Any]) -> dict[str, Any]:
    """A record without what Optuna needs only while it is written, and with short distributions."""
    distributions = {name: abbreviated(text) for name, text in log.get("distributions", {}).items()}
    return {**log, **({WRITER: ""} if WRITER in log else {}), **({"distributions": distributions} if distributions else {})}


def abbreviated(distribution: str) -> str:
    """A distribution in the shorter of the two formats that `optuna.distributions.json_to_distribution` reads."""
    full = json.loads(distribution)
    needed = {name: value for name, value in full["attributes"].items() if value is not None and value is not False}
    return json.dumps({"type": KINDS[full["name"]], **needed}, separators=(",", ":"))


def to_line(log: dict[str, Any]) -> bytes:
    """A record as a line, with the checksum of what stands before it."""
    body = json.dumps(log, separators=(",", ":")).encode()[:-1]
    return body + b',"%s":%d}\n' % (SUM, crc32(body))


def parse_line(line: bytes) -> dict[str, Any] | None:
    """The record in a line, if the line is whole and as it was written."""
    return None if (body := intact(line)) is None else parse_object(body)


def brief_line(line: bytes) -> dict[str, Any] | None:
    """As `parse_line`, without what does not tell of our records: other lines, and distributions, half of a journal's text."""
    body = intact(line)
    if body is None or not body.startswith(TELL_OF_RECORDS):
        return None if body is None else {}
    head, _, rest = body.partition(b'"distributions":{')
    _, _, tail = rest.partition(b'},"params":')  # so it stands in no text: there, quotes have a backslash
    return parse_object(head + b'"params":' + tail if tail and b'"user_attr' not in head else body)


def intact(line: bytes) -> bytes | None:
    """What stands before the checksum of a line, if the sum is that."""
    body, _, rest = line.rpartition(b',"%s":' % SUM)
    return body if body and rest == b"%d}" % crc32(body) else None


def parse_object(body: bytes) -> dict[str, Any] | None:
    """The record in a line without its end."""
    try:
        log = json.loads(f"{body.decode()}}}")
    except (ValueError, RecursionError):
        return None
    return log if isinstance(log, dict) else None
