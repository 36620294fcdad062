import json
import os
import select
import shlex
import subprocess
import sys
from base64 import b64decode, b64encode
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from autoopt.executor import Executor
from autoopt.executor.files import TrialFile
from autoopt.executor.remote import Gone, Link, Remote, sent
from autoopt.executor.resources import Limits
from autoopt.executor.worker import Message, Worker
from autoopt.orders import Problem
from autoopt.store import Store


def piped(setup: dict[str, Any], store: Store, limits: Limits, *, command: str = "", python: str | None = None) -> Executor:
    """Workers behind a command that passes standard input and output on, such as `ssh host`; without one they are on this machine.

    Source: the authors of autoopt-signs, 2026.
    """
    order = {"setup": sent(setup), "trial_time": limits.trial_time, "cpus_per_trial": limits.cpus_per_trial}
    return Piped(store, limits.workers or 1, [*shlex.split(command), python or sys.executable, "-m", "autoopt_signs.piped"], order)


class Piped(Remote):
    def __init__(self, store: Store, workers: int, command: list[str], order: dict[str, Any]):
        super().__init__(store)
        self.workers, self.command, self.order = workers, command, order

    def hire(self) -> Link:
        return Pipe(self.command, self.order)

    def wait(self, links: Sequence[Link], timeout: float) -> None:
        select.select([link.reading for link in links if isinstance(link, Pipe)], [], [], timeout)


class Pipe(Link):
    def __init__(self, command: list[str], order: dict[str, Any]):
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self.process.stdin and self.process.stdout
        self.writing, self.reading, self.begun = self.process.stdin.fileno(), self.process.stdout.fileno(), bytearray()
        write(self.writing, json.dumps(order))

    def tell(self, message: Message) -> None:
        with suppress(BrokenPipeError):  # `hear` finds the end
            write(self.writing, encoded(message))

    def hear(self, busy: bool) -> list[Message]:
        told: list[Message] = []
        while select.select([self.reading], [], [], 0)[0]:
            lines = read(self.reading, self.begun)
            if lines is None and not told:
                raise Gone(Problem("lost", f"its worker has ended with code {self.process.wait()}"))
            if not lines:
                break
            told += map(decoded, lines)
        return told

    def end(self) -> None:
        os.close(self.writing)
        self.process.wait()


def write(descriptor: int, line: str) -> None:
    data = memoryview(line.encode() + b"\n")
    while data:
        data = data[os.write(descriptor, data) :]


def read(descriptor: int, begun: bytearray) -> list[bytes] | None:
    """The lines that one read completes; None at the end."""
    if not (data := os.read(descriptor, 1 << 20)):
        return None
    *lines, rest = bytes(begun + data).split(b"\n")
    begun[:] = rest
    return lines


def encoded(message: Message) -> str:
    files = [(file.path, None if file.data is None else b64encode(file.data).decode(), file.more) for file in message.files]
    return json.dumps([message.content, files])


def decoded(line: bytes) -> Message:
    content, files = json.loads(line)
    return Message(content, [TrialFile(path, None if data is None else b64decode(data), more) for path, data, more in files])


def main() -> None:
    begun, lines = bytearray(), list[bytes]()
    while not lines:  # the first says what to prepare
        if (more := read(0, begun)) is None:
            return
        lines = more
    worker, told = Worker(**json.loads(lines[0])), [decoded(line) for line in lines[1:]]
    try:
        while True:
            for message in worker.exchange(told, 0.2):
                write(1, encoded(message))
            idle = worker.warm and worker.order is None
            told = []
            if idle or select.select([0], [], [], 0)[0]:
                if (lines := read(0, begun)) is None:
                    return
                told = [decoded(line) for line in lines]
    finally:
        worker.close()


if __name__ == "__main__":
    main()
