"""The template process, as the supervisor starts, uses and ends it."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from typing import Any

from autoopt.executor.template import serve_trials
from autoopt.process.channel import Channel, to_line
from autoopt.process.guard import HANG_UP
from autoopt.process.log import Log
from autoopt.process.system import default_signals, flush, redirect, thread_limit, use_threads

_PATIENCE, _TICK = 2.0, 0.005  # seconds for a template to exit by itself, and between two looks whether it has


class TemplateProcess:
    """A template: started, asked for trials, ended.

    Args:
        order: the arguments of `template.serve_trials`.
        log: takes its output.
        fork: fork the calling process, which has the live objects of `order`, instead of starting a fresh interpreter.
    """

    def __init__(self, order: Mapping[str, Any], log: Log, *, fork: bool):
        self.warm = False
        order = {**order, "parent": os.getpid()}
        opening = b"" if fork else to_line(order)
        mine, theirs = socket.socketpair()
        with theirs:
            self.pid = _fork(mine, theirs, order, log) if fork else _spawn(theirs, log)
        self.channel = Channel(mine)
        self.channel.write(opening)
        mine.setblocking(False)

    def hand(self, number: int, gpus: str, log: str) -> Channel | None:
        """Ask for a trial that prints to `log`; returns the supervisor's end of its socket, or None if the template cannot take it now."""
        mine, theirs = socket.socketpair()
        mine.setblocking(False)
        with theirs:
            try:
                socket.send_fds(self.channel.sock, [to_line({"number": number, "gpus": gpus, "log": log})], [theirs.fileno()])
            except OSError:  # the template is busy or dead
                mine.close()
                return None
        return Channel(mine)

    def end(self) -> int:
        """End its trials and itself; returns its wait status."""
        self.channel.sock.close()  # which ends a template that is warm
        try:
            status = self._wait(_PATIENCE if self.warm else 0)
            for number in HANG_UP, signal.SIGKILL:
                if status is None:
                    os.kill(self.pid, number)
                    status = self._wait(2 * _PATIENCE)
            return status or 0
        except OSError:  # it was reaped elsewhere
            return 0

    def _wait(self, seconds: float) -> int | None:
        """Its wait status, if it ends in time."""
        deadline = time.monotonic() + seconds
        while not (ended := os.waitpid(self.pid, os.WNOHANG))[0]:
            if time.monotonic() > deadline:
                return None
            time.sleep(_TICK)
        return ended[1]


def _spawn(control: socket.socket, log: Log) -> int:
    """Start an interpreter with the same import path, in a session of its own, so that Ctrl-C reaches the supervisor alone."""
    env = {
        **os.environ,
        **thread_limit(1),
        "PYTHONPATH": os.pathsep.join(str(path) or os.getcwd() for path in sys.path),
        "PYTORCH_NVML_BASED_CUDA_CHECK": "1",  # looks for CUDA without initialising it, which would rule out a fork
    }
    fd = control.fileno()
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "autoopt.executor.template", str(fd)],
        stdin=subprocess.DEVNULL,
        stdout=log.sink,
        stderr=log.sink,
        env=env,
        pass_fds=[fd],
        start_new_session=True,
    )
    process.returncode = 0  # `end` reaps it, as it does a forked one
    return process.pid


def _fork(mine: socket.socket, theirs: socket.socket, order: Mapping[str, Any], log: Log) -> int:
    flush()
    if pid := os.fork():
        return pid
    try:
        mine.close()
        log.close()
        os.setsid()
        default_signals()
        redirect(log.sink)
        use_threads(1)
        serve_trials(theirs, **order)
    finally:
        os._exit(1)
