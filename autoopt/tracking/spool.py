"""The spool: what MLflow is to be told, as JSON lines in the study's folder, and how far its writer got.

Both sides read this file and neither needs MLflow for it: the supervisor appends, the writer follows.
The first line of a session says which store and experiment; a line with a `key` tells about one run.
"""

import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit

from autoopt.errors import BadInput

SPOOL, STATE, LOG = "tracking.jsonl", "tracking.json", "tracking.log"
END = b'{"end": true}\n'
HEADER, RECORD = b'{"spool"', b'{"key"'
BLOCK = 1 << 20
PARENT, SQLITE = "", "sqlite:///"


def address_of(path: str | Path) -> str:
    """The address of an SQLite store; a folder's name may hold what would end the path in an address, or be an escape."""
    return SQLITE + str(path).replace("%", "%25").replace("?", "%3F")


def sqlite_file(uri: str) -> Path:
    """The file of an SQLite store."""
    return Path(unquote(uri.removeprefix(SQLITE).partition("?")[0]))


def secrets(uri: str) -> list[str]:
    """What must not be written to disk of a store's address: its credentials, as they stand and decoded."""
    parts = urlsplit(uri)
    found = [parts.password or parts.username or "", *(value for _, value in parse_qsl(parts.query))]
    return [form for secret in found if secret for form in dict.fromkeys((secret, unquote(secret)))]


def redacted(text: str, hidden: list[str]) -> str:
    for secret in hidden:
        text = text.replace(secret, "***")
    return text


@dataclass(frozen=True)
class Destination:
    """Where a spool is mirrored to; `spool` is its own name, by which its runs are known in the store."""

    spool: str
    uri: str
    experiment: str

    def header(self) -> dict[str, str | None]:
        return asdict(self) | {"uri": None if secrets(self.uri) else self.uri}

    def label(self) -> str:
        return f"{redacted(self.uri, secrets(self.uri))} {self.experiment}"


def target(folder: Path) -> Destination:
    """The store that the spool's last session named; an address with credentials is not kept on disk."""
    path = folder / SPOOL
    headers = [line for line in path.open("rb") if line.startswith(HEADER)] if path.is_file() else []
    if not headers:
        raise BadInput(f"{folder}: there is nothing to be written to MLflow: no {SPOOL} of a study.")
    header = json.loads(headers[-1])
    uri = header["uri"] or os.environ.get("MLFLOW_TRACKING_URI")
    if not uri:
        raise BadInput(f"{folder}: the store's address holds credentials and was not kept: set MLFLOW_TRACKING_URI.")
    return Destination(header["spool"], uri, header["experiment"])


class Spool:
    """The appending end. What the disk does not take (it is full) is kept, and goes first the next time."""

    def __init__(self, path: Path):
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
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

    def first(self) -> dict[str, str]:
        """The first line, which names the spool; empty in a new one."""
        line = os.pread(self._file, BLOCK, 0).partition(b"\n")[0]
        return json.loads(line) if line else {}

    def append(self, record: dict[str, object]) -> None:
        self._rest += json.dumps(record, default=str).encode() + b"\n"
        try:
            self._rest = self._rest[os.write(self._file, self._rest) :]
        except OSError:
            return

    def close(self) -> int:
        """Close it, and say how many records the disk did not take."""
        os.close(self._file)
        return self._rest.count(b"\n")


@dataclass
class State:
    """How far the writer got in the spool, which runs it made, and the last step of each."""

    target: str
    offset: int = 0
    runs: dict[str, str] = field(default_factory=dict)
    steps: dict[str, int] = field(default_factory=dict)

    @classmethod
    def load(cls, folder: Path, target: Destination) -> "State":
        """The state kept for this store; for another store, or where it cannot be read, all begins again."""
        try:
            state = cls(**json.loads((folder / STATE).read_text()))
        except (OSError, ValueError, TypeError):
            return cls(target.label())
        return state if state.target == target.label() else cls(target.label())

    def save(self, folder: Path) -> None:
        new = folder / f"{STATE}.new"
        new.write_text(json.dumps(asdict(self)))
        new.replace(folder / STATE)


def read_lines(folder: Path, offset: int, size: int = BLOCK) -> Iterator[tuple[int, bytes]]:
    """Whole lines from `offset` on, about `size` bytes of them, each with the offset of what follows it."""
    with (folder / SPOOL).open("rb") as file:
        file.seek(offset)
        stop = offset + size
        while offset < stop and (line := file.readline()).endswith(b"\n"):
            offset += len(line)
            yield offset, line


def is_closed(folder: Path) -> bool:
    """Whether the supervisor has said that nothing more will come."""
    with (folder / SPOOL).open("rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - len(END)))
        return file.read() == END


def unwritten(folder: Path, target: Destination) -> int:
    """How many records the store has not got yet."""
    size = (folder / SPOOL).stat().st_size
    return sum(line.startswith(RECORD) for _, line in read_lines(folder, State.load(folder, target).offset, size))
