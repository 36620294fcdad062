"""A worker elsewhere: a `Local` with one place, whose orders, events and files travel as messages.

What a trial is (a fork of a warm process, with its limits, reasons and log) is thereby the same on every machine.
"""

import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from autoopt.errors import BadInput, NotConcluded
from autoopt.executor import Event, TemplateError
from autoopt.executor.files import FolderChanges, TrialFile, read_folders, write_files, written_folders
from autoopt.executor.local import Local
from autoopt.orders import Json, Order, from_json
from autoopt.process.endings import NOTICE_TIME
from autoopt.store import Store

LINGER = 0.2
"""Seconds for which reports that nobody waits for are gathered."""


@dataclass(frozen=True)
class Message:
    """What a supervisor and a worker tell each other: JSON, and the files that belong to it."""

    content: Json
    files: list[TrialFile] = field(default_factory=list)


def scratch_folder() -> tempfile.TemporaryDirectory[str]:
    """A folder that is deleted when this process exits; the folders of workers of this machine that were killed are deleted now."""
    ours = f"autoopt-{os.uname().nodename}-"
    for folder in Path(tempfile.gettempdir()).glob(f"{ours}*"):
        pid = folder.name.removeprefix(ours).partition("-")[0]
        if pid.isdigit() and not is_running(int(pid)):
            shutil.rmtree(folder, ignore_errors=True)
    return tempfile.TemporaryDirectory(prefix=f"{ours}{os.getpid()}-", ignore_cleanup_errors=True)


def is_running(pid: int) -> bool:
    """Whether there is a process of this number, perhaps of another user."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        pass
    return True


class Worker:
    """Carries out orders one at a time; use it from one thread.

    Args:
        setup: the argument of the trials' `prepare`.
        trial_time: seconds after which a trial is ended.
        cpus_per_trial: threads of a trial.
        folder: the working directory; `None`: the one that it has.
    """

    def __init__(self, setup: dict[str, Any], trial_time: float | None, cpus_per_trial: int, folder: str | None = None):
        if folder is not None:
            os.chdir(folder)
        here = os.getcwd()
        sys.path[:] = [*(path for path in sys.path if path not in ("", here)), here]  # a module here replaces none that is installed
        self.scratch = scratch_folder()
        self.store = Store(self.scratch.name)
        self.local = Local(setup, self.store, workers=1, trial_time=trial_time, cpus_per_trial=cpus_per_trial)
        self.number = self.pid = 0
        self.order: Order | None = None
        self.changes = FolderChanges(self.store.root, [])
        self.warm = self.asked = False

    def exchange(self, told: Sequence[Message], timeout: float) -> list[Message]:
        """Obey the supervisor's messages, and wait for news at most `timeout` seconds; what needs an answer is returned at once."""
        try:
            for message in told:
                self._obey(message)
            return self._news(timeout)
        except BadInput as error:
            return [Message({"kind": "bad_input", "problems": list(error.problems)})]
        except (TemplateError, NotConcluded) as error:
            log = self.store.root / "template.log"
            detail = str(error).replace(f" (log: {log})", "").removesuffix("; the same command tries again")
            kind = "gone" if isinstance(error, NotConcluded) else "broken"  # another worker may fare better
            return [Message({"kind": kind, "detail": detail}, [TrialFile(log.name, log.read_bytes(), more=True)] if log.exists() else [])]

    def preempt(self) -> list[Message]:
        """End the trial because the machine is taken away, and return its last messages; it has time for a checkpoint."""
        told: list[Message] = []
        deadline = time.monotonic() + NOTICE_TIME
        if self.pid:
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGTERM)
        else:
            deadline = 0
        while self.order is not None:
            if time.monotonic() > deadline:
                self.local.kill(self.number, "preempted")
            if self.asked:  # only at its next batch it writes its checkpoint
                self._reply(self.number, stop=False)
            told += self._news(LINGER)
        return told

    def close(self) -> None:
        self.local.close()
        self.scratch.cleanup()

    def _obey(self, message: Message) -> None:
        match message.content:
            case {"do": "submit", "number": number, "order": order}:
                self.number, self.order, self.pid, self.asked = number, from_json(order), 0, False
                for folder in ("trials", *read_folders(self.order)):
                    shutil.rmtree(self.store.root / folder, ignore_errors=True)
                write_files(message.files, self.store.root)
                self.changes = FolderChanges(self.store.root, written_folders(self.order))
                self.local.submit(number, self.order)
            case {"do": "reply", "number": number, "stop": stop}:
                self._reply(number, stop)
            case {"do": "kill", "number": number, "reason": reason}:
                self.local.kill(number, reason)

    def _reply(self, number: int, stop: bool) -> None:
        self.asked = False
        self.local.reply(number, stop)

    def _news(self, timeout: float) -> list[Message]:
        if not self.warm:
            facts, self.warm = self.local.facts, True
            return [Message({"kind": "warm", "facts": facts, "host": os.uname().nodename})]
        events: list[Event] = []
        deadline = time.monotonic() + timeout
        while self.order is not None and not any(map(self._urgent, events)) and (left := deadline - time.monotonic()) > 0:
            events += self.local.events(left)
        told = [Message({"kind": "event", "number": e.number, "event": e.kind, "data": e.data}) for e in events]
        if events and events[-1].kind in ("finished", "failed"):
            self.order = None
        self.pid = next((event.data["pid"] for event in events if event.kind == "started"), self.pid)
        self.asked = self.order is not None and (self.asked or any(map(self._urgent, events)))
        files = self.changes.take()
        return [Message({"kind": "files"}, files), *told] if files else told  # before the end of the trial whose files they are

    def _urgent(self, event: Event) -> bool:
        """Whether somebody waits for what an event brings about."""
        assert self.order is not None
        return event.kind in ("finished", "failed") or (event.kind == "report" and event.data["epoch"] in self.order.rungs)
