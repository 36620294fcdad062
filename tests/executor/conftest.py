import time
from pathlib import Path

import pytest

from autoopt.executor.local import Local

HERE = Path(__file__).parent


class Bench:
    """An executor under test: submits, answers the reports of rungs (every epoch, unless a job has its own), gathers what comes."""

    def __init__(self, folder, setup=None, workers=2, **options):
        self.folder = folder
        self.local = Local(setup or {}, folder, workers=workers, target="executor_target", **options)
        self.events = []
        self.rungs = {}

    def submit(self, number, do, rungs=tuple(range(100)), **job):
        self.rungs[number] = rungs
        self.local.submit(number, {"do": do, "log": str(self.folder / f"{number}.log"), "rungs": rungs, **job})

    def pump(self, until, stop=lambda event: False, on=lambda event: None, seconds=15):
        deadline = time.monotonic() + seconds
        while not until():
            assert time.monotonic() < deadline, f"nothing more came: {self.events}"
            for event in self.local.events():
                self.events.append(event)
                on(event)
                if event.kind == "report" and event.data["epoch"] in self.rungs[event.number]:
                    self.local.reply(event.number, stop(event))

    def run(self, do, number=0, **job):
        """Run one to its end, which is returned."""
        self.submit(number, do, **job)
        self.finish()
        return self.events[-1]

    def finish(self, **how):
        self.pump(lambda: not self.local.running, **how)

    def kinds(self, number):
        return [event.kind for event in self.events if event.number == number]

    def log(self, number=0):
        return (self.folder / f"{number}.log").read_text()


@pytest.fixture
def bench(tmp_path, monkeypatch):
    """Makes benches, and closes them."""
    monkeypatch.syspath_prepend(HERE)
    made = []

    def make(*args, **options):
        made.append(Bench(tmp_path, *args, **options))
        return made[-1]

    yield make
    for each in made:
        each.local.close()
