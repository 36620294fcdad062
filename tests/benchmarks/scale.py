"""A study of many trials with many workers that cost nothing: what the supervisor itself needs, of time, memory and disk.

The workers are simulated. Their clock goes on by the processor time that the supervisor takes, too, so that a worker which waits for it
is idle, whatever else runs on the machine.

`python tests/benchmarks/scale.py [--trials 10000] [--workers 64] [--seconds 30]`
"""

import argparse
import math
import os
import resource
import shutil
import subprocess
import sys
import tempfile
from collections import deque
from collections.abc import Iterator
from heapq import heappop, heappush
from pathlib import Path
from random import Random
from time import perf_counter, process_time
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"  # before numpy is imported
sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parent / "search"))

import numpy as np
from proposals import WIDE
from replay import FACTS
from safetensors.numpy import save_file

from autoopt.config import compose
from autoopt.executor import Event, Executor
from autoopt.orders import Order, Outcome, Train
from autoopt.store import Store
from autoopt.study.search import search
from autoopt.terminal import Progress

EPOCHS = 20


class Simulated(Executor):
    """Trainings of equal length on simulated workers.

    Args:
        seconds: of one whole training.
        cut: after so many trainings the supervisor is interrupted.
        limit: the seconds of real time after which it is interrupted too.
    """

    def __init__(self, folder: Path, workers: int, seconds: float, cut: float = math.inf, limit: float = math.inf):
        self.store, self.workers, self.epoch, self.cut, self.end = Store(folder), workers, seconds / EPOCHS, cut, perf_counter() + limit
        self.clock, self.seen = 0.0, process_time()
        self.busy = 0.0
        self.due: list[tuple[float, int, int]] = []
        self.orders: dict[int, Train] = {}
        self.stopped: set[int] = set()
        self.news: deque[Event] = deque()
        self.at: list[tuple[float, float]] = []

    @property
    def facts(self) -> dict[str, Any]:
        return dict(FACTS)

    def submit(self, number: int, order: Order) -> None:
        self.news.append(Event(number, "started", {"pid": number}))
        if isinstance(order, Train):
            self.orders[number] = order
            heappush(self.due, (self.now() + self.epoch, number, 1))
        else:
            metrics = {"val_accuracy": 0.9}
            self.news.append(Event(number, "finished", Outcome(metrics, epochs=1, tested=metrics, validated=[*metrics]).json()))

    def events(self, timeout: float = 0.2) -> Iterator[Event]:
        while self.news:
            yield self.news.popleft()
        if not self.due:
            return
        due, number, epoch = heappop(self.due)
        self.clock = max(self.now(), due)
        self.seen = process_time()
        self.busy += self.epoch
        order = self.orders[number]
        metrics = self._metrics(order, epoch)
        yield Event(number, "report", {"epoch": epoch, "metrics": metrics})
        if epoch == EPOCHS or number in self.stopped:
            del self.orders[number]
            self.at.append((perf_counter(), process_time()))
            if len(self.at) >= self.cut or perf_counter() > self.end:
                raise KeyboardInterrupt
            if order.keep:
                with self.store.writing(order.key) as weights:
                    save_file({"weight": np.zeros(1, np.float32)}, weights)
            yield Event(number, "finished", Outcome(metrics, epochs=epoch, stopped=number in self.stopped).json())
        else:
            waited = self.now() if epoch in order.rungs else due  # elsewhere a trial goes on without an answer
            heappush(self.due, (waited + self.epoch, number, epoch + 1))

    def _metrics(self, order: Train, epoch: int) -> dict[str, float]:
        draw = Random(str(order.seed))
        rate = next(iter(order.recipe.tree["optimizer"].values()))["lr"]
        best = 0.95 - 0.02 * abs(math.log10(rate / 0.003)) - 0.05 * draw.random()
        accuracy = best * (1 - math.exp(-epoch / 4))
        names = ("val_loss", "train_loss", "lr", "val_f1", "val_recall")
        return {"val_accuracy": accuracy, **{name: draw.random() for name in names}}

    def reply(self, number: int, stop: bool) -> None:
        if stop:
            self.stopped.add(number)

    def kill(self, number: int, reason: str = "user") -> None:
        raise NotImplementedError

    def now(self) -> float:
        return self.clock + process_time() - self.seen

    def close(self) -> None:
        self.due.clear()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=10_000)
    parser.add_argument("--workers", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--minutes", type=float, default=math.inf, help="stop after so long, with the trials that have ended by then")
    parser.add_argument("--keep", action="store_true", help="keep the study, and print where it is")
    chosen = parser.parse_args()
    root = Path(tempfile.mkdtemp())
    settings = (
        f"study.trials={chosen.trials}", f"study.epochs={EPOCHS}", "study.time=null", "study.patience=null", "study.ablation=false",
        f"root={root}", "name=scale", "tracking.enabled=false",
    )  # fmt: skip
    tree = compose([*(word for word in WIDE if not word.startswith("study.epochs")), *settings])
    start = perf_counter()
    executor = Simulated(root / "scale", chosen.workers, chosen.seconds, chosen.trials - 10, 60 * chosen.minutes)
    try:
        with Progress() as screen:
            search(tree, screen, executor)
    except KeyboardInterrupt:
        pass
    ended, used = zip(*executor.at, strict=True)
    tenth = len(used) // 10
    first, last = (1000 * (part[-1] - part[0]) / (len(part) - 1) for part in (used[:tenth], used[-tenth:]))
    print(f"a trial, in ms of the supervisor's processor time: {first:.1f} in the first tenth, {last:.1f} in the last")
    print(f"{len(ended)} trials in {ended[-1] - start:.0f} s")
    print(f"workers busy: {executor.busy / (executor.now() * chosen.workers):.3f}")
    print(f"memory: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB")
    size = (root / "scale" / "journal.log").stat().st_size
    print(f"journal: {size / len(ended) / 1024:.2f} KB a trial")
    for words in (["list"], ["show", "scale"]):
        start = perf_counter()
        subprocess.run([sys.executable, "-m", "autoopt", *words, f"root={root}"], check=True, stdout=subprocess.DEVNULL)
        print(f"autoopt {words[0]}: {perf_counter() - start:.1f} s")
    start = perf_counter()
    again = Simulated(root / "scale", chosen.workers, chosen.seconds, cut=1)
    try:
        with Progress() as screen:
            search(tree, screen, again)
    except KeyboardInterrupt:
        pass
    print(f"resumed: first trial ended {again.at[0][0] - start:.1f} s after the command")
    print(root) if chosen.keep else shutil.rmtree(root)


if __name__ == "__main__":
    main()
