"""Where trials run. An executor takes orders and reports their events; it does not know what they train."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from autoopt.orders import Order
from autoopt.store import Store

LIVES = 3
"""How often a trial begins whose template dies, or is handed to a worker that is gone before the trial has begun."""


@dataclass(frozen=True)
class Event:
    """An event of a trial.

    Args:
        number: the trial's number.
        kind: `started` comes again if the trial is run again; `finished` or `failed` is the last event.
        data: `pid` with `started`; `epoch` and `metrics` with `report`; an `orders.Outcome` as JSON with `finished`; an
            `orders.Problem` as JSON with `failed`.
    """

    number: int
    kind: Literal["started", "report", "finished", "failed"]
    data: dict[str, Any]


class Executor(ABC):
    """The place where a study's trials run.

    Args:
        store: where the trials' logs and weights are stored.
        workers: how many trials run at once.
    """

    store: Store
    workers: int

    @property
    @abstractmethod
    def facts(self) -> dict[str, Any]:
        """The facts about the data and the models from `autoopt.trial.world.prepare`; waits until it is done.

        Raises:
            BadInput: the data or a technique cannot be used.
        """

    @abstractmethod
    def submit(self, number: int, order: Order) -> None:
        """Run an order as soon as there is room for it."""

    @abstractmethod
    def events(self, timeout: float = 0.2) -> Iterator[Event]:
        """The new events; waits for the first at most `timeout` seconds."""

    @abstractmethod
    def reply(self, number: int, stop: bool) -> None:
        """Answer the report of a rung: the trial waits for the answer."""

    @abstractmethod
    def kill(self, number: int, reason: str = "user") -> None:
        """End a trial; its `failed` event, which carries the reason, still comes."""

    @abstractmethod
    def now(self) -> float:
        """Seconds on the executor's own clock, the only clock of a study."""

    @abstractmethod
    def close(self) -> None:
        """End all trials that still run, without events."""


class TemplateError(Exception):
    """No trial can run, because the process that forks them does not start."""

    exit_code = 2
