"""What processes cost, as the kernel has it, and what else the machine is doing meanwhile."""

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

TICK = 1 / os.sysconf("SC_CLK_TCK")
CORES = os.cpu_count() or 1


def busy() -> float:
    """Core-seconds that the whole machine has worked since it started."""
    user, nice, system, _, _, irq, soft, steal, *_ = map(int, Path("/proc/stat").read_text().splitlines()[0].split()[1:])
    return TICK * (user + nice + system + irq + soft + steal)


def await_quiet(most: float = 0.1, patience: float = 300.0) -> None:
    """Wait until the machine has done next to nothing for three seconds, as others may be at work on it."""
    until = time.monotonic() + patience
    while time.monotonic() < until:
        before, start = busy(), time.monotonic()
        time.sleep(3)
        if busy() - before < most * CORES * (time.monotonic() - start):
            return


@dataclass
class Others:
    """The share of the cores that was taken by what is not ours."""

    share: float = 0.0


@contextmanager
def others() -> Iterator[Others]:
    """Measure what others take while our children work; they have to be over, and waited for, at the end."""
    found, start, before, own = Others(), time.monotonic(), busy(), ours()
    yield found
    found.share = max(0.0, busy() - before - (ours() - own)) / (CORES * (time.monotonic() - start))


def ours() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


@dataclass
class Process:
    """Core-seconds of a process and of the children that it has waited for."""

    own: float
    children: float
    name: str

    @classmethod
    def read(cls, pid: int) -> "Process":
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        command = Path(f"/proc/{pid}/cmdline").read_bytes().decode().replace("\0", " ")
        user, system, children_user, children_system = map(int, fields[11:15])
        name = "template" if "executor.template" in command else "writer" if "autoopt.tracking" in command else "other"
        return cls(TICK * (user + system), TICK * (children_user + children_system), name)


def children(pid: int) -> list[int]:
    return [int(child) for task in Path(f"/proc/{pid}/task").iterdir() for child in (task / "children").read_text().split()]


def memory(pid: int, file: str, key: str) -> float:
    """Megabytes by a line of `status` or `smaps_rollup`."""
    lines = Path(f"/proc/{pid}/{file}").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(f"{key}:"))


@dataclass
class Accounts:
    """Follows a supervisor from outside: core-seconds by what they went into, a sample every tenth of a second."""

    pid: int
    samples: list[tuple[float, dict[str, float]]] = field(default_factory=list)
    peaks: dict[str, float] = field(default_factory=dict)
    over: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> "Accounts":
        self.thread = threading.Thread(target=self.follow)
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        self.thread.join()

    def follow(self) -> None:
        while not self.over.wait(0.1):
            with suppress(OSError, StopIteration, IndexError, ValueError):
                self.sample()

    def sample(self) -> None:
        found = dict(self.samples[-1][1]) if self.samples else dict.fromkeys(("supervisor", "template", "trials", "writer"), 0.0)
        found["supervisor"] = Process.read(self.pid).own
        self.peak("supervisor", self.pid, "status", "VmHWM")
        for child in children(self.pid):
            process = Process.read(child)
            if process.name != "other":
                found[process.name] = process.own
                self.peak(process.name, child, "status", "VmHWM")
            if process.name == "template":
                found["trials"] = process.children
                if len(self.samples) % 10 == 0:
                    for trial in children(child):
                        self.peak("trial, with what it shares", trial, "smaps_rollup", "Rss")
                        self.peak("trial, of its own", trial, "smaps_rollup", "Private_Dirty")
        self.samples.append((time.time(), found))

    def peak(self, name: str, pid: int, file: str, key: str) -> None:
        with suppress(OSError, StopIteration):
            self.peaks[name] = max(self.peaks.get(name, 0.0), memory(pid, file, key))

    def between(self, start: float, end: float) -> dict[str, float]:
        """Core-seconds by kind from one time (of `time.time`) to another."""
        first = max((s for s in self.samples if s[0] <= start), key=lambda s: s[0], default=self.samples[0])[1]
        last = min((s for s in self.samples if s[0] >= end), key=lambda s: s[0], default=self.samples[-1])[1]
        return {name: last[name] - first[name] for name in last}
