"""A guard: the parent of a template, which ends what the template and its trials leave behind, however they and the supervisor die."""

import os
import signal
from typing import NoReturn

from autoopt.process.endings import NOTICES
from autoopt.process.system import adopt_orphans, die_with_parent, end_children

HANG_UP = signal.SIGHUP
"""Tells a guard and its template to end at once: the supervisor says so, or is gone."""
_HEARD = (signal.SIGCHLD, signal.SIGALRM, HANG_UP, *NOTICES)
_PATIENCE = 2  # seconds for the template to end its trials


def fork_guarded(parent: int, *descriptors: int) -> int:
    """Go on in a child of this process, which stays behind as its guard; returns the guard's process number.

    The guard ends as its child does: with the same code, or by the same signal.

    Args:
        parent: the supervisor; once it is gone, the guard ends the child.
        descriptors: open files that the guard does not keep.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, _HEARD)
    adopt_orphans()
    guard = os.getpid()
    die_with_parent(parent, HANG_UP)
    if not (child := os.fork()):
        die_with_parent(guard)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _HEARD)
        return guard
    for descriptor in descriptors:
        os.close(descriptor)
    try:
        status = _watch(child)
        end_children()
        _end_with(status)
    finally:
        os._exit(1)


def _watch(child: int) -> int:
    """Wait for the child, and return its wait status; signals are passed on, and `HANG_UP` kills a child that does not end in time."""
    while True:
        number = signal.sigwait(_HEARD)
        if number == HANG_UP:
            signal.alarm(_PATIENCE)
        if number != signal.SIGCHLD:
            os.kill(child, signal.SIGKILL if number == signal.SIGALRM else number)
        while (ended := os.waitpid(-1, os.WNOHANG))[0]:  # also orphans
            if ended[0] == child:
                return ended[1]


def _end_with(status: int) -> NoReturn:
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [number])
        os.kill(os.getpid(), number)
    os._exit(os.waitstatus_to_exitcode(status) if os.WIFEXITED(status) else 1)
