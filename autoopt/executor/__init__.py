"""Where trials run. An executor takes orders and tells how they go; it knows nothing of what they train."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from autoopt.orders import REASONS, Order  # noqa: F401 - until those that need REASONS import it from there
from autoopt.store import Store


@dataclass(frozen=True)
class Event:
    """What has happened to a trial.

    Args:
        number: the trial's.
        kind: `started` may come again, where the trial had to be run again; `finished` and `failed` are the last.
        data: of started `pid`, of report `epoch` and `metrics`, of failed an `orders.Problem` as JSON, of finished an
            `orders.Outcome` as JSON.
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
        """What `autoopt.trial.world.prepare` found out about the data and the models; waits until it has.

        Raises:
            BadInput: the data or a technique cannot be used.
        """

    @abstractmethod
    def submit(self, number: int, order: Order) -> None:
        """Run an order; it waits where there is no room for it yet."""

    @abstractmethod
    def events(self, timeout: float = 0.2) -> Iterator[Event]:
        """What has happened, waiting at most so many seconds for anything to happen."""

    @abstractmethod
    def reply(self, number: int, stop: bool) -> None:
        """Answer the report of a rung, which waits for the answer."""

    @abstractmethod
    def kill(self, number: int, reason: str = "user") -> None:
        """End a trial; its `failed` event, which carries the reason, still comes."""

    @abstractmethod
    def now(self) -> float:
        """Seconds on the executor's own clock, the only clock of a study."""

    @abstractmethod
    def close(self) -> None:
        """End whatever still runs, without events."""


class TemplateError(Exception):
    """No trial can run, because the process that they are forked from does not come up."""

    exit_code = 2
