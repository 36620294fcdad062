"""Trials as jobs of a queue such as Slurm's. Needs the extra `submitit`."""

import json
import logging
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, redirect_stderr, suppress
from io import StringIO
from pathlib import Path
from signal import SIGUSR1, SIGUSR2, signal
from typing import Any

from submitit import AutoExecutor, Job
from submitit.helpers import DelayedSubmission
from submitit.local.debug import DebugJob
from submitit.slurm.slurm import SlurmExecutor, SlurmInfoWatcher, SlurmJob

from autoopt.errors import BadInput, one_line
from autoopt.executor.mailbox import BEAT, LEASE, SAFE_PATH, Box, Pulse
from autoopt.executor.remote import FAREWELL, Gone, Link, Remote
from autoopt.executor.resources import Limits
from autoopt.executor.worker import Message
from autoopt.orders import Problem
from autoopt.process.endings import NOTICE_TIME
from autoopt.store import Store

BOX_POLL = 0.1
"""Seconds between two looks into the boxes."""
WARM_UP = 1800.0
"""Seconds without a sign of life after which a worker that is not warm yet is given up: it has none while it loads the data."""
JOB_STATES = {"PREEMPTED": "preempted", "TIMEOUT": "preempted", "CANCELLED": "preempted", "OUT_OF_MEMORY": "oom_host"}
"""The reasons for states of a job; a job's memory is its trial's alone."""

ANSWER_TIME = 60.0
"""Seconds for a command of Slurm to end; without a bound, one that hangs would hold the search, and by its silence its workers."""
TIMED_OUT = 124
"""What `timeout` exits with."""

SLURM = ("sbatch", "srun")
NO_SLURM = "there is no Slurm on this machine (no sbatch and srun on PATH)"


class WorkerJob:
    """What submitit pickles: a command. The queue's signal before it takes the machine away reaches the worker, which ends its trial."""

    def __init__(self, command: list[str]):
        self.command = command

    def __call__(self) -> int:
        if threading.current_thread() is threading.main_thread():
            signal(SIGUSR1, lambda *_: None)  # every process of the job gets it, and the worker acts on it
        self.process = subprocess.Popen(self.command)
        return self.process.wait()

    def checkpoint(self) -> DelayedSubmission:
        self.process.send_signal(SIGUSR2)
        deadline = time.monotonic() + 2 * NOTICE_TIME
        with suppress(ChildProcessError):  # it was reaped before
            while not os.waitpid(self.process.pid, os.WNOHANG)[0] and time.monotonic() < deadline:  # the `wait` of `__call__` has the lock
                time.sleep(BOX_POLL)
        return DelayedSubmission(WorkerJob(self.command))


class QueueLink(Link):
    """The way to the worker of a job: two boxes in a folder."""

    def __init__(self, job: Job[int], folder: Path):
        self.job, self.folder = job, folder
        self._to, self._from, self._pulse = Box(folder / "in"), Box(folder / "out"), Pulse(folder / "beat")
        self.warm, self._looked = False, time.monotonic()

    def tell(self, message: Message) -> None:
        try:
            self._to.put(message)
        except OSError as error:
            raise Gone(Problem("disk", f"its job {self.job.job_id} cannot be reached: {error}")) from error

    def hear(self, busy: bool) -> list[Message]:
        told = self._from.take()
        for message in told:
            kind = message.content["kind"]
            self.warm = kind == "warm" or (self.warm and kind != "leaving")
            if kind == "leaving":
                self._pulse.restart()  # from now on it may wait in the queue
        if told:
            return told
        silence, patience = self._pulse.silence(), LEASE if self.warm else WARM_UP
        if self._pulse.heard and silence > patience:
            raise Gone(Problem("lost", f"job {self.job.job_id} has not reported for {patience:g} s"))
        if time.monotonic() - self._looked > BEAT:
            self._looked = time.monotonic()
            state = "" if isinstance(self.job, DebugJob) else str(self.job.state)
            word = next(iter(state.split()), "")  # of "CANCELLED by 1000"
            if self.ended() or (word == "PREEMPTED" and silence > LEASE):  # which submitit takes for a job that comes again
                told = self._from.take()  # what it had sent before its end
                if not told:
                    raise Gone(Problem(JOB_STATES.get(word, "lost"), f"its job {self.job.job_id} has ended: {state}"))
        return told

    def ended(self) -> bool:
        return not isinstance(self.job, DebugJob) and bool(self.job.done())

    def end(self) -> None:
        self._to.put(Message({"do": "leave"}))


