"""Strategies and executors with one fault each, for the contract to find, and one executor without. Source of all: nobody, 2026."""

import itertools
import time

from autoopt.domain import Unavailable
from autoopt.executor import Event, Executor
from autoopt.orders import Outcome, Problem
from autoopt.strategy import AtRandom, Strategy


class Drawing(Strategy):
    def __init__(self, space):
        self.space, self.asked = space, 0

    def propose(self, history, number, seed):
        return self.draw(f"{seed}/{number}")

    def draw(self, seed):
        return AtRandom(self.space).propose((), 0, seed)


class Outside(Drawing):
    def propose(self, history, number, seed):
        return {name: value * 1e6 if isinstance(value, float) else value for name, value in super().propose(history, number, seed).items()}


class Counting(Drawing):
    def propose(self, history, number, seed):
        self.asked += 1
        return self.draw(f"{seed}/{number}/{self.asked}")


class Remembering(Drawing):
    def propose(self, history, number, seed):
        self.asked = max(self.asked, len(history))
        self.first = getattr(self, "first", number)
        return self.draw(f"{seed}/{number}/{self.first}")


class Trusting(Drawing):
    def propose(self, history, number, seed):
        best = max((trial.scores[0] for trial in history), default=0)
        return self.draw(f"{seed}/{number}/{best}")


class Wavering(Drawing):
    rungs = (3,)

    def stop(self, history, number, epoch):
        self.asked += 1
        return self.asked % 2 == 0


class LateRungs(Drawing):
    rungs = (10,)


def outside(space) -> Strategy:
    return Outside(space)


def counts_its_calls(space) -> Strategy:
    return Counting(space)


def remembers_its_first_call(space) -> Strategy:
    return Remembering(space)


def takes_all_for_complete(space) -> Strategy:
    return Trusting(space)


def wavers(space) -> Strategy:
    return Wavering(space)


def asks_after_the_end(space) -> Strategy:
    return LateRungs(space)


class Scripted(Executor):
    """Trains nothing: a turn of `events` is an epoch of the trial that runs."""

    def __init__(self, store, limits, obeys=True, kills=True, order=True, stores=True, clock=1.0):
        self.store, self.workers = store, limits.workers
        self.obeys, self.kills, self.in_order, self.stores, self.clock = obeys, kills, order, stores, clock
        self.waiting, self.stopped, self.killed = {}, set(), {}

    @property
    def facts(self):
        return {"examples": 0}

    def submit(self, number, order):
        self.waiting[number] = (order, itertools.count(), self.now())

    def events(self, timeout=0.2):
        if not self.waiting:
            return
        number = min(self.waiting)
        order, epochs, begin = self.waiting[number]
        epoch = next(epochs)
        late = order.time_limit is not None and time.monotonic() - begin > order.time_limit / 100
        if number in self.killed or (late and self.kills):
            yield self.end(number, "failed", Problem(self.killed.get(number, "timeout"), "ended").json())
        elif epoch == order.recipe.epochs or number in self.stopped or epoch > 10_000:
            if order.keep and self.stores:
                with self.store.writing(order.key) as path:
                    path.write_bytes(b"")
            yield self.end(number, "finished", Outcome({"val_accuracy": 0.5}, epoch, stopped=number in self.stopped).json())
        else:
            if epoch == 0:
                yield Event(number, "started", {"pid": 1})
            yield Event(number, "report", {"epoch": epoch + 1 if self.in_order else epoch, "metrics": {}})

    def end(self, number, kind, data):
        del self.waiting[number]
        return Event(number, kind, data)

    def reply(self, number, stop):
        if stop and self.obeys:
            self.stopped.add(number)

    def kill(self, number, reason="user"):
        if self.kills:
            self.killed[number] = reason

    def now(self):
        return self.clock * time.monotonic()

    def close(self):
        self.waiting.clear()


def scripted(store, limits) -> Executor:
    """Trains nothing.

    Source: nobody, 2026.
    """
    return Scripted(store, limits)


def stores_nothing(store, limits) -> Executor:
    return Scripted(store, limits, stores=False)


def miscounts(store, limits) -> Executor:
    return Scripted(store, limits, order=False)


def goes_on(store, limits) -> Executor:
    return Scripted(store, limits, obeys=False)


def kills_nothing(store, limits) -> Executor:
    return Scripted(store, limits, kills=False)


def runs_backwards(store, limits) -> Executor:
    return Scripted(store, limits, clock=-1.0)


def far_away(store, limits) -> Executor:
    """A cluster.

    Source: nobody, 2026.
    """
    raise Unavailable("no cluster answers")
