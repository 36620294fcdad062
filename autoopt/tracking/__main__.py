"""`python -m autoopt.tracking FOLDER` writes a study's spool to MLflow.

With --follow it goes on until the study ends; with --died it ends the runs of studies whose processes are gone, one after the other.
"""

import argparse
import io
import logging
import os
import sys
import time
from fcntl import LOCK_EX, LOCK_NB, flock
from pathlib import Path
from threading import Event, Thread
from typing import IO

from autoopt.errors import BadInput, summary
from autoopt.process.log import shorten
from autoopt.tracking.environment import prepare_environment
from autoopt.tracking.spool import END, LAST, LOG, SPOOL, SQLITE, Destination, is_closed, redacted, secrets, target, unwritten

POLL, TICK, PATIENCE = 1.0, 0.25, 30.0
DRAINED, BAD, LEFT = 0, 2, 75
STDERR = 2


class Redacted(io.TextIOBase):
    """A stream that hides the store's credentials, which errors of servers and databases like to quote, and keeps its log short."""

    def __init__(self, stream: IO[str], hidden: list[str], log: Path):
        self._stream, self._hidden, self._log = stream, hidden, log

    def write(self, text: str) -> int:
        written = self._stream.write(redacted(text, self._hidden))
        self.flush()
        shorten(self._log)
        return written

    def flush(self) -> None:
        self._stream.flush()


class Writer:
    """The loop around the mirror. Without a supervisor to follow, it writes the present records and ends.

    Args:
        died: the study's process is gone, and has not ended the spool.
    """

    def __init__(self, folder: Path, where: Destination, supervisor: int | None, died: bool = False):
        self._folder, self._where, self._supervisor, self._died = folder, where, supervisor, died
        self._size = (folder / SPOOL).stat().st_size
        self._imported = Event()

    def leaving(self) -> bool:
        return os.getppid() != self._supervisor or is_closed(self._folder)

    def orphaned(self) -> bool:
        """Whether the supervisor died, without an end of the spool; a spool that grew has another supervisor."""
        if self._died:
            return (self._folder / SPOOL).stat().st_size == self._size
        return bool(self._supervisor) and os.getppid() != self._supervisor and not is_closed(self._folder)

    def limit(self) -> None:
        """End this process, whatever it waits for, `LAST` seconds after the supervisor died, or while a server does not answer."""
        while not self.leaving():
            time.sleep(TICK)
        if not self.orphaned():
            if self._where.uri.startswith(SQLITE):
                return
            self._imported.wait()
        time.sleep(LAST)
        os._exit(LEFT)  # a record that is written again appears once

    def pause(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until and not self.leaving():
            time.sleep(TICK)

    def run(self) -> int:
        from autoopt.tracking.writer import SpoolWriter  # MLflow reads its environment when it is imported

        self._imported.set()
        mirror, wait = None, POLL
        while True:
            leaving = self.leaving()
            try:
                mirror = mirror or SpoolWriter(self._folder, self._where)
                more, wait = mirror.write(), POLL
            except Exception as error:
                logging.warning("MLflow cannot be reached: %s", summary(error))
                if leaving:
                    return LEFT
                mirror, more, wait = None, False, min(2 * wait, PATIENCE)
            if leaving and not more:
                if mirror and self.orphaned():
                    mirror.cut()
                return DRAINED
            if not more:
                self.pause(wait)


def lock(spool: IO[bytes], writer: Writer) -> bool:
    """Lock the spool, once no other writer uses it; without a supervisor, do not wait and return False."""
    while True:
        try:
            flock(spool, LOCK_EX | LOCK_NB)
            return True
        except BlockingIOError:
            if writer.leaving():
                return False
            time.sleep(TICK)


def mirror_spool(folder: Path, supervisor: int | None, died: bool = False) -> int:
    where = target(folder)
    sys.stdout = sys.stderr = Redacted(sys.__stderr__ or sys.stderr, secrets(where.uri), folder / LOG)
    logging.basicConfig(format="%(asctime)s %(message)s", level=logging.WARNING, force=True)
    writer = Writer(folder, where, supervisor, died and not is_closed(folder))
    with (folder / SPOOL).open("rb+") as spool:
        if not lock(spool, writer):
            raise BadInput(f"{folder}: another writer uses it; try again when that has ended.")
        if supervisor:
            Thread(target=writer.limit, daemon=True).start()
        code = writer.run()
        if died and code == DRAINED and writer.orphaned():
            spool.seek(0, os.SEEK_END)
            spool.write(END)  # so that no other command ends the runs again
    if not supervisor:
        print(f"{unwritten(folder, where)} records are not written yet.")
    return code


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m autoopt.tracking", description=__doc__)
    parser.add_argument("folders", type=Path, nargs="+", metavar="FOLDER", help="a study's folder")
    parser.add_argument("--follow", type=int, metavar="PID", help="run while this process, its parent, lives")
    parser.add_argument("--died", action="store_true", help="the study's process is gone: end its runs")
    asked = parser.parse_args()
    prepare_environment()
    if asked.follow or asked.died:
        os.nice(10)  # training comes first
    return max([mirrored(folder, asked.follow, asked.died) for folder in asked.folders])


def mirrored(folder: Path, supervisor: int | None, died: bool) -> int:
    """Mirror one spool, and return an exit code. Where studies died, what is said goes to the log of each."""
    try:
        if died:
            with (folder / LOG).open("ab") as log:
                os.dup2(log.fileno(), STDERR)
        return mirror_spool(folder, supervisor, died)
    except (BadInput, OSError) as problem:
        print(problem, file=sys.stderr)
        return BAD


if __name__ == "__main__":
    sys.exit(main())
