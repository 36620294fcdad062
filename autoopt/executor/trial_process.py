"""One trial, as the supervisor sees it, from its submission to its last event."""

import math
import os
import selectors
import signal
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, fields
from typing import Any

from autoopt.executor import LIVES, Event
from autoopt.orders import REASONS, Problem, is_number
from autoopt.process.channel import Channel, message
from autoopt.process.system import kill_group

_GRACE = 1.0  # seconds for the template to report how a process ended
_STACKS = 0.3  # seconds for a process to write its stacks before it is killed
_FIELDS: dict[str, dict[str, type]] = {
    "started": {"pid": int},
    "report": {"epoch": int, "metrics": dict},
    "finished": {},
    "failed": {f.name: type(getattr(Problem("error", ""), f.name)) for f in fields(Problem)},
}
"""The data of each message."""


@dataclass(eq=False)
class TrialProcess:
    """A submitted trial: it has no channel while it waits, a verdict once its result is known, and is over when its process is.

    Args:
        number: the trial's number.
        told: the line that the trial is sent, with its order.
        log: the file for what it prints.
        limit: the seconds that it may take.
        selector: where it listens to its process.
        news: where it puts its events, except the last, which comes when it is over.
        now: the clock, in seconds.
    """

    number: int
    told: bytes
    log: str
    limit: float | None
    selector: selectors.BaseSelector
    news: deque[Event]
    now: Callable[[], float]
    lives: int = LIVES
    channel: Channel | None = None
    gpus: str = ""
    pid: int | None = None
    verdict: Event | None = None
    over: bool = False
    alarm: float = math.inf
    _on_alarm: Callable[[], None] | None = None

    def begin(self, channel: Channel, gpus: str) -> None:
        self.channel, self.gpus = channel, gpus
        self.selector.register(channel.sock, selectors.EVENT_READ, self.on_ready)
        self._send(self.told)
        if self.limit is not None:
            self._in(self.limit, self._time_out)

    def reply(self, answer: bytes) -> None:
        if self.channel:
            self._send(answer)

    def kill(self, problem: Problem) -> None:
        self._judge(problem)
        self._kill()

    def ended(self, problem: Problem) -> None:
        """Handle the end of its process: a result that it sent counts more than how it ended."""
        self._drain()
        self.pid = None
        self._judge(problem)
        self.over = True

    def orphaned(self, end: str) -> None:
        """Handle the death of its template, and so of its process: it begins again, up to `LIVES` times."""
        if self.pid:
            kill_group(self.pid)
        self._drain()
        self.lives -= 1
        if not self.lives:
            self._judge(Problem("lost", f"its template process died {LIVES} times; the last was {end}"))
        self.over = self.verdict is not None

    def release(self) -> None:
        """Kill the process and close the channel, so that the trial is over or can begin again."""
        if self.pid:
            kill_group(self.pid)
        if self.channel:
            self._deafen()
            self.channel.sock.close()
        self.channel, self.pid, self.alarm = None, None, math.inf

    def _judge(self, problem: Problem) -> None:
        """Set the verdict, unless there is one."""
        self.verdict = self.verdict or Event(self.number, "failed", problem.json())

    def ring(self) -> None:
        """Run the action whose time has come."""
        if self._on_alarm and self.alarm <= self.now():
            self.alarm = math.inf
            self._on_alarm()

    def on_ready(self, mask: int) -> None:
        if self.channel and mask & selectors.EVENT_WRITE:
            self._send(b"")
        if self.channel and mask & selectors.EVENT_READ:
            self._hear(self.channel)

    def _drain(self) -> None:
        while self.channel and self._hear(self.channel):
            pass

    def _send(self, data: bytes) -> None:
        assert self.channel
        self.channel.write(data)
        if self.channel.sock in self.selector.get_map():
            write = selectors.EVENT_WRITE if self.channel.pending else 0
            self.selector.modify(self.channel.sock, selectors.EVENT_READ | write, self.on_ready)

    def _hear(self, channel: Channel) -> bool:
        """Handle the messages of one read; return whether there may be more."""
        try:
            lines = channel.receive()
            for line in lines or ():
                self._take(message(line))
        except BlockingIOError:
            return False
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            self._deafen()
            self.kill(Problem("error", f"the trial sent a line that is not a message: {error}"[:300]))
            return False
        if lines is None:
            self._deafen()
            self._in(_GRACE, self._give_up)
        return lines is not None

    def _take(self, content: dict[str, Any]) -> None:
        kind, data = content["kind"], content["data"]
        first = self.pid is None
        known = all(isinstance(data[name], wanted) for name, wanted in _FIELDS[kind].items())
        if not known or first != (kind == "started") or data.get("reason", "error") not in REASONS:
            raise ValueError(content)
        if not all(map(is_number, data.get("metrics", {}).values() if kind == "report" else ())):
            raise ValueError(content)
        if first:
            self.pid = data["pid"]
        if self.verdict:
            self._kill()
        elif kind in ("finished", "failed"):
            self.verdict = Event(self.number, kind, data)
            self._in(_GRACE, self._give_up)
        else:
            self.news.append(Event(self.number, kind, data))

    def _time_out(self) -> None:
        self._judge(Problem("timeout", f"took longer than {self.limit:g} s, its time limit (executor.trial_time sets it)"))
        if self.pid:
            with suppress(OSError):
                os.kill(self.pid, signal.SIGUSR2)
        self._in(_STACKS, self._kill)

    def _kill(self) -> None:
        if self.pid:
            kill_group(self.pid)
        if self.channel:
            self._in(_GRACE, self._give_up)
        else:
            self.over = True

    def _give_up(self) -> None:
        self._judge(Problem("lost", "its connection closed before it had a result"))
        self.over = True

    def _deafen(self) -> None:
        if self.channel and self.channel.sock in self.selector.get_map():
            self.selector.unregister(self.channel.sock)

    def _in(self, seconds: float, action: Callable[[], None]) -> None:
        self.alarm, self._on_alarm = self.now() + seconds, action
