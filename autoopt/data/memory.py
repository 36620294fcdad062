"""How much memory is left for examples."""

import ctypes
import os
import resource
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import torch

SHARE = 0.5
"""The share of the free memory that examples may take."""
M_MMAP_THRESHOLD, LARGE = -3, 2**22


def fits_on(device: torch.device, size: int) -> bool:
    """Whether a device has memory for `size` bytes beside the rest of the training; a device other than CUDA always has."""
    return device.type != "cuda" or size < SHARE * torch.cuda.mem_get_info(device)[0]


def give_back_large_blocks() -> None:
    """Make the C library return large blocks to the system as soon as they are freed, in this process and those forked from it.

    glibc keeps such blocks for later, and small tensors between them make it ask for more and more: a pass over batches of
    16 MB took 2 GB where 100 MB were in use. Without glibc nothing changes.
    """
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(M_MMAP_THRESHOLD, LARGE)


def free_memory() -> float:
    """Bytes that this process may still take, by the memory of the machine, its control groups and its `ulimit`."""
    return max(0.0, min([of_machine(), *of_group(), *of_limits()]))


def of_machine() -> float:
    try:
        return kilobytes("/proc/meminfo", "MemAvailable") * 1024
    except (OSError, KeyError):  # not Linux: half of the installed memory
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2


def of_group() -> Iterator[float]:
    """The limits of the control groups in bytes; their use is not subtracted, as it is mostly cache that the kernel frees."""
    with suppress(OSError):
        for _, kind, path in (line.split(":", 2) for line in Path("/proc/self/cgroup").read_text(encoding="utf-8").splitlines()):
            file = {"": "/sys/fs/cgroup{}/memory.max", "memory": "/sys/fs/cgroup/memory{}/memory.limit_in_bytes"}.get(kind)
            if file is not None:
                with suppress(OSError, ValueError):  # not readable in a container, or "max"
                    yield float(Path(file.format(path)).read_text(encoding="utf-8"))


def of_limits() -> Iterator[float]:
    """Bytes that `ulimit` leaves for the data segment and the address space."""
    for kind, name in ((resource.RLIMIT_DATA, "VmData"), (resource.RLIMIT_AS, "VmSize")):
        if (most := resource.getrlimit(kind)[0]) != resource.RLIM_INFINITY:
            with suppress(OSError, KeyError):
                yield most - kilobytes("/proc/self/status", name) * 1024


def kilobytes(file: str, name: str) -> float:
    lines = dict(line.split(":", 1) for line in Path(file).read_text(encoding="utf-8").splitlines())
    return float(lines[name].split()[0])
