"""The spool: the records for MLflow, as JSON lines in the study's folder, and the progress of its writer.

Both sides use this module, which does not need MLflow: the supervisor appends, the writer follows.
The first line of a session names the store and the experiment; a line with a `key` is a record of one run.
"""

import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from fcntl import LOCK_EX, LOCK_NB, flock
from pathlib import Path
from urllib.parse import unquote, unquote_plus, urlsplit

from autoopt.errors import BadInput

SPOOL, STATE, LOG = "tracking.jsonl", "tracking.json", "tracking.log"
END = b'{"end": true}\n'
HEADER, RECORD = b'{"spool"', b'{"key"'
BLOCK = 1 << 20
LAST = 9.0
"""The seconds that a writer may take once its supervisor died, or that a server may take once the study has ended."""
PARENT, SQLITE = "", "sqlite:///"
NOTE = "mlflow.note.content"
"""The tag that MLflow shows as the description of a run, in Markdown."""
HARMLESS = {
    *("application_name", "autocommit", "cache", "charset", "client_encoding", "collation", "connect_timeout", "driver", "encrypt"),
    *("immutable", "isolation_level", "mode", "nolock", "pool_size", "read_timeout", "ssl", "ssl_mode", "sslmode", "timeout"),
    *("trustservercertificate", "unix_socket", "uri", "vfs", "write_timeout"),
}
"""The keys in the query of a store's address, in lower case, whose values are no credentials; that of any other key may hold one."""


def address_of(path: str | Path) -> str:
    """The address of an SQLite store; characters of the path that mean something else in an address are escaped."""
    return SQLITE + str(path).replace("%", "%25").replace("?", "%3F")


def sqlite_file(uri: str) -> Path:
    """The file of an SQLite store."""
    return Path(unquote(uri.removeprefix(SQLITE).partition("?")[0]))


def secrets(uri: str) -> list[str]:
    """The credentials in a store's address, encoded and decoded; they must not be written to disk. What is no address may be all of it."""
    try:
        parts = urlsplit(uri)
    except ValueError:
        return [uri]
    fields = [field.partition("=") for field in parts.query.split("&")]
    values = [value if mark else key for key, mark, value in fields if unquote_plus(key).lower() not in HARMLESS]
    credentials = [parts.password or parts.username or "", *values]
    return [form for secret in credentials if secret for form in dict.fromkeys((secret, unquote(secret), unquote_plus(secret)))]


HIDDEN = "***"


def redacted(text: str, hidden: list[str]) -> str:
    for secret in hidden:
        text = text.replace(secret, HIDDEN)
    return text


@dataclass(frozen=True)
class Destination:
    """The store that a spool is written to; `spool` is the name of the spool, by which the store knows its runs."""

    spool: str
    uri: str
    experiment: str

    def header(self) -> dict[str, str | None]:
        return asdict(self) | {"uri": None if secrets(self.uri) else self.uri}

    @property
    def shown(self) -> str:
        """The address without its credentials."""
        return redacted(self.uri, secrets(self.uri))

    def label(self) -> str:
        return f"{self.shown} {self.experiment}"


def target(folder: Path) -> Destination:
    """The store that the spool's last session named; an address with credentials is not kept on disk.

    Raises:
        BadInput: the folder has no spool, its line of the last session is spoilt, or the address was not kept.
    """
    path = folder / SPOOL
    headers = [line for line in path.open("rb") if line.startswith(HEADER)] if path.is_file() else []
    if not headers:
        raise BadInput(f"{folder}: there is nothing to write to MLflow: no {SPOOL} of a study.")
    try:
        header = json.loads(headers[-1])
        name, kept, experiment = (header[key] for key in ("spool", "uri", "experiment"))
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise BadInput(f"{path} is damaged: autoopt report {folder.name} --mirror writes the runs anew.") from error
    uri = kept or os.environ.get("MLFLOW_TRACKING_URI")
    if not uri:
        raise BadInput(f"{folder}: the store's address holds credentials, so it was not kept: set MLFLOW_TRACKING_URI.")
    return Destination(name, uri, experiment)


def spool_name(folder: Path) -> str:
    """The name of the spool, from its first line; empty without a spool, or where it is spoilt: MLflow then gets new runs."""
    try:
        with (folder / SPOOL).open("rb") as file:
            return str(json.loads(file.readline())["spool"])
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return ""


class Spool:
    """The appending side. Records that the disk does not take (it is full) are kept, and written first the next time."""

    def __init__(self, path: Path):
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        self._rest = b""
        self._cut_torn_line()

    def _cut_torn_line(self) -> None:
        size = os.fstat(self._file).st_size
        while size:
            start = max(0, size - BLOCK)
            size = start + os.pread(self._file, size - start, start).rfind(b"\n") + 1
            if size > start:
                break
        os.ftruncate(self._file, size)

    def append(self, record: dict[str, object]) -> None:
        self._rest += json.dumps(record, default=str).encode() + b"\n"
        try:
            self._rest = self._rest[os.write(self._file, self._rest) :]
        except OSError:
            return

    def close(self) -> int:
        """Close the file, and return how many records the disk did not take."""
        os.close(self._file)
        return self._rest.count(b"\n")


@dataclass
class State:
    """The writer's progress in the spool, the runs that it created, and the last step of each.

    Args:
        live: the keys of the runs that have not ended.
        final: the last value of each metric of the study's own run.
    """

    target: str
    offset: int = 0
    runs: dict[str, str] = field(default_factory=dict)
    steps: dict[str, int] = field(default_factory=dict)
    live: list[str] = field(default_factory=list)
    final: dict[str, float] = field(default_factory=dict)

    @classmethod
    def load(cls, folder: Path, target: Destination) -> "State":
        """The state that was saved for this store; a new state for another store, or if it cannot be read."""
        return cls.saved(folder, target) or cls(target.label())

    @classmethod
    def saved(cls, folder: Path, target: Destination) -> "State | None":
        """The state that was saved for this store."""
        try:
            state = cls(**json.loads((folder / STATE).read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError, RecursionError):
            return None
        return state if state.target == target.label() else None

    def save(self, folder: Path) -> None:
        new = folder / f"{STATE}.new"
        new.touch(0o600)
        new.write_text(json.dumps(asdict(self)), encoding="utf-8")
        new.replace(folder / STATE)


def is_locked(path: Path) -> bool:
    """Whether another process holds the lock of a file."""
    try:
        with path.open("rb") as file:
            flock(file, LOCK_EX | LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def read_lines(folder: Path, offset: int, size: int = BLOCK) -> Iterator[tuple[int, bytes]]:
    """Whole lines from `offset` on, about `size` bytes of them, each with the offset of the next line."""
    with (folder / SPOOL).open("rb") as file:
        file.seek(offset)
        stop = offset + size
        while offset < stop and (line := file.readline()).endswith(b"\n"):
            offset += len(line)
            yield offset, line


def is_closed(folder: Path) -> bool:
    """Whether the supervisor has ended the spool."""
    with (folder / SPOOL).open("rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - len(END)))
        return file.read() == END


def unwritten(folder: Path, target: Destination) -> int:
    """How many records the store does not have yet."""
    size = (folder / SPOOL).stat().st_size
    return sum(line.startswith(RECORD) for _, line in read_lines(folder, State.load(folder, target).offset, size))
