"""The log of a process that may print without end: its file holds the first and the last of what was printed."""

import os
from contextlib import suppress
from pathlib import Path

HEAD = TAIL = 1 << 20
_BLOCK = 1 << 20  # all that a pipe holds


class Log:
    """Appends what comes through a pipe to a file: `HEAD` bytes at once, at the end the last `TAIL` bytes, and how many were left out.

    The processes that print have the other end of the pipe as their output, so that the limit holds for prints, for the
    output of native code, and for the children of these processes alike.

    Args:
        path: the file; what it holds already stays.

    Raises:
        OSError: it cannot be opened.
    """

    def __init__(self, path: str | Path):
        self._file = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o666)
        try:
            self.source, self.sink = os.pipe()
        except OSError:
            os.close(self._file)
            raise
        os.set_blocking(self.source, False)
        self._room, self._tail, self._left_out = HEAD, bytearray(), 0

    def take(self) -> bool:
        """Take all that has been printed since; return False at the end of the pipe."""
        try:
            data = os.read(self.source, _BLOCK)
        except BlockingIOError:
            return True
        self._write(data[: self._room])
        self._tail += data[self._room :]
        self._room -= min(self._room, len(data))
        if len(self._tail) > 2 * TAIL:
            self._cut()
        return bool(data)

    def end(self) -> None:
        """Take the rest, write the tail, and close the file."""
        self.take()
        self._cut()
        self._write(b"\n[%d bytes left out]\n" % self._left_out if self._left_out else b"")
        self._write(self._tail)
        self.close()

    def close(self) -> None:
        """Close the file and the end of the pipe that is read."""
        os.close(self._file)
        os.close(self.source)

    def _cut(self) -> None:
        surplus = max(0, len(self._tail) - TAIL)
        del self._tail[:surplus]
        self._left_out += surplus

    def _write(self, data: bytes | bytearray) -> None:
        with suppress(OSError):  # a full disk ends no trial that only prints
            while data:
                data = data[os.write(self._file, data) :]
