"""What the executor's tests run: a target that ends in every way, and needs nothing."""

import ctypes
import os
import signal
import subprocess
import sys
import time

from autoopt.errors import BadInput


def prepare(setup):
    match setup.get("fail"):
        case "bad":
            raise BadInput("no file 'x.csv'", "no column 'y'")
        case "crash":
            raise RuntimeError("boom\nand more")
        case "die":
            os._exit(7)
    return setup, {"examples": 3, "pid": os.getpid()}


def run(world, job, report):
    return globals()[job["do"]](world, job, report)


def train(world, job, report):
    for epoch in range(job.get("epochs", 3)):
        if report(epoch, {"loss": 1 / (epoch + 1)}):
            return {"stopped": epoch}
    return {"world": world.get("name"), "time": time.monotonic()}


def tell(world, job, report):
    names = ("CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS")
    return {name: os.environ.get(name) for name in names} | {"session": os.getsid(0) == os.getpid()}


def echo(world, job, report):
    return {"size": len(job["blob"])}


def call(world, job, report):
    return {"answer": world["function"]()}


def hang(world, job, report):
    report(0, {})
    time.sleep(1000)


def quit(world, job, report):
    os._exit(job["code"])


def kill_self(world, job, report):
    os.kill(os.getpid(), job["signal"])
    time.sleep(10)


def fail(world, job, report):
    raise {"ValueError": ValueError, "SystemExit": SystemExit, "MemoryError": MemoryError}[job["error"]](job["text"])


class Diverged(Exception):
    reason = "nonfinite"


def diverge(world, job, report):
    raise Diverged("the loss is nan")


def segfault(world, job, report):
    ctypes.string_at(0)


def _socket(report):
    return report.args[0].sock


def garbage(world, job, report):
    _socket(report).sendall(b"\x00not json\n" * 10)
    time.sleep(1000)


def flood(world, job, report):
    while True:
        _socket(report).sendall(b"x" * (1 << 16))


def hang_up(world, job, report):
    _socket(report).close()
    time.sleep(1000)


def nothing(world, job, report):
    return None


def leave_behind(world, job, report):
    left = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(1000)"])
    if job.get("hang"):
        report(0, {"left": left.pid})
        time.sleep(1000)
    return {"left": left.pid}


def deaf(world, job, report):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    hang(world, job, report)
