"""Ctrl-C and the notices of a queue, as a command that runs trials takes them."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from autoopt.process.endings import NOTICES


class Interrupted(KeyboardInterrupt):
    """A signal asked the command to end; `signal` is its number. No `except Exception` on its way holds it up."""

    def __init__(self, number: int, left: str):
        super().__init__(f"interrupted by {signal.Signals(number).name}; {left}")
        self.signal, self.exit_code = number, 128 + number


@dataclass
class Interrupts:
    """The signals that asked to end: while trials of a search run, they finish after the first; any other ends the command at once.

    Args:
        left: what an interrupted command leaves, and how to go on.
        patient: running trials finish after the first signal.
        running: how many trials run; those that are only tried out are none.
    """

    left: Callable[[], str]
    say: Callable[[str], None]
    patient: bool = True
    running: int = 0
    numbers: list[int] = field(default_factory=list)

    @contextmanager
    def counted(self) -> Iterator[None]:
        """Count signals; outside of the main thread none arrive."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {s: signal.signal(s, lambda number, _: self.add(number)) for s in (signal.SIGINT, *NOTICES)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def add(self, number: int) -> None:
        self.numbers.append(number)
        if len(self.numbers) > 1:
            raise Interrupted(number, self.left())
        if self.patient and self.running:
            self.say("Stopping: the running trials finish first; a second signal ends them at once. The same command resumes.")
        else:
            self.say("Stopping; a second signal waits for nothing.")
            raise Interrupted(number, self.left())

    def check(self) -> None:
        """Raise Interrupted if a signal came."""
        if self.numbers:
            raise Interrupted(self.numbers[0], self.left())
