"""Trials on workers elsewhere: the part of such an executor that does not depend on how its workers are reached."""

import math
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from autoopt.config import is_live
from autoopt.domain import Unavailable
from autoopt.errors import BadInput
from autoopt.executor import LIVES, Event, TemplateError
from autoopt.executor.files import read_files, read_folders, write_files
from autoopt.executor.realtime import RealTime
from autoopt.executor.worker import Message
from autoopt.orders import Json, Order, Problem
from autoopt.store import Store

BREAKS, LATER_BREAKS = 3, 8
"""How many workers in a row may be gone before they are warm while no other is: as long as none has been, and afterwards, with pauses."""
LONGEST_PAUSE = 60.0
"""Seconds before the next worker is hired; a place where none starts is no reason to give up those that work."""

FAREWELL = 5.0
"""Seconds for workers to end by themselves."""


class Gone(Exception):
    """A worker is no more; `problem` is that of the trial it had."""

    def __init__(self, problem: Problem):
        super().__init__(str(problem))
        self.problem = problem


class Link(ABC):
    """The way to one worker, which is starting or runs."""

    @abstractmethod
    def tell(self, message: Message) -> None:
        """Send a message.

        Raises:
            Gone: the worker cannot be reached.
        """

    @abstractmethod
    def hear(self, busy: bool) -> list[Message]:
        """The new messages; never waits.

        Args:
            busy: whether the worker has something to tell sooner or later.

        Raises:
            Gone: the worker is no more.
        """

    @abstractmethod
    def end(self) -> None:
        """End the worker and its trial."""


@dataclass(eq=False)
class Assignment:
    """A submitted trial."""

    number: int
    order: Order
    lives: int = LIVES
    begun: bool = False
    problem: Problem | None = None

    def end(self, problem: Problem) -> Event:
        return Event(self.number, "failed", problem.json())


@dataclass(eq=False)
class Hand:
    """A worker as the supervisor sees it: warm once its facts are here, idle while it has no trial."""

    link: Link
    warm: bool = False
    trial: Assignment | None = None


