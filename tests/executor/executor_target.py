"""What the executor's tests run: a target that ends in every way, and needs nothing."""

import ctypes
import errno
import json
import os
import signal
import subprocess
import sys
import time

from autoopt.errors import BadInput, Preempted, TechniqueError
from autoopt.process import system
from autoopt.process.endings import NOTICES


def prepare(setup):
    match setup.get("fail"):
        case "bad":
            raise BadInput("no file 'x.csv'", "no column 'y'")
        case "crash":
            raise RuntimeError("boom\nand more")
        case "die":
            os._exit(7)
        case "killed":
            with open(f"{setup['store']}/warm-ups", "a+") as begun:
                if begun.write("x") and begun.tell() <= setup["times"]:
                    begun.flush()
                    os.kill(os.getpid(), signal.SIGKILL)
        case "shouts":
            for number in range(10**9):
                print("line", number)
    if "processes" in setup:
        os.fork = refuse  # to this template's process alone
    return setup, {
        "examples": 3,
        "trials_here": system.trials_here,
        "pid": os.getpid(),
        "setup": {k: v for k, v in setup.items() if k != "function"},
    }


def refuse():
    raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))


def run(world, order, report):
    return globals()[order["do"]](world, order, report)


def train(world, order, report):
    for epoch in range(order.get("epochs", 3)):
        if report(epoch, {"loss": 1 / (epoch + 1)}):
            return {"stopped": epoch}
    return {"world": world.get("name"), "time": time.monotonic()}


def tell(world, order, report):
    names = ("CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS")
    return {name: os.environ.get(name) for name in names} | {"session": os.getsid(0) == os.getpid()}


def echo(world, order, report):
    return {"size": len(order["blob"])}


def call(world, order, report):
    return {"answer": world["function"]()}


def hang(world, order, report):
    report(0, {})
    time.sleep(1000)


def quit(world, order, report):
    os._exit(order["code"])


def kill_self(world, order, report):
    os.kill(os.getpid(), order["signal"])
    time.sleep(10)


def fail(world, order, report):
    raise {"ValueError": ValueError, "SystemExit": SystemExit, "MemoryError": MemoryError}[order["error"]](order["text"])


class Diverged(Exception):
    reason = "nonfinite"


def diverge(world, order, report):
    raise Diverged("the loss is nan")


def fill_disk(world, order, report):
    try:
        with open("/dev/full", "w") as file:
            file.write("x")
    except OSError as error:
        raise TechniqueError("initializer", "pretrained", "cannot be kept") from error


def blame(world, order, report):
    raise TechniqueError("optimizer", "absent", "no such machine", unavailable=True)


def preempt(world, order, report):
    leave = os._exit

    def note(code):
        with open(order["file"], "w") as file:
            file.write(f"{code}")
        leave(code)

    os._exit = note
    raise Preempted("told to end by SIGTERM")


def heed(world, order, report):
    """Write a checkpoint at a notice, which takes a while."""
    came = []
    for number in NOTICES:
        signal.signal(number, lambda number, _: came.append(number))
    report(0, {})
    while not came:
        time.sleep(0.01)
    time.sleep(order["seconds"])
    raise Preempted("a checkpoint is kept")


def nap(world, order, report):
    time.sleep(order["seconds"])
    return {}


def segfault(world, order, report):
    ctypes.string_at(0)


def _socket(report):
    return report.args[0].sock


def garbage(world, order, report):
    _socket(report).sendall(b"\x00not json\n" * 10)
    time.sleep(1000)


def message(world, order, report):
    _socket(report).sendall(json.dumps(order["content"]).encode() + b"\n")
    time.sleep(1000)


def flood(world, order, report):
    while True:
        _socket(report).sendall(b"x" * (1 << 16))


def hang_up(world, order, report):
    _socket(report).close()
    time.sleep(1000)


def shout(world, order, report):
    """Print so many lines: by Python, by native code, and by a child in a session of its own."""
    lines, native = order["lines"], ctypes.CDLL(None)
    for number in range(lines):
        print("python", number)
    for number in range(lines):
        native.dprintf(1, b"native %d\n", number)
    child = f"import sys; sys.stderr.write(''.join(f'child {{number}}\\n' for number in range({lines})))"
    subprocess.run([sys.executable, "-c", child], start_new_session=True, check=True)
    if order.get("crash"):
        segfault(world, order, report)
    return {}


def nothing(world, order, report):
    return None


def leave_behind(world, order, report):
    sleep = [sys.executable, "-c", "import time; time.sleep(1000)"]
    if order.get("twice"):
        sleep = [sys.executable, "-c", f"import subprocess; print(subprocess.Popen({sleep}, stdout=-3, start_new_session=True).pid)"]
        pid = int(subprocess.run(sleep, stdout=subprocess.PIPE, check=True).stdout)
    else:
        pid = subprocess.Popen(sleep, start_new_session=order.get("session", False)).pid
    if order.get("hang"):
        report(0, {"left": pid})
        time.sleep(1000)
    return {"left": pid}


def deaf(world, order, report):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    hang(world, order, report)
