import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from autoopt.executor.local import Local
from autoopt.store import Store

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Do:
    """An order of the tests: which function of executor_target is called, with which values."""

    key: str
    do: str
    values: dict[str, Any] = field(default_factory=dict)
    time_limit: float | None = None
    rungs: tuple[int, ...] = tuple(range(100))

    def json(self) -> dict[str, Any]:
        return {"do": self.do, **self.values}


class Bench:
    """An executor under test: submits, answers the reports of rungs (every epoch, unless an order has its own), gathers what comes."""

    def __init__(self, store, setup=None, workers=2, **options):
        self.store = store
        self.local = Local(setup or {}, store, workers=workers, target="executor_target", **options)
        self.events = []
        self.orders = {}

    def submit(self, number, do, *, limits=None, **values):
        self.orders[number] = Do(str(number), do, values, **(limits or {}))
        self.local.submit(number, self.orders[number])

    def pump(self, until, stop=lambda event: False, on=lambda event: None, seconds=60):
        deadline = time.monotonic() + seconds
        while not until():
            assert time.monotonic() < deadline, f"nothing more came: {self.events}"
            for event in self.local.events():
                self.events.append(event)
                on(event)
                if event.kind == "report" and event.data["epoch"] in self.orders[event.number].rungs:
                    self.local.reply(event.number, stop(event))

    def run(self, do, number=0, **values):
        """Run one to its end, which is returned."""
        self.submit(number, do, **values)
        self.finish()
        return self.events[-1]

    def finish(self, **how):
        self.pump(lambda: not self.local.running, **how)

    def kinds(self, number):
        return [event.kind for event in self.events if event.number == number]

    def log(self, number=0):
        return self.store.log(str(number)).read_text()


@pytest.fixture
def bench(tmp_path, monkeypatch):
    """Makes benches, and closes them."""
    monkeypatch.syspath_prepend(HERE)
    made = []

    def make(*args, store=None, **options):
        made.append(Bench(store or Store(tmp_path), *args, **options))
        return made[-1]

    yield make
    for each in made:
        each.local.close()
