"""JSON lines over a stream socket: the messages between supervisor, template, trials and ranks."""

import json
import socket
from typing import Any

_CHUNK = 1 << 16
_LONGEST = 1 << 24  # longer than any message, and short enough for the reader's memory


class Channel:
    """One end of a connection.

    On a blocking socket, `send` and `wait` block. On a non-blocking socket, `send` keeps unsent data (`pending`) for the
    next `flush`. Writing never raises: the end of file and `broken` tell that the other end is closed.
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
        """The lines that one read completes, or None at the end of file.

        Raises:
            BlockingIOError: there is nothing to read now.
            ValueError: a line is too long.
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
    """A message as the line that is sent."""
    return json.dumps(content).encode() + b"\n"


def message(data: bytearray) -> dict[str, Any]:
    """The content of a line.

    Raises:
        ValueError: the line is not a message.
    """
    try:
        content = json.loads(data)
    except (ValueError, RecursionError):
        content = None
    if not isinstance(content, dict):
        raise ValueError(f"not a message: {bytes(data[:80])!r}")
    return content
