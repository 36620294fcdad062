"""The log of a process that may print without end: its file holds the first and the last of what was printed."""

import os
import re
from contextlib import suppress
from io import FileIO
from pathlib import Path
from typing import BinaryIO

HEAD = TAIL = 1 << 20
_BLOCK = 1 << 20  # all that a pipe holds
_MARK = re.compile(rb"\n\[(\d+) bytes left out\]\n")


class Log:
    """Appends what comes through a pipe to a file, of which the middle is left out (`cut`).

    The processes that print have the other end of the pipe as their output, so that the limit holds for prints, for the
    output of native code, and for the children of these processes alike. What was taken is in the file, whoever is killed.

    Args:
        path: the file; what it holds already stays.

    Raises:
        OSError: it cannot be opened.
    """

    def __init__(self, path: str | Path):
        self.path = path
        self._file = FileIO(os.open(path, os.O_CREAT | os.O_RDWR, 0o666), "r+")
        try:
            self.source, self.sink = os.pipe()
        except OSError:
            self._file.close()
            raise
        os.set_blocking(self.source, False)

    def take(self) -> bool:
        """Take all that has been printed since; return False at the end of the pipe."""
        try:
            data = rest = os.read(self.source, _BLOCK)
        except BlockingIOError:
            return True
        with suppress(OSError):  # a full disk ends no trial that only prints
            self._file.seek(0, os.SEEK_END)
            while rest:
                rest = rest[self._file.write(rest) :]
            if self._file.tell() > HEAD + 2 * TAIL:
                cut(self._file)
        return bool(data)

    def end(self) -> None:
        """Take the rest, and leave out what is more than `HEAD` and `TAIL`."""
        self.take()
        with suppress(OSError):
            cut(self._file, TAIL)
        self.close()

    def close(self) -> None:
        """Close the file and the end of the pipe that is read."""
        self._file.close()
        os.close(self.source)


def cut(file: BinaryIO, room: int = 2 * TAIL) -> None:
    """Where a log holds more than `room` bytes after its first `HEAD`, keep the last `TAIL` of these, and say how many are left out.

    It is written in place, so that a process that is killed leaves both, and a full disk has room for it.

    Raises:
        OSError: it cannot be read or written.
    """
    size, mark, left_out = _measured(file)
    if size - mark - HEAD > room:
        file.seek(size - TAIL)
        tail = file.read(TAIL)
        file.seek(HEAD)
        file.write(b"\n[%d bytes left out]\n" % (left_out + size - mark - HEAD - TAIL) + tail)
        file.truncate()


def shorten(path: Path) -> None:
    """Leave out the middle of a log that another way than `Log` appends to, as the pipe's does."""
    with suppress(OSError), path.open("r+b", buffering=0) as file:
        cut(file)


def added(file: BinaryIO, told: int) -> tuple[bytes, int]:
    """What was appended to a log after so many bytes, without what has been left out since; and how many bytes were appended in all."""
    size, mark, left_out = _measured(file)
    total = size - mark + left_out
    file.seek(told if told < HEAD else max(size - (total - told), HEAD + mark))
    return file.read(size - file.tell()), total


def _measured(file: BinaryIO) -> tuple[int, int, int]:
    """The size of a log, that of the line that says how many bytes are left out, and this number."""
    size = file.seek(0, os.SEEK_END)
    file.seek(HEAD)
    found = _MARK.match(file.read(64))
    return size, len(found[0]) if found else 0, int(found[1]) if found else 0
