"""A process and its operating system: parent, signals, output and threads at its start, and how it ends other processes."""

import ctypes
import faulthandler
import os
import signal
import sys
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO

trials_here = False
"""Whether this process prepares trials, or is one."""
_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None
_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")


def die_with_parent(parent: int, sig: int = signal.SIGKILL) -> None:
    """Have the kernel send `sig` to this process when its parent (strictly, the thread that started it) ends; exit if it has ended."""
    if _LIBC:
        _LIBC.prctl(_PR_SET_PDEATHSIG, sig)
    if os.getppid() != parent:  # the parent has ended already
        os._exit(1)


def adopt_orphans() -> None:
    """Be the parent of the processes that this process's descendants leave behind, also of those in sessions of their own."""
    if _LIBC:
        _LIBC.prctl(_PR_SET_CHILD_SUBREAPER, 1)


def end_children(spared: Collection[int] = ()) -> None:
    """Kill all children but these, and the children that they leave behind, where orphans are adopted."""
    spared = {*spared}
    while pids := {*children()} - spared:
        for pid in pids:
            try:
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
            except OSError:  # it may not be killed, or was reaped elsewhere
                spared.add(pid)


def children() -> list[int]:
    """The children of this process; none are known where there is no /proc."""
    return [int(pid) for each in Path("/proc/self/task").glob("*/children") for pid in each.read_text(encoding="utf-8").split()]


def kill_group(pid: int) -> None:
    """Kill a process that leads a group, and all processes of the group."""
    for kill in os.kill, os.killpg:  # by itself too: it may not lead a group yet
        with suppress(OSError):
            kill(pid, signal.SIGKILL)


def default_signals() -> None:
    """Undo the signal handlers that a fork inherits."""
    signal.set_wakeup_fd(-1)
    for number in signal.valid_signals():
        if callable(signal.getsignal(number)):
            signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])


def redirect(out: int) -> None:
    """Read nothing, and write to the open file `out`, which is closed: prints, tracebacks, stacks at a crash and at SIGUSR2.

    `sys.stdout` and `sys.stderr` are replaced, since a notebook or a test puts objects of its own there.
    """
    null = os.open(os.devnull, os.O_RDONLY)
    for source, target in (null, 0), (out, 1), (out, 2):
        os.dup2(source, target)
    os.close(null)
    os.close(out)
    sys.stdout, sys.stderr = _stream(1), _stream(2)
    faulthandler.enable()
    faulthandler.register(signal.SIGUSR2)


def _stream(fd: int) -> TextIO:
    return open(fd, "w", buffering=1, encoding="utf-8", errors="backslashreplace", closefd=False)


def flush() -> None:
    """Flush printed text, so that a fork does not print it a second time."""
    for stream in sys.stdout, sys.stderr:
        with suppress(Exception):
            stream.flush()


def thread_limit(count: int) -> dict[str, str]:
    """The environment variables that limit numerical libraries to so many threads."""
    return dict.fromkeys(_THREADS, str(count))


def use_threads(count: int) -> None:
    """Limit this process, and torch if it is imported, to so many threads."""
    os.environ.update(thread_limit(count))
    torch = sys.modules.get("torch")
    if torch and torch.get_num_threads() != count:
        torch.set_num_threads(count)


@contextmanager
def without_gpus() -> Iterator[None]:
    """Hide the GPUs for a while from what would begin to use CUDA although it computes on the CPU.

    A process that uses it could fork none that does, and each one takes memory of the GPU. Where it is in use already nothing changes.
    """
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    os.environ["CUDA_VISIBLE_DEVICES"] = ""
    try:
        yield
    finally:
        del os.environ["CUDA_VISIBLE_DEVICES"]
        if visible is not None:
            os.environ["CUDA_VISIBLE_DEVICES"] = visible
