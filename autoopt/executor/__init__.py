"""Where trials run. An executor takes jobs and tells how they go; it knows nothing of what they train."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any, Literal, Protocol

REASONS = ("error", "nonfinite", "oom_device", "oom_host", "timeout", "data", "plugin", "preempted", "lost", "user")
"""Every way in which a trial can fail."""


@dataclass(frozen=True)
class Event:
    """What has happened to a trial.

    Args:
        number: the trial's.
        kind: `started` may come again, where the trial had to be run again; `finished` and `failed` are the last.
        data: of started `pid`, of report `epoch` and `metrics`, of failed `reason` (out of `REASONS`) and `detail`
            (one line), of finished the outcome.
    """

    number: int
    kind: Literal["started", "report", "finished", "failed"]
    data: dict[str, Any]


class Executor(Protocol):
    """What a study asks of the place where its trials run."""

    @property
    def running(self) -> Collection[int]:
        """The trials that were submitted and whose last event has not been given out."""

    def submit(self, number: int, job: dict[str, Any]) -> None:
        """Run a job; it waits where there is no room for it yet.

        Args:
            job: what its trial is given; `rungs` are the epochs whose reports wait for an answer.
        """

    def events(self, timeout: float = 0.2) -> Iterator[Event]:
        """What has happened, waiting at most so many seconds for anything to happen."""

    def reply(self, number: int, stop: bool) -> None:
        """Answer the report of a rung, which waits for it."""

    def kill(self, number: int, reason: str = "user") -> None:
        """End a trial; its `failed` event, which carries the reason, still comes."""

    def now(self) -> float:
        """Seconds on the executor's own clock."""

    def close(self) -> None:
        """End whatever still runs, without events."""


class TemplateError(Exception):
    """No trial can run, because the process that they are forked from does not come up."""

    exit_code = 2
