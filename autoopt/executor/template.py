"""The template process, which prepares once and then forks a trial for each order; and the forked trial.

Run as `python -m autoopt.executor.template FD`; on the socket FD the supervisor sends the arguments of `serve_trials`.
"""

import gc
import importlib
import json
import os
import selectors
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import NoReturn

from autoopt.errors import BadInput
from autoopt.orders import Json, Problem
from autoopt.process import system
from autoopt.process.channel import Channel
from autoopt.process.endings import NOTICE_TIME, NOTICES, classify, oom_kills, problem_of_exit
from autoopt.process.guard import HANG_UP, fork_guarded
from autoopt.process.log import Log
from autoopt.process.system import (
    adopt_orphans,
    children,
    default_signals,
    die_with_parent,
    end_children,
    flush,
    kill_group,
    redirect,
    use_threads,
)

TrialFunction = Callable[[Json, Callable[[int, Json], bool]], Json]


def main() -> None:
    control = socket.socket(fileno=int(sys.argv[1]))
    if order := Channel(control).wait():
        serve_trials(control, **order)


def serve_trials(control: socket.socket, *, parent: int, target: str, setup: Json, cpus: int) -> NoReturn:
    """Run as the template until the supervisor is gone."""
    system.trials_here = True
    try:
        guard = fork_guarded(parent, control.fileno())
        if run := _prepare(Channel(control), target, setup):
            ForkServer(control, run, cpus).serve(guard)
    finally:
        flush()
        os._exit(0)


def _prepare(supervisor: Channel, target: str, setup: Json) -> TrialFunction | None:
    """Import the target, call its `prepare`, and report the result to the supervisor; None if it failed."""
    try:
        module = importlib.import_module(target)
        world, facts = module.prepare(setup)
        gc.collect()
        gc.freeze()  # a collection in a child would otherwise write to, and so copy, every page that holds an object
        supervisor.send(kind="warm", facts=facts)
        return partial(module.run, world)
    except BadInput as error:
        supervisor.send(kind="bad_input", problems=error.problems)
    except BaseException as error:
        traceback.print_exc()
        supervisor.send(kind="broken", detail=classify(error).detail)
    return None


@dataclass(frozen=True)
class ForkedTrial:
    """A trial that runs, with its log and the number of the kernel's OOM kills before it."""

    number: int
    log: Log
    kills: int


