"""What the executors of real processes share: their clock, and events that are gathered in turns."""

import time
from abc import abstractmethod
from collections import deque
from collections.abc import Collection, Iterator
from typing import Any

from autoopt.executor import Event, Executor, TemplateError
from autoopt.orders import REASONS, Order, Problem
from autoopt.store import Store


class RealTime(Executor):
    """Hears of its trials in turns, and keeps their events until they are asked for.

    Args:
        store: where logs and weights are stored.
    """

    def __init__(self, store: Store):
        self.store = store
        store.root.mkdir(parents=True, exist_ok=True)
        self._news: deque[Event] = deque()
        self._facts: dict[str, Any] | None = None
        self._end: Exception | None = None

    @property
    def facts(self) -> dict[str, Any]:
        """The facts that `prepare` returned; waits until it is done.

        Raises:
            BadInput: the data or a technique cannot be used, or there is no room for a trial.
            TemplateError: trials cannot be prepared.
            NotConcluded: the process that prepares them was killed again and again. `events` raises all of them too.
        """
        while self._facts is None:
            self._turn(1.0)
        return self._facts

    @property
    @abstractmethod
    def running(self) -> Collection[int]:
        """The numbers of the trials that wait or run, or whose last events nobody has asked for."""

    def now(self) -> float:
        return time.monotonic()

    def submit(self, number: int, order: Order) -> None:
        """Run an order as soon as there is room for it.

        Raises:
            ValueError: a trial of this number runs already.
        """
        if number in self.running:
            raise ValueError(f"trial {number} is running already")
        self._submit(number, order)

    def events(self, timeout: float = 0.2) -> Iterator[Event]:
        if not self._news:
            self._turn(timeout)
        while self._news:
            yield self._news.popleft()

    def kill(self, number: int, reason: str = "user") -> None:
        """End a trial; its `failed` event still comes.

        Raises:
            ValueError: the reason is none of `orders.REASONS`.
        """
        if reason not in REASONS:
            raise ValueError(f"unknown reason to fail: {reason!r}. Known: {', '.join(REASONS)}")
        self._kill(number, Problem(reason, "ended by the supervisor"))

    def close(self) -> None:
        if not self._end:
            self._shut(TemplateError("the executor is closed"))

    @abstractmethod
    def _turn(self, timeout: float) -> None:
        """Handle what there is to hear, and wait for it at most `timeout` seconds."""

    @abstractmethod
    def _submit(self, number: int, order: Order) -> None: ...

    @abstractmethod
    def _kill(self, number: int, problem: Problem) -> None: ...

    @abstractmethod
    def _shut(self, end: Exception) -> None:
        """End all trials; from now on each turn raises `end`."""
