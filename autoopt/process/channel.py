"""JSON lines over a stream socket: all that supervisor, template, trials and ranks say to each other."""

import json
import socket
from typing import Any

_CHUNK = 1 << 16
_LONGEST = 1 << 24  # more than any honest line, less than what would hurt the reader


class Channel:
    """One end of the line.

    On a socket that blocks, `send` and `wait` take as long as it takes. On one that does not, `send` keeps what does
    not go out at once (`pending`) for the next `flush`. Writing never raises: that nobody reads any more is told by
    the end of file, and by `broken`.
    """

    def __init__(self, sock: socket.socket):
        self.sock = sock
        self._in = bytearray()
        self._out = b""
        self.broken = False

    @property
    def pending(self) -> bool:
        return bool(self._out)

    def send(self, **content: Any) -> None:
        self.write(to_line(content))

    def write(self, data: bytes) -> None:
        self._out += data
        self.flush()

    def flush(self) -> None:
        try:
            while self._out:
                self._out = self._out[self.sock.send(self._out) :]
        except BlockingIOError:
            pass
        except OSError:
            self._out, self.broken = b"", True

    def receive(self) -> list[bytearray] | None:
        """The lines that are complete with what one read brings, or None at the end of file.

        Raises:
            BlockingIOError: there is nothing to read now.
            ValueError: a line does not end.
        """
        try:
            data = self.sock.recv(_CHUNK)
        except ConnectionResetError:
            data = b""
        if not data:
            return None
        self._in += data
        if b"\n" in data:
            *lines, self._in = self._in.split(b"\n")
            return lines
        if len(self._in) > _LONGEST:
            raise ValueError(f"a line of more than {_LONGEST} bytes")
        return []

    def wait(self) -> dict[str, Any] | None:
        """The next message, or None at the end of file. The two sides take turns, so there is never a second one."""
        while (lines := self.receive()) == []:
            pass
        return message(lines[0]) if lines else None


def to_line(content: dict[str, Any]) -> bytes:
    return json.dumps(content).encode() + b"\n"


def message(data: bytearray) -> dict[str, Any]:
    """What a line says; ValueError where it is not one of ours."""
    try:
        content = json.loads(data)
    except (ValueError, RecursionError):
        content = None
    if not isinstance(content, dict):
        raise ValueError(f"not a message: {bytes(data[:80])!r}")
    return content