class ForkServer:
    """Forks a trial whenever the supervisor sends a socket, reaps it, and reports how it ended.

    A notice is passed on to the trials, and ends the template after them.
    """

    def __init__(self, control: socket.socket, run: TrialFunction, cpus: int):
        self.control = control
        self.supervisor = Channel(control)
        self.run = run
        self.cpus = cpus
        self.pid = os.getpid()
        self.signals, self._wakeup = socket.socketpair()
        self.trials: dict[int, ForkedTrial] = {}  # by pid
        self.own = children()  # of `prepare`
        self.deadline: float | None = None  # is set by a notice
        self.ready = selectors.PollSelector()  # without a descriptor that the trials would inherit

    def serve(self, parent: int) -> None:
        self._listen_to_signals()
        adopt_orphans()
        # From here on the end of file or HANG_UP ends it, which leaves time to end the processes that trials started.
        die_with_parent(parent, HANG_UP)
        self.ready.register(self.control, selectors.EVENT_READ, self._fork)
        self.ready.register(self.signals, selectors.EVENT_READ, self._signalled)
        try:
            while self._wait():
                pass
        finally:
            for pid in self.trials:
                kill_group(pid)
            end_children()
            for trial in self.trials.values():
                trial.log.end()

    def _listen_to_signals(self) -> None:
        self._wakeup.setblocking(False)
        signal.set_wakeup_fd(self._wakeup.fileno(), warn_on_full_buffer=False)
        for number in signal.SIGCHLD, HANG_UP, *NOTICES:
            signal.signal(number, lambda *_: None)

    def _wait(self) -> bool:
        """Handle what comes next; return whether to go on."""
        left = None if self.deadline is None else self.deadline - time.monotonic()
        if left is not None and (left <= 0 or not self.trials):
            return False
        return all(key.data() for key, _ in self.ready.select(left) if key.fd in self.ready.get_map())

    def _signalled(self) -> bool:
        came = self.signals.recv(4096)
        for notice in [number for number in NOTICES if number in came]:
            self.deadline = self.deadline or time.monotonic() + NOTICE_TIME
            for pid in self.trials:
                os.kill(pid, notice)
        self._reap()
        return HANG_UP not in came

    def _reap(self) -> None:
        for pid in list(self.trials):
            done, status = os.waitpid(pid, os.WNOHANG)
            if done:
                with suppress(OSError):
                    os.killpg(pid, signal.SIGKILL)  # processes that it left behind
                trial = self.trials.pop(pid)
                end_children(spared={*self.trials, *self.own})  # those in sessions of their own: a running trial adopts its own orphans
                self._forget(trial.log)
                trial.log.end()
                self._tell(trial.number, problem_of_exit(status, out_of_memory=oom_kills() > trial.kills))

    def _tell(self, number: int, problem: Problem) -> None:
        self.supervisor.send(kind="ended", number=number, problem=problem.json())

    def _fork(self) -> bool:
        try:
            data, fds, *_ = socket.recv_fds(self.control, 1 << 16, 1)
        except ConnectionResetError:
            return False
        if not fds:
            return False
        if self.deadline is not None:
            return True  # the socket stays open: the next template takes the order
        order = json.loads(data)
        try:
            self._begin(fds[0], Log(order["log"]), order["number"], order["gpus"])
        except OSError as error:
            self._tell(order["number"], Problem("disk", f"the log {order['log']} cannot be written: {error.strerror}"))
        os.close(fds[0])
        return True

    def _begin(self, fd: int, log: Log, number: int, gpus: str) -> None:
        kills = oom_kills()
        flush()
        try:
            if not (pid := os.fork()):
                self._be_trial(fd, log, gpus)
            self.trials[pid] = ForkedTrial(number, log, kills)
            self.ready.register(log.source, selectors.EVENT_READ, partial(self._take, log))
        except OSError as error:
            log.close()
            self._tell(number, Problem("system", f"no process could be started for it: {error}"))
        os.close(log.sink)

    def _take(self, log: Log) -> bool:
        if not log.take():
            self._forget(log)
        return True

    def _forget(self, log: Log) -> None:
        with suppress(KeyError):  # its pipe has ended before
            self.ready.unregister(log.source)

    def _be_trial(self, fd: int, log: Log, gpus: str) -> NoReturn:
        code = 0
        try:
            os.setsid()
            die_with_parent(self.pid)
            adopt_orphans()
            default_signals()
            for sock in self.control, self.signals, self._wakeup:
                sock.close()
            for other in (log, *(trial.log for trial in self.trials.values())):
                other.close()
            redirect(log.sink)
            code = _trial(Channel(socket.socket(fileno=fd)), self.run, gpus, self.cpus)
        finally:
            flush()
            os._exit(code)


def _trial(supervisor: Channel, run: TrialFunction, gpus: str, cpus: int) -> int:
    """Carry out one order and report its outcome or its problem; returns the exit code, which tells a preemption alone."""
    supervisor.send(kind="started", data={"pid": os.getpid()})
    command = supervisor.wait()
    if command is None or supervisor.broken:  # killed before it began
        return 0
    try:
        use_threads(cpus)
        if gpus:
            os.environ["CUDA_VISIBLE_DEVICES"] = gpus
        supervisor.send(kind="finished", data=run(command["order"], partial(_report, supervisor, command["rungs"])))
    except BaseException as error:
        with suppress(Exception):
            traceback.print_exc()
        problem = classify(error)
        supervisor.send(kind="failed", data=problem.json())
        return 128 + signal.SIGTERM if problem.reason == "preempted" else 0
    return 0


def _report(supervisor: Channel, rungs: Collection[int], epoch: int, metrics: Json) -> bool:
    """Report an epoch; return whether to stop. Only at a rung is there an answer, since waiting for it costs time."""
    supervisor.send(kind="report", data={"epoch": epoch, "metrics": metrics})
    answer = supervisor.wait() if epoch in rungs else {"stop": False}
    if answer is None or supervisor.broken:  # the supervisor is gone
        os._exit(1)
    return bool(answer["stop"])


if __name__ == "__main__":
    main()
