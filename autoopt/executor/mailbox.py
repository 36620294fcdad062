"""Messages through a shared folder, and the worker that lives by them: run as `python -m autoopt.executor.mailbox BOX`.

A message is a folder that appears under its name by one rename, is read by one reader, and is deleted by it. No locks, no appending and no
clock of another machine: it is sound on NFS, too, where a message may only come later, by the time for which the client caches folders.
"""

import json
import os
import shutil
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from autoopt.executor.files import TrialFile
from autoopt.executor.worker import LINGER, Message, Worker
from autoopt.process.endings import NOTICES

BEAT = 5.0
"""Seconds between two signs of life."""
LEASE = 120.0
"""Seconds without a sign of life after which the other side is given up."""
SAFE_PATH = "PYTHONSAFEPATH"
FOREIGN = ("SLURM_", "SLURMD_", "SRUN_", "PMI", "OMPI_", "SUBMITIT_", SAFE_PATH)
"""The variables of a queue, the last for submitit alone: Lightning would take a trial for a task of the job's own distributed training."""


class Box:
    """One direction of a connection."""

    def __init__(self, folder: Path):
        self.folder, self._last = folder, 0
        folder.mkdir(parents=True, exist_ok=True)

    def put(self, message: Message) -> None:
        """Send a message.

        Raises:
            OSError: it cannot be written; the folder is gone if nobody reads it any more.
        """
        self._last = max(self._last + 1, time.time_ns())
        partial = self.folder / f".{self._last:020d}"
        partial.mkdir()
        listed = []
        for number, file in enumerate(message.files):
            listed.append({"path": file.path, "more": file.more, "there": file.data is not None})
            (partial / str(number)).write_bytes(file.data or b"")
        (partial / "message.json").write_text(json.dumps({"content": message.content, "files": listed}), encoding="utf-8")
        partial.rename(self.folder / f"{self._last:020d}")

    def take(self) -> list[Message]:
        """The messages that have come, in their order; what cannot be read yet comes the next time."""
        told = []
        try:
            paths = sorted(path for path in self.folder.iterdir() if path.name.isdigit())
        except OSError:
            return []
        for path in paths:
            taken = path.with_name(f".{path.name}")
            try:
                read = json.loads((path / "message.json").read_text(encoding="utf-8"))
                files = [
                    TrialFile(file["path"], (path / str(number)).read_bytes() if file["there"] else None, file["more"])
                    for number, file in enumerate(read["files"])
                ]
                path.rename(taken)  # in one step, since it may be deleted in part alone
            except (OSError, ValueError):
                break
            told.append(Message(read["content"], files))
            shutil.rmtree(taken, ignore_errors=True)
        return told


class Pulse:
    """A sign of life: a file that one side rewrites, and by which the other tells on its own clock how long it has been silent."""

    def __init__(self, path: Path):
        self.path, self._seen, self._since, self._beat = path, "", time.monotonic(), 0.0
        self.heard = False

    def beat(self) -> None:
        """Give a sign of life, if it is time for one; a folder that cannot be written at the moment makes for silence."""
        if time.monotonic() - self._beat > BEAT:
            self._beat = time.monotonic()
            partial = self.path.with_name(f".{self.path.name}")
            with suppress(OSError):
                partial.write_text(str(time.time_ns()), encoding="utf-8")
                partial.replace(self.path)

    def silence(self) -> float:
        """Seconds since the other side has last been heard of."""
        try:
            seen = self.path.read_text(encoding="utf-8")
        except OSError:
            seen = ""
        if seen != self._seen:
            self._seen, self._since, self.heard = seen, time.monotonic(), self.heard or bool(seen)
        return time.monotonic() - self._since

    def restart(self) -> None:
        """Forget that the other side was heard of; what it has written until now does not count."""
        self.silence()
        self.heard, self._since = False, time.monotonic()


def serve(box: Path, order: dict[str, Any]) -> None:
    """Carry out what comes, until the supervisor says so, is silent for too long, or has given up the box."""
    inbox, outbox, pulse, supervisor = Box(box / "in"), Box(box / "out"), Pulse(box / "beat"), Pulse(box.parent / "beat")
    signal.signal(signal.SIGUSR2, signal.SIG_IGN)  # a queue signals every process of a job, and the trials' template has to go on
    worker = Worker(**order)
    leaving: list[int] = []

    def leave(number: int, _: object) -> None:
        if not worker.warm:
            sys.exit(128 + number)
        leaving.append(number)

    for number in signal.SIGUSR2, *NOTICES:
        signal.signal(number, leave)
    try:
        while box.exists() and supervisor.silence() < LEASE:
            pulse.beat()
            told = inbox.take()
            if {"do": "leave"} in [message.content for message in told]:
                break
            for message in worker.exchange(told, LINGER):
                outbox.put(message)
            if leaving:
                for message in worker.preempt():
                    outbox.put(message)
                outbox.put(Message({"kind": "leaving"}))
                break
            if worker.order is None and not told:
                time.sleep(LINGER / 2)
    except FileNotFoundError:
        if box.exists():
            raise
    finally:
        worker.close()


def main() -> None:
    box = Path(sys.argv[1])
    for name in [name for name in os.environ if name.startswith(FOREIGN)]:
        del os.environ[name]
    serve(box, json.loads((box / "order.json").read_text(encoding="utf-8")))


if __name__ == "__main__":
    main()