class OnQueue(Remote):
    """Hires workers by jobs of a queue, which reach the study's folder.

    All of a session is under `jobs/` in the study's folder. The next session deletes it, at which a worker that is left over ends; so
    does one that hears nothing of its supervisor for `mailbox.LEASE` seconds. Its trial runs again under its number.

    Args:
        cluster: submitit's name of it: slurm, local, debug.
        once: a job for each trial, instead of an array of jobs that carry out one trial after the other.
        parameters: submitit's; `slurm_` before those that only Slurm has.
        told: lines for the user.
    """

    def __init__(
        self,
        setup: dict[str, Any],
        store: Store,
        limits: Limits,
        cluster: str,
        once: bool,
        parameters: Mapping[str, Any],
        told: Sequence[str] = (),
    ):
        super().__init__(store, told=told, once=once)
        self.workers = limits.workers or 1
        jobs = store.root / "jobs"
        shutil.rmtree(jobs, ignore_errors=True)
        self._folder = jobs / f"{time.time_ns()}"
        self._order = {"setup": setup, "trial_time": limits.trial_time, "cpus_per_trial": limits.cpus_per_trial, "folder": str(Path.cwd())}
        self._links: list[QueueLink] = []
        self._stock: list[QueueLink] = []
        self._count = 0
        try:
            self._queue = AutoExecutor(jobs / "logs" / "%j", cluster=cluster)
            self._queue.update_parameters(**parameters)
        except (RuntimeError, ValueError, TypeError, NameError) as error:
            raise BadInput(f"executor.submitit: {one_line(error)}"[:600]) from error
        bound_commands(self._queue)
        self._folder.mkdir(parents=True)
        self._pulse = Pulse(self._folder / "beat")
        self._pulse.beat()

    def hire(self) -> Link:
        if not self._stock:
            first = not self._links and not self._once
            self._stock = self._submit_jobs(self.workers if first else 1)
            self._links += self._stock
        return self._stock.pop(0)

    def _submit_jobs(self, count: int) -> list[QueueLink]:
        """Submit so many jobs: as one array, if there are several.

        Raises:
            BadInput: the queue refuses the first one.
            Gone: it refuses a later one, or their folders cannot be written.
        """
        folders = [self._folder / str(self._count + number) for number in range(count)]
        self._count += count
        try:
            for folder in folders:
                folder.mkdir()
                (folder / "order.json").write_text(json.dumps(self._order), encoding="utf-8")
        except OSError as error:
            raise Gone(Problem("disk", f"its folder cannot be written: {error}")) from error
        commands = [WorkerJob([sys.executable, "-P", "-m", "autoopt.executor.mailbox", str(folder)]) for folder in folders]
        try:
            with redirect_stderr(StringIO()), safe_path(), self._queue.batch() if count > 1 else nullcontext():
                jobs: Sequence[Job[int]] = [self._queue.submit(command) for command in commands]
        except Exception as error:  # of sbatch, in many shapes
            refused = refusal(error)
            if self._facts is not None:
                raise Gone(Problem("lost", refused)) from error
            self._fail(BadInput(f"executor=submitit: {refused}"))
        for job in jobs:
            # a DebugJob runs when its result is asked for; its own `results` would replace the environment of this process
            if isinstance(job, DebugJob):
                threading.Thread(target=job.submission().result, daemon=True).start()
        return [QueueLink(job, folder) for job, folder in zip(jobs, folders, strict=True)]

    def wait(self, links: Sequence[Link], timeout: float) -> None:
        self._pulse.beat()
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline and not any(map(has_post, links)):
            time.sleep(min(BOX_POLL, timeout))

    def disconnect(self) -> None:
        """Let all workers end by themselves, and cancel the jobs that do not, or still wait in the queue."""
        deadline = time.monotonic() + FAREWELL
        shutil.rmtree(self._folder, ignore_errors=True)
        for link in self._links:
            while not link.ended() and link.warm and time.monotonic() < deadline:
                time.sleep(BOX_POLL)
            if not link.ended():
                with suppress(OSError):  # there is no scancel
                    link.job.cancel(check=False)


def find_queue(cluster: str | None, of_slurm: Mapping[str, Any]) -> tuple[str, list[str]]:
    """submitit's name of the queue, and what to tell the user about it.

    Args:
        cluster: the name that the user gives; `None`: Slurm where it is, else this machine.
        of_slurm: the settings that only Slurm has.

    Raises:
        BadInput: Slurm is asked for, and not there.
    """
    asked = {"cluster": cluster} if cluster == "slurm" else {} if cluster else of_slurm
    if asked and not all(map(shutil.which, SLURM)):
        settings = " ".join(f"executor.submitit.{name}={value}" for name, value in asked.items())
        raise BadInput(f"{settings}: {NO_SLURM}; run the command on a login node, or set executor.submitit.cluster=local to try it here")
    chosen = cluster or AutoExecutor.which()
    return chosen, [f"executor=submitit: {NO_SLURM}, so the trials run on this machine"] if chosen != cluster and chosen == "local" else []


def bound_commands(queue: AutoExecutor) -> None:
    """Have submitit end commands of Slurm that do not end by themselves, and keep to itself what it cannot learn of a job."""
    logging.getLogger("submitit").setLevel("ERROR")
    executor, watcher, bound = queue._executor, SlurmJob.watcher, ["timeout", f"{ANSWER_TIME:g}"]
    if isinstance(executor, SlurmExecutor):
        executor._make_submission_command = lambda path: [*bound, "sbatch", str(path)]  # type: ignore[method-assign, assignment]
        asked = SlurmInfoWatcher._make_command
        watcher._make_command = lambda: (command := asked(watcher)) and [*bound, *command]  # type: ignore[method-assign]


def refusal(error: Exception) -> str:
    """Why the queue took no job, in a line."""
    cause = error.__cause__
    code = cause.returncode if isinstance(cause, subprocess.CalledProcessError) else 0
    if code == TIMED_OUT:
        return f"the queue does not answer: sbatch has not ended after {ANSWER_TIME:g} s"
    return f"the queue refused a job: {one_line(error) or f'sbatch exited with code {code}'}"[:600]


@contextmanager
def safe_path() -> Iterator[None]:
    """Python processes that start meanwhile, as submitit's do, import no module of their working directory."""
    before = os.environ.get(SAFE_PATH)
    os.environ[SAFE_PATH] = "1"
    try:
        yield
    finally:
        del os.environ[SAFE_PATH]
        os.environ.update({} if before is None else {SAFE_PATH: before})


def has_post(link: Link) -> bool:
    try:
        return isinstance(link, QueueLink) and any(path.name.isdigit() for path in (link.folder / "out").iterdir())
    except OSError:
        return False
