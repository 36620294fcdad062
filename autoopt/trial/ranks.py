"""A trial on several devices: a process (a rank) for each, forked before anything is built.

As under torchrun, the environment says who is who, so that Lightning starts no process of its own. The trial's process
trains nothing then: it passes on what rank 0 reports, and ends all ranks with the reason of the first that fails.
"""

import os
import selectors
import signal
import socket
import time
import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from statistics import fmean
from typing import Any

import torch.distributed as dist
from torch import nn

from autoopt.orders import Json, Outcome, Problem
from autoopt.process.channel import Channel
from autoopt.process.endings import classify, oom_kills, problem_of_exit
from autoopt.process.system import die_with_parent, flush
from autoopt.trial import Report

Share = tuple[int, int]
"""A rank, from 0, and how many there are."""
ALONE: Share = (0, 1)
HERE = "127.0.0.1"
STORE_BESIDE = {"TORCHELASTIC_USE_AGENT_STORE": "True", "TORCHELASTIC_RESTART_COUNT": "0"}
"""As under torchrun: the ranks meet at a store of another process."""
Work = Callable[[Share, Report], Outcome | None]


class RankError(Exception):
    """A rank failed, or died; ends the trial with its problem."""

    def __init__(self, problem: Problem):
        super().__init__(str(problem))
        self.problem = problem


@dataclass(eq=False)
class Rank:
    """A rank as the trial's process sees it."""

    number: int
    pid: int
    channel: Channel

    def end(self) -> int:
        """Kill it where it still runs; its wait status."""
        with suppress(OSError):
            os.kill(self.pid, signal.SIGKILL)
        return os.waitpid(self.pid, 0)[1]


def spread(count: int, run: Work, report: Report) -> Outcome:
    """Run the same in so many processes.

    Args:
        run: what a rank does: the trial's outcome, of rank 0, and nothing of the others.
        report: is called here, with what rank 0 reports; the other ranks learn from rank 0 whether to stop.

    Raises:
        RankError: a rank raised, or died.
    """
    meeting = socket.create_server((HERE, 0))
    port = meeting.getsockname()[1]
    environment = {"MASTER_ADDR": HERE, "MASTER_PORT": str(port), "WORLD_SIZE": str(count), **STORE_BESIDE, **on_loopback()}
    ranks: list[Rank] = []
    try:
        flush()
        for number in range(count):
            ranks.append(start((number, count), environment, run))
        # Begun after the forks, which no thread of it would survive; torch's own would listen on every interface.
        store = dist.TCPStore(HERE, port, is_master=True, wait_for_workers=False, master_listen_fd=meeting.detach())
        outcome = attend(ranks, report)
        del store
        return outcome
    finally:
        meeting.close()
        for rank in ranks:
            rank.channel.sock.close()
            with suppress(ChildProcessError):
                rank.end()


def on_loopback() -> dict[str, str]:
    """The variables by which gloo and NCCL listen on this machine's own interface alone; what the user has set stays."""
    loopback = next((name for _, name in socket.if_nameindex() if name.startswith("lo")), "lo")
    return {key: os.environ.get(key, loopback) for key in ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME")}


def start(share: Share, environment: Mapping[str, str], run: Work) -> Rank:
    parent = os.getpid()
    mine, theirs = socket.socketpair()
    if pid := os.fork():
        theirs.close()
        return Rank(share[0], pid, Channel(mine))
    try:
        die_with_parent(parent)
        mine.close()
        os.environ.update(environment, RANK=str(share[0]), LOCAL_RANK=str(share[0]))
        be_rank(Channel(theirs), share, run)
    finally:
        flush()
        os._exit(0)


def be_rank(channel: Channel, share: Share, run: Work) -> None:
    """Do a rank's work, and say what came of it and when: the others fail after the first, for want of it."""
    try:
        outcome = run(share, partial(ask, channel) if share[0] == 0 else lambda epoch, metrics: False)
        kind, data = "finished", None if outcome is None else outcome.json()
    except BaseException as error:
        with suppress(Exception):
            traceback.print_exc()
        kind, data = "failed", classify(error).json()
    channel.send(kind=kind, data=data, at=time.monotonic())


def ask(channel: Channel, epoch: int, metrics: dict[str, float]) -> bool:
    channel.send(kind="report", data={"epoch": epoch, "metrics": metrics})
    answer = channel.wait()
    return answer is None or bool(answer["stop"])


def attend(ranks: list[Rank], report: Report) -> Outcome:
    """Answer reports until the trial has its outcome."""
    kills = oom_kills()
    with selectors.DefaultSelector() as selector:
        for rank in ranks:
            selector.register(rank.channel.sock, selectors.EVENT_READ, rank)
        while True:
            ends: list[tuple[float, Rank, Json]] = []
            for key, _ in selector.select():
                rank, message = key.data, key.data.channel.wait()
                if message is None:
                    problem = problem_of_exit(rank.end(), out_of_memory=oom_kills() > kills)
                    ends.append((0.0, rank, {"kind": "failed", "data": problem.json()}))
                elif message["kind"] == "report":
                    rank.channel.send(stop=report(message["data"]["epoch"], message["data"]["metrics"]))
                elif message["kind"] == "finished" and rank.number:
                    selector.unregister(key.fileobj)
                else:
                    ends.append((message["at"], rank, message))
            if ends:
                return rank_outcome(*min(ends, key=lambda end: end[0])[1:])


def rank_outcome(rank: Rank, message: Json) -> Outcome:
    """The outcome of the rank that ended the trial.

    Raises:
        RankError: it failed.
    """
    if message["kind"] == "finished":
        return Outcome(**message["data"])
    problem = Problem(**message["data"])
    if rank.number and not problem.unavailable:  # which is the same on all ranks
        problem = replace(problem, detail=f"rank {rank.number}: {problem.detail}")
    raise RankError(problem)


def replica(strategy: Any, share: Share) -> Share:
    """Which part of the data a rank takes: ranks that have one replica of the model between them take the same."""
    rank, ranks = share
    replicas = getattr(strategy, "_data_parallel_size", ranks)
    return rank * replicas // ranks, replicas


def averaged(metrics: dict[str, float]) -> dict[str, float]:
    """Each metric's mean over the ranks that have it: the same on all of them, and so is what they decide by it."""
    gathered: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(gathered, metrics)
    names = dict.fromkeys(name for each in gathered for name in each)
    return {name: fmean(each[name] for each in gathered if name in each) for name in names}


def same_buffers(model: nn.Module) -> None:
    """Take rank 0's running statistics: each rank has seen other examples."""
    for buffer in model.buffers():
        dist.broadcast(buffer, 0)


def leave() -> Share:
    """Go on alone: nothing waits for the other ranks from here on."""
    dist.destroy_process_group()
    return ALONE
