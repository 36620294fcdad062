"""Every way in which a trial can fail, as a `Problem`."""

import os
import re
import shutil
import signal
import tempfile
from contextlib import suppress
from pathlib import Path

from autoopt.errors import TechniqueError, machine_fault, out_of_memory, printable
from autoopt.orders import REASONS, Problem

NOTICES = (signal.SIGTERM, signal.SIGUSR1)
"""By these signals a cluster announces that it will end a process."""
SCARCE = 2**20
"""Bytes that are taken for a disk without room."""
NOTICE_TIME = 30.0
"""Seconds for a trial to write its checkpoint after a notice."""


def classify(error: BaseException) -> Problem:
    """The problem that an exception stands for.

    The first of these counts: the `problem` that the exception carries, a fault of the machine among its causes, its `reason`
    if that is in `REASONS`.
    """
    if isinstance(carried := getattr(error, "problem", None), Problem):
        return carried
    if isinstance(error, Exception) and (fault := machine_fault(error)):
        reason, cause = fault
        return Problem(reason, _line(cause) + (full_folders() if reason == "disk" else ""))
    if isinstance(error, TechniqueError):
        return Problem(error.reason, _first(error.detail), error.slot, error.name, error.unavailable)
    return Problem(_reason(error), _line(error))


def full_folders() -> str:
    """Which of the folders that are written to have no room, as an error rarely says."""
    full: list[str] = []
    with suppress(OSError):  # there is no folder for temporary files, or the working directory is gone
        full += [each for each in dict.fromkeys((tempfile.gettempdir(), os.getcwd())) if shutil.disk_usage(each).free < SCARCE]
    return f" (no room is left in {' and '.join(full)})" if full else ""


def _line(error: BaseException) -> str:
    name, text = type(error).__name__, _first(str(error))
    if out_of_memory(error) == "host" and (asked := re.search(r"tried to allocate (\d+) bytes", text)):  # the allocator's own text
        return f"not enough memory: {int(asked[1]) / 1e9:.3g} GB were asked for at once"
    if text and getattr(error, "reason", None) in REASONS:  # its text is a message for users
        return text
    return _first(f"{name}: {text}") if text else name


def _first(text: str) -> str:
    return printable(next(iter(text.strip().splitlines()), ""), 300)


def _reason(error: BaseException) -> str:
    own = getattr(error, "reason", None)
    if isinstance(own, str) and own in REASONS:
        return own
    if full := out_of_memory(error):
        return f"oom_{full}"
    match error:
        case KeyboardInterrupt() | SystemExit(__context__=KeyboardInterrupt()):  # Lightning turns the first into the second
            return "user"
        case SystemExit() if type(error).__name__ == "SIGTERMException":  # Lightning's, raised at SIGTERM
            return "preempted"
    return "error"


def problem_of_exit(status: int, *, out_of_memory: bool) -> Problem:
    """The problem of a process that ended before it sent a result."""
    if out_of_memory and os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL:
        return Problem("lost", "killed by the kernel for lack of memory")  # perhaps of another process, so the recipe is not to blame
    if os.WIFSIGNALED(status):
        return Problem("preempted" if os.WTERMSIG(status) in NOTICES else "lost", describe_status(status))
    return Problem("lost", f"{describe_status(status)} before it had a result")


def describe_status(status: int) -> str:
    """A wait status in words."""
    if not os.WIFSIGNALED(status):
        return f"exited with code {os.waitstatus_to_exitcode(status)}"
    number = os.WTERMSIG(status)
    name = signal.Signals(number).name if number in set(signal.Signals) else "a real-time signal"
    return f"killed by signal {number} ({name})" + (", perhaps for lack of memory" if number == signal.SIGKILL else "")


def oom_kills() -> int:
    """How many processes of our control group the kernel has killed for lack of memory; 0 if there is no counter."""
    return sum(_counter(path) for path in _counters())


def _counters() -> list[Path]:
    try:
        groups = [line.split(":", 2) for line in Path("/proc/self/cgroup").read_text(encoding="utf-8").splitlines()]
    except OSError:
        return []
    v2 = [Path(f"/sys/fs/cgroup{path}/memory.events") for _, kind, path in groups if kind == ""]
    v1 = [Path(f"/sys/fs/cgroup/memory{path}/memory.oom_control") for _, kind, path in groups if kind == "memory"]
    return v2 + v1


def _counter(path: Path) -> int:
    try:
        line = re.search(r"^oom_kill (\d+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    except OSError:
        return 0
    return int(line[1]) if line else 0
