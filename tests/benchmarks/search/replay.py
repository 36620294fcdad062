"""An executor that plays a recorded table: a whole study, from its first proposal to its verdict, in seconds.

`python tests/benchmarks/search/replay.py TABLE [OVERRIDE...]`, such as `shells_mlp strategy=tpe study.trials=40 seed=3`
"""

import os
import sys
import tempfile
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from heapq import heappop, heappush
from math import isnan
from pathlib import Path
from random import Random
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"  # before numpy is imported
sys.path.insert(0, str(Path(__file__).parents[1] / "tables"))

import numpy as np
from safetensors.numpy import save_file
from table import SEEDS, Table

from autoopt.config import compose
from autoopt.deployment.card import CARD_FACTS
from autoopt.executor import Event, Executor
from autoopt.orders import Measure, Order, Outcome, Problem, Train
from autoopt.records.verdict import Verdict
from autoopt.report.terminal import closing
from autoopt.store import Store
from autoopt.study.search import search
from autoopt.terminal import Progress

FACTS = {
    **dict.fromkeys(CARD_FACTS), "examples": "0", "sources": {}, "absent": {}, "objective": None, "notes": [], "told": [], "test": True,
    "lightning": False, "batch_size": None, "chance": {}, "versions": {},
}  # fmt: skip
"""Of an executor that has no data."""


@dataclass
class Running:
    """A training: how far it is, and where its curve stands in the table."""

    order: Train
    worker: int
    row: int
    seed: int
    epoch: int = 0
    stopped: bool = False


class Replay(Executor):
    """Trains by looking up the curves of a table, on a clock of its own.

    A training takes the curve of one of the table's seeds, by its order's seed.

    Args:
        speeds: of the workers, in epochs a second, in turn.
        failures: the share of trainings that a fault of the machine ends.
    """

    def __init__(self, table: Table, folder: Path, workers: int = 1, speeds: Sequence[float] = (1.0,), failures: float = 0.0):
        self.table, self.store, self.workers, self.speeds, self.failures = table, Store(folder), workers, speeds, failures
        self.clock = 0.0
        self.due: list[tuple[float, int]] = []
        self.live: dict[int, Running] = {}
        self.news: deque[Event] = deque()
        self.free = list(range(workers))
        self.waiting: deque[tuple[int, Order]] = deque()
        self.orders: list[Order] = []

    @property
    def facts(self) -> dict[str, Any]:
        return dict(FACTS)

    def submit(self, number: int, order: Order) -> None:
        self.orders.append(order)
        self.waiting.append((number, order))
        self._begin()

    def _begin(self) -> None:
        while self.waiting and self.free:
            number, order = self.waiting.popleft()
            self.news.append(Event(number, "started", {"pid": number}))
            if not isinstance(order, Train):
                self._finish(number, self._measured(order))
                continue
            worker = self.free.pop(0)
            self.live[number] = Running(
                order, worker, self.table.row(self.table.grid.space.values_of(order.recipe)), Random(order.seed).randrange(SEEDS)
            )
            heappush(self.due, (self.clock + 1 / self.speeds[worker % len(self.speeds)], number))

    def events(self, timeout: float = 0.2) -> Iterator[Event]:
        while self.news:
            yield self.news.popleft()
        if not self.due:
            return
        self.clock, number = heappop(self.due)
        if (running := self.live.get(number)) is None:
            return
        running.epoch += 1
        metrics = self._metrics(running)
        if Random(f"{number} {running.epoch}").random() < self.failures / self.table.grid.epochs:
            yield self._failed(number, Problem("lost", "the worker is gone"))
        elif any(map(isnan, metrics.values())):
            yield self._failed(number, Problem("nonfinite", "the loss is not a finite number"))
        else:
            yield Event(number, "report", {"epoch": running.epoch, "metrics": metrics})
            if running.stopped or running.epoch == self.table.grid.epochs:
                if running.order.keep:
                    self._store(running.order.key)
                self._finish(number, Outcome(metrics, epochs=running.epoch, stopped=running.stopped))
                self._leave(number)
            else:
                heappush(self.due, (self.clock + 1 / self.speeds[running.worker % len(self.speeds)], number))
        while self.news:
            yield self.news.popleft()

    def _metrics(self, running: Running) -> dict[str, float]:
        place = running.row, running.seed, running.epoch - 1
        error, loss = float(self.table.error[place]), float(self.table.loss[place])
        return {"val_loss": loss} if self.table.grid.objective == "val_loss" else {"val_accuracy": 1 - error, "val_loss": loss}

    def _measured(self, order: Order) -> Outcome:
        """Of a measurement, the final test error; of a try-out, that everything works."""
        row = self.table.row(self.table.grid.space.values_of(order.recipe))
        error = float(self.table.test[row, Random(order.seed).randrange(SEEDS)])
        name, value = ("loss", error) if self.table.grid.objective == "val_loss" else ("accuracy", 1 - error)
        tested = {f"test_{name}": value}
        if isinstance(order, Measure):
            return Outcome(tested, epochs=0)
        return Outcome({f"val_{name}": value}, epochs=1, tested=tested, validated=[f"val_{name}"])

    def _store(self, key: str) -> None:
        with self.store.writing(key) as weights:
            save_file({"weight": np.zeros(1, np.float32)}, weights)

    def _finish(self, number: int, outcome: Outcome) -> None:
        self.news.append(Event(number, "finished", outcome.json()))

    def _failed(self, number: int, problem: Problem) -> Event:
        self._leave(number)
        return Event(number, "failed", problem.json())

    def _leave(self, number: int) -> None:
        self.free.append(self.live.pop(number).worker)
        self._begin()

    def reply(self, number: int, stop: bool) -> None:
        self.live[number].stopped = stop

    def kill(self, number: int, reason: str = "user") -> None:
        if number in self.live:
            self.news.append(self._failed(number, Problem(reason, "ended by the supervisor")))

    def now(self) -> float:
        return self.clock

    def close(self) -> None:
        self.live.clear()


def replayed(table: Table, root: Path, *overrides: str, **options: Any) -> tuple[Verdict, Replay]:
    """The verdict of a study in `root/replay` that searches a table, and the executor that it had.

    Args:
        options: of the executor.
    """
    tree = compose([*table.grid.config, f"root={root}", "name=replay", *overrides])
    executor = Replay(table, root / "replay", **options)
    with Progress() as screen:
        verdict = search(tree, screen, executor)
        closing(verdict, screen.say)
    return verdict, executor


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        replayed(Table.load(sys.argv[1]), Path(folder), *sys.argv[2:])
