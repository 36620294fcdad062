"""Trials on this machine: children of a warm template, each with a socket of its own to the supervisor."""

import os
import selectors
from collections.abc import Collection, Sequence
from functools import partial
from typing import Any

from autoopt.errors import BadInput, NotConcluded
from autoopt.executor import Event, TemplateError
from autoopt.executor.launch import TemplateProcess
from autoopt.executor.places import gpu_places
from autoopt.executor.realtime import RealTime
from autoopt.executor.trial_process import TrialProcess
from autoopt.orders import Order, Problem
from autoopt.process.channel import message, to_line
from autoopt.process.endings import describe_status
from autoopt.process.log import Log
from autoopt.store import Store

WARM_UPS = 3
"""How often a template is warmed up if it is killed meanwhile."""


class Local(RealTime):
    """Forks trials from a warm template, as many at once as `workers` and the GPUs allow; further trials wait.

    Use it from one thread that outlives it: on Linux the template dies with the thread that started it.

    Args:
        setup: the argument of the target's `prepare`, to which the `store`'s root is added; JSON, unless `fork`.
        store: where logs and weights are stored, the template's log too.
        workers: how many trials run at once.
        target: a module with `prepare(setup) -> (world, facts)`, called once, and `run(world, order, report) -> outcome`,
            order and outcome being JSON.
        trial_time: seconds after which a trial is ended; an order may have its own limit.
        gpus: the devices to hand out, as in CUDA_VISIBLE_DEVICES.
        gpus_per_trial: a whole number of GPUs, or the share of one GPU.
        cpus_per_trial: threads of a trial; with `fork` always one, since a pool of threads does not survive a fork.
        fork: the template is a fork of this process, so that it has its live objects.
    """

    def __init__(
        self,
        setup: dict[str, Any],
        store: Store,
        *,
        workers: int,
        target: str = "autoopt.trial.run",
        trial_time: float | None = None,
        gpus: Sequence[str] = (),
        gpus_per_trial: float = 1,
        cpus_per_trial: int = 1,
        fork: bool = False,
    ):
        super().__init__(store)
        self._free = gpu_places(workers, gpus, gpus_per_trial)
        self.workers = len(self._free)
        self._trial_time = trial_time
        self._log = Log(store.root / "template.log")
        order = {"target": target, "setup": setup | {"store": str(store.root)}, "cpus": 1 if fork else cpus_per_trial}
        self._launch = partial(TemplateProcess, order, self._log, fork=fork)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._log.source, selectors.EVENT_READ, lambda _: self._log.take())
        self._trials: dict[int, TrialProcess] = {}
        self._warm_ups = 0
        self._warm_up()

    @property
    def running(self) -> Collection[int]:
        return self._trials.keys() | {event.number for event in self._news}

    def _submit(self, number: int, order: Order) -> None:
        try:
            log = str(self.store.log(order.key))
        except OSError as error:
            self._news.append(Event(number, "failed", Problem("disk", f"its log cannot be written: {error}").json()))
            return
        command = to_line({"order": order.json(), "rungs": order.rungs})
        limit = self._trial_time if order.time_limit is None else order.time_limit
        self._trials[number] = TrialProcess(number, command, log, limit, self._selector, self._news, self.now)
        self._place()

    def reply(self, number: int, stop: bool) -> None:
        if trial := self._trials.get(number):
            trial.reply(to_line({"stop": stop}))

    def _kill(self, number: int, problem: Problem) -> None:
        if trial := self._trials.get(number):
            trial.kill(problem)
            self._settle()

    def _turn(self, timeout: float | None) -> None:
        """Wait for messages and deadlines of the trials, and handle them."""
        if self._end:
            raise self._end
        self._place()
        for key, mask in self._selector.select(self._patience(timeout)):
            key.data(mask)
        for trial in self._trials.values():
            trial.ring()
        self._settle()

    def _patience(self, timeout: float | None) -> float | None:
        alarms = [trial.alarm - self.now() for trial in self._trials.values()]
        seconds = min([float("inf") if timeout is None else timeout, *alarms])
        return None if seconds == float("inf") else max(seconds, 0.0)

    def _place(self) -> None:
        """Begin the trials that there is room for, each on the GPUs that are used least."""
        waiting = [trial for trial in self._trials.values() if not trial.channel] if self._template.warm else []
        for trial in waiting[: len(self._free)]:
            gpus = max(self._free, key=self._free.count)
            if channel := self._template.hand(trial.number, gpus, trial.log):
                self._free.remove(gpus)
                trial.begin(channel, gpus)

    def _settle(self) -> None:
        """Emit the last event of the trials that are over."""
        for trial in [t for t in self._trials.values() if t.over]:
            self._release(trial)
            del self._trials[trial.number]
            self._news.extend([trial.verdict] if trial.verdict else [])

    def _release(self, trial: TrialProcess) -> None:
        if trial.channel:
            self._free.append(trial.gpus)
        trial.release()

    def _warm_up(self) -> None:
        self._template, self._warm_ups = self._launch(), self._warm_ups + 1
        self._selector.register(self._template.channel.sock, selectors.EVENT_READ, self._hear_template)

    def _hear_template(self, _: int) -> None:
        lines = self._template.channel.receive()
        if lines is None:
            self._rewarm()
        for text in lines or ():
            match message(text):
                case {"kind": "warm", "facts": facts}:
                    self._template.warm, self._facts, self._warm_ups = True, facts, 0
                case {"kind": "ended", "number": number, "problem": problem}:
                    if trial := self._trials.get(number):
                        trial.ended(Problem(**problem))
                case {"kind": "bad_input", "problems": problems}:
                    self._fail(BadInput(*problems))
                case {"kind": "broken", "detail": detail}:
                    self._fail(TemplateError(f"trials cannot be prepared: {detail} (log: {self._log.path})"))

    def _rewarm(self) -> None:
        """Replace a dead template, and begin the trials that died with it again."""
        self._selector.unregister(self._template.channel.sock)
        status = self._template.end()
        end = describe_status(status)
        if not self._template.warm and not os.WIFSIGNALED(status):
            self._fail(TemplateError(f"trials cannot be prepared: the template process {end} (log: {self._log.path})"))
        if self._warm_ups == WARM_UPS:
            times = f"{WARM_UPS} times; the last time it was {end}"
            self._fail(NotConcluded(f"the template process died {times} (log: {self._log.path}); the same command tries again"))
        for trial in [t for t in self._trials.values() if t.channel]:
            trial.orphaned(end)
            self._release(trial)
        self._warm_up()

    def _fail(self, error: Exception) -> None:
        self._shut(error)
        raise error

    def _shut(self, why: Exception) -> None:
        self._end = why
        for trial in self._trials.values():
            trial.release()
        self._trials.clear()
        self._template.end()
        self._selector.close()
        self._log.end()
        os.close(self._log.sink)
