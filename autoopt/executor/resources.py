"""What a trial needs, what a machine has, and how many trials it has room for."""

import os
import re
import resource
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import version
from itertools import takewhile
from pathlib import Path
from typing import Any

from autoopt import grammar
from autoopt.config import Tree, seconds, technique_of
from autoopt.domain import Choice, Range
from autoopt.errors import BadInput

MOST_WORKERS = 4096
FILES, FILES_PER_TRIAL = 48, 2
"""Open files of the supervisor and of the template: of their own, and for each trial its socket, or its log and the pipe to it."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How many trials run at once, and what each of them may use.

    Args:
        workers: trials at once; `None`: as many as there is room for.
        gpus_per_trial: GPUs of a trial, or the share of one GPU.
        cpus_per_trial: torch threads of each process of a trial, unless its device technique says how many.
        trial_time: seconds after which a trial is ended.
        gpus: how many GPUs the device technique trains on at once; 0: none.
        processors: how many processors a trial keeps busy, with all its processes and threads.
    """

    workers: int | None = None
    gpus_per_trial: float = 1
    cpus_per_trial: int = 1
    trial_time: float | None = None
    gpus: int = 0
    processors: int = 1

    @property
    def gpu_share(self) -> float:
        """The GPUs of a trial, which may be a share, where it trains on any."""
        return max(self.gpus_per_trial, self.gpus) if self.gpus > 1 else self.gpus_per_trial

    @classmethod
    def of(cls, tree: Tree) -> "Limits":
        """The limits that a config sets; of several devices or searched arguments the largest need counts.

        Raises:
            BadInput: they leave no room for a trial, or there is no machine for so many.
        """
        node = tree["executor"]
        if (node["workers"] or 1) > MOST_WORKERS:
            raise BadInput(f"executor.workers={node['workers']}: expected {MOST_WORKERS} or less")
        for name, values in tree["device"].items():
            for argument in ("devices", "threads"):
                if largest(values, argument, 1) < 1:
                    raise BadInput(f"device.{name}.{argument}={values[argument]}: expected 1 or more")
        devices = [(technique_of("device", name, values), values) for name, values in tree["device"].items()]
        return cls(
            workers=node["workers"],
            gpus_per_trial=node["gpus_per_trial"],
            cpus_per_trial=node["cpus_per_trial"],
            trial_time=seconds(node["trial_time"]),
            gpus=max((largest(values, "devices", 1) for device, values in devices if device.acts.gpu), default=0),
            processors=max(largest(v, "devices", 1) * largest(v, "threads", node["cpus_per_trial"]) for _, v in devices),
        )


def largest(values: Mapping[str, Any], argument: str, default: int) -> int:
    """The largest number that an argument may have; the default if it is not set or not a number."""
    meant = grammar.interpret(values.get(argument))
    options = meant.options if isinstance(meant, Choice) else (meant.high if isinstance(meant, Range) else meant,)
    return max(int(option) if isinstance(option, int | float) else default for option in options)


@dataclass(frozen=True)
class Machine:
    """The processors and GPUs that this process may use.

    Args:
        cores: processors, a fraction where a control group limits them.
        gpus: NVIDIA GPUs, as CUDA_VISIBLE_DEVICES names them.
    """

    cores: float
    gpus: tuple[str, ...] = ()

    @classmethod
    def here(cls) -> "Machine":
        """This machine, examined without initialising CUDA."""
        allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        return cls(within_quota(allowed), visible_gpus(version("torch"), os.environ.get("CUDA_VISIBLE_DEVICES")))


def within_quota(allowed: float, quota: Path = Path("/sys/fs/cgroup/cpu.max")) -> float:
    """The processors that are allowed, or fewer if the control group grants fewer."""
    with suppress(OSError, ValueError):  # no quota, or "max"
        time, period = quota.read_text(encoding="utf-8").split()
        return min(allowed, int(time) / int(period))
    return allowed


NAMED_GPU = re.compile(r"\s*(\d+|(GPU|MIG)-\S+)\s*")
WSL_DRIVER = Path("/usr/lib/wsl/lib/libcuda.so.1")
"""The NVIDIA driver of Windows, which WSL 2 has instead of a device file for each GPU."""


def visible_gpus(torch: str, visible: str | None, devices: Path = Path("/dev"), wsl: Path = WSL_DRIVER) -> tuple[str, ...]:
    """The GPUs that CUDA would see; the first one, where WSL 2 does not tell how many there are.

    Args:
        torch: the version of torch, which says whether it was built without CUDA.
        visible: CUDA_VISIBLE_DEVICES; an entry that names none, such as `-1` or the `NoDevFiles` of Slurm, hides those after it, too.
    """
    if torch.endswith("+cpu"):
        return ()
    if visible is not None:
        return tuple(takewhile(NAMED_GPU.fullmatch, visible.split(",")))
    count = sum(1 for _ in devices.glob("nvidia[0-9]*")) or int(wsl.exists())
    return tuple(map(str, range(count)))  # CUDA numbers the GPUs that it sees: a container's only GPU may be nvidia3


@dataclass(frozen=True)
class Room:
    """How many trials run at once, on which GPUs, and how many GPUs each of them has, which may be a share."""

    workers: int
    gpus: tuple[str, ...]
    gpus_per_trial: float


def allow_files(workers: int) -> None:
    """Raise this process's limit of open files, where it is too low for so many trials at once.

    Raises:
        BadInput: the system allows no more.
    """
    needed, (soft, hard) = FILES + FILES_PER_TRIAL * workers, resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or needed <= soft:
        return
    if hard != resource.RLIM_INFINITY and needed > hard:
        raise BadInput(f"executor.workers={workers} needs {needed} open files, but the limit is {hard} (ulimit -n): set fewer workers")
    resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))


def room(limits: Limits, machine: Machine) -> Room:
    """The room on a machine: its processors limit the trials, and its GPUs do so if trials need them.

    Raises:
        BadInput: a trial needs more GPUs than there are.
    """
    gpus = machine.gpus if limits.gpus else ()
    if gpus and limits.gpus > len(gpus):
        raise BadInput(f"devices={limits.gpus}, but there are only the GPUs {', '.join(gpus)}")
    share = limits.gpu_share
    bounds = [machine.cores / limits.processors, *([len(gpus) / share] if gpus else [])]
    return Room(limits.workers or max(1, int(min(bounds) + 1e-9)), gpus, share)