class Remote(RealTime):
    """Hands each trial to an idle worker; a worker that is gone is replaced, and its trial fails for the machine's reason.

    Only the supervisor writes to the store: a worker's files come with its messages, those of a trial's end before it. So nothing
    counts twice, whatever a worker does that was given up.

    Args:
        store: where logs and weights are stored; workers need not reach it.
        told: lines for the user.
        once: a worker carries out one trial, and is then replaced.
    """

    def __init__(self, store: Store, *, told: Sequence[str] = (), once: bool = False):
        super().__init__(store)
        self._told, self._once = [*told], once
        self._hands: list[Hand] = []
        self._waiting: deque[Assignment] = deque()
        self._broken, self._pause = 0, -math.inf

    @abstractmethod
    def hire(self) -> Link:
        """Start a worker, without waiting for it.

        Raises:
            Gone: it cannot be started now.
        """

    @abstractmethod
    def wait(self, links: Sequence[Link], timeout: float) -> None:
        """Wait until one of the workers may have news."""

    def check(self) -> None:
        """Raise BadInput where the workers cannot start."""

    @cached_property
    def facts(self) -> dict[str, Any]:
        known = super().facts
        return {**known, "told": [*known["told"], *self._told]}

    @property
    def running(self) -> Collection[int]:
        trials = [*self._waiting, *(hand.trial for hand in self._hands if hand.trial)]
        return {trial.number for trial in trials} | {event.number for event in self._news}

    def _submit(self, number: int, order: Order) -> None:
        self._waiting.append(Assignment(number, order))
        self._place()

    def reply(self, number: int, stop: bool) -> None:
        if hand := self._hand_of(number):
            self._tell(hand, Message({"do": "reply", "number": number, "stop": stop}))

    def _kill(self, number: int, problem: Problem) -> None:
        if hand := self._hand_of(number):
            self._tell(hand, Message({"do": "kill", "number": number, "reason": problem.reason}))
        for trial in [trial for trial in self._waiting if trial.number == number]:
            self._waiting.remove(trial)
            self._news.append(trial.end(problem))

    def _hand_of(self, number: int) -> Hand | None:
        return next((hand for hand in self._hands if hand.trial and hand.trial.number == number), None)

    def _turn(self, timeout: float) -> None:
        if self._end:
            raise self._end
        while self.now() > self._pause and len(self._hands) < self._wanted():
            try:
                self._hands.append(Hand(self.hire()))
            except Gone as gone:
                self._break(gone.problem)
        try:
            self.check()
        except BadInput as error:
            self._fail(error)
        self._place()
        self._listen()
        if not self._news:
            self.wait([hand.link for hand in self._hands], timeout)
            self._listen()
            self._place()

    def _wanted(self) -> int:
        """How many workers there should be: where each carries out one trial, no more than there are trials, after the first."""
        needed = len(self._waiting) + sum(hand.trial is not None for hand in self._hands)
        return min(self.workers, needed or self._facts is None) if self._once else self.workers

    def _listen(self) -> None:
        for hand in [*self._hands]:
            try:
                for message in hand.link.hear(busy=not hand.warm or hand.trial is not None):
                    self._take(hand, message)
            except Gone as gone:
                self._lose(hand, gone.problem)

    def _place(self) -> None:
        """Give waiting trials to idle workers."""
        for hand in [*self._hands]:
            if not self._waiting:
                return
            if hand.warm and hand.trial is None:
                hand.trial = self._waiting.popleft()
                self._give(hand, hand.trial)

    def _give(self, hand: Hand, trial: Assignment) -> None:
        try:
            files = read_files(self.store.root, read_folders(trial.order))
        except OSError as error:
            hand.trial = None
            self._news.append(trial.end(Problem("disk", f"its files cannot be read: {error}")))
            return
        self._tell(hand, Message({"do": "submit", "number": trial.number, "order": trial.order.json()}, files))

    def _tell(self, hand: Hand, message: Message) -> None:
        try:
            hand.link.tell(message)
        except Gone as gone:
            self._lose(hand, gone.problem)

    def _take(self, hand: Hand, message: Message) -> None:
        trial = hand.trial
        try:
            write_files(message.files, self.store.root)
        except (OSError, ValueError) as error:
            if trial:
                full = isinstance(error, OSError)
                trial.problem = Problem("disk", f"its files cannot be written: {error}") if full else Problem("error", str(error))
        match message.content:
            case {"kind": "warm", "facts": facts, "host": host}:
                self._welcome(hand, facts, host)
            case {"kind": "event", "number": number, "event": kind, "data": data} if trial and number == trial.number:
                self._happen(hand, trial, Event(number, kind, data))
            case {"kind": "leaving"}:  # it comes again, when the queue has room for it
                hand.warm = False
            case {"kind": "bad_input", "problems": problems}:
                self._fail(BadInput(*problems))
            case {"kind": "broken", "detail": detail} if self._facts is None:
                self._fail(TemplateError(f"{detail} (log: {self.store.root / 'template.log'})"))
            case {"kind": "gone" | "broken", "detail": detail}:  # by the doing of its machine, as others were warm
                self._lose(hand, Problem("lost", detail))

    def _welcome(self, hand: Hand, facts: Json, host: str) -> None:
        self._facts = self._facts or facts
        for name, what in ("examples", "data"), ("sources", "code"):
            if facts[name] != self._facts[name]:
                self._fail(BadInput(f"the worker on {host} has other {what} than the first worker; all workers need the same"))
        hand.warm, self._broken = True, 0

    def _happen(self, hand: Hand, trial: Assignment, event: Event) -> None:
        if event.kind in ("finished", "failed"):
            hand.trial = None
            event = trial.end(trial.problem) if trial.problem else event
            if self._once:
                self._dismiss(hand)
        trial.begun = True
        self._news.append(event)

    def _lose(self, hand: Hand, problem: Problem) -> None:
        """Take leave of a worker that is gone: a trial that it had begun fails, one that it had not is handed to the next."""
        self._dismiss(hand)
        if hand.warm:
            self._broken = 0
        else:
            self._break(problem)
        if (trial := hand.trial) is None:
            return
        trial.lives -= 1
        if trial.begun or not trial.lives:
            self._news.append(trial.end(problem))
        else:
            self._waiting.appendleft(trial)

    def _break(self, problem: Problem) -> None:
        self._broken += 1
        if self._broken >= (BREAKS if self._facts is None else LATER_BREAKS) and not any(hand.warm for hand in self._hands):
            times = f"{self._broken} workers ended before they were ready"
            self._fail(TemplateError(f"trials cannot be prepared: {times}; the last: {problem}"))
        self._pause = self.now() + min(2.0**self._broken, LONGEST_PAUSE) if self._facts else self._pause

    def _dismiss(self, hand: Hand) -> None:
        self._hands.remove(hand)
        with suppress(Exception):
            hand.link.end()

    def _fail(self, error: Exception) -> None:
        self._shut(error)
        raise error

    def _shut(self, why: Exception) -> None:
        self._end = why
        for hand in [*self._hands]:
            self._dismiss(hand)
        self._waiting.clear()
        self.disconnect()

    def disconnect(self) -> None:
        """Leave the place where the workers were."""


def sent(setup: dict[str, Any]) -> dict[str, Any]:
    """The setup as workers get it: without the address of the tracking server, which may hold a password.

    Raises:
        Unavailable: the config names an object of this process.
    """
    tree = setup["tree"]
    if is_live(tree):
        raise Unavailable("an object of this process cannot be sent to another machine; put it into a file and give its import path")
    return {**setup, "tree": {**tree, "tracking": {**tree["tracking"], "uri": None}}}
