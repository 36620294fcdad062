"""Examples that are read as they are asked for: out of a file that memory could not hold, or out of a tensor."""

import os
import tempfile
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import pairwise
from math import prod
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor

from autoopt.data.memory import SHARE, free_memory, give_back_large_blocks
from autoopt.errors import BadInput

READ_BYTES = 2**24
"""Bytes that are read at a time, where all are read."""
Item = TypeVar("Item")
Built = TypeVar("Built")


class Source(Protocol):
    """What reads examples by their numbers: a tensor, or any object with this much of one.

    `dtype` is uint8 for images in 0 to 255, int64 for indices into a vocabulary, else a floating one.
    """

    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def dtype(self) -> torch.dtype: ...
    def __len__(self) -> int: ...
    def __getitem__(self, numbers: Tensor) -> Tensor: ...


class Mapped:
    """An array that stays in its file: what is asked for is copied.

    Args:
        array: as `numpy.memmap` gives it.
        dtype: what its values are given as; by default what they are.
        channels_last: images `(N, H, W, C)`, given as `(N, C, H, W)`.
        grey: images `(N, H, W)`, given as `(N, 1, H, W)`.
    """

    def __init__(self, array: np.ndarray, dtype: torch.dtype | None = None, channels_last: bool = False, grey: bool = False):
        self.array, self.channels_last, self.grey = array, channels_last, grey
        self.dtype = dtype or torch.from_numpy(np.empty(0, array.dtype.newbyteorder("="))).dtype
        count, *rest = array.shape
        self.shape = (count, 1, *rest) if grey else (count, rest[2], rest[0], rest[1]) if channels_last else (count, *rest)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, numbers: Tensor) -> Tensor:
        read = np.asarray(self.array[numbers.numpy()])
        rows = torch.from_numpy(read.astype(read.dtype.newbyteorder("="), copy=False)).to(self.dtype)
        return rows[:, None] if self.grey else rows.permute(0, 3, 1, 2) if self.channels_last else rows


class Joined:
    """Sources one after the other, as one."""

    def __init__(self, *sources: Source):
        self.sources, self.dtype = sources, sources[0].dtype
        self.shape = (sum(len(source) for source in sources), *sources[0].shape[1:])
        self.starts = torch.tensor([0, *(len(source) for source in sources)]).cumsum(0)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, numbers: Tensor) -> Tensor:
        found = torch.empty(len(numbers), *self.shape[1:], dtype=self.dtype)
        for source, (start, end) in zip(self.sources, pairwise(self.starts.tolist()), strict=True):
            here = ((numbers >= start) & (numbers < end)).nonzero().squeeze(1)
            if len(here):
                found[here] = source[numbers[here] - start]
        return found


class Scaling(Protocol):
    def apply(self, values: Tensor) -> Tensor: ...


class Rows:
    """Some examples of a source, as a model takes them: images in [0, 1], tables scaled, on the model's device.

    It is measured, cut and indexed like the tensor that it would be if it were all read.
    """

    def __init__(
        self, source: Source, numbers: Tensor | None = None, scale: Scaling | None = None, device: torch.device | None = None
    ) -> None:
        self.source, self.numbers, self.scale, self.goal = source, numbers, scale, device
        self.device = source.device if isinstance(source, Tensor) else torch.device("cpu")  # of the numbers that it is asked by
        self.lazy = not isinstance(source, Tensor)

    def __len__(self) -> int:
        return len(self.source if self.numbers is None else self.numbers)

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self), *self.source.shape[1:])

    @property
    def nbytes(self) -> int:
        return prod(self.shape) * self.source.dtype.itemsize

    def __getitem__(self, rows: Tensor | slice) -> Tensor:
        numbers = torch.arange(len(self), device=self.device)[rows] if self.numbers is None else self.numbers[rows]
        read = self.source[numbers]
        if self.scale is not None:  # where it was read: a device may have no double precision
            read = self.scale.apply(read)
        if self.goal is not None and self.goal != read.device:
            read = (read.pin_memory() if self.goal.type == "cuda" else read).to(self.goal, non_blocking=True)
        return read.float().div_(255) if read.dtype == torch.uint8 else read if read.dtype == torch.int64 else read.float()

    def to(self, device: torch.device, whole: bool = True) -> "Rows":
        """The same for a model on that device: moved there as a whole, or else batch by batch."""
        if not isinstance(self.source, Tensor) or not whole or device == self.device:
            return Rows(self.source, self.numbers, self.scale, device)
        read = self.source if self.numbers is None else self.source[self.numbers]
        return Rows(read.to(device), None, self.scale, device)


def ahead(read: Callable[[Item], Built], items: Iterable[Item], workers: int, waiting: int) -> Iterator[Built]:
    """What `read` makes of each item, in their order, read by so many threads before it is asked for."""
    pool, queue = ThreadPoolExecutor(workers), deque[Future[Built]]()
    try:
        for item in items:
            queue.append(pool.submit(read, item))
            if len(queue) > waiting:
                yield queue.popleft().result()
        while queue:
            yield queue.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def pieces(source: Source, numbers: Tensor | None = None) -> Iterator[Tensor]:
    """The numbers of the examples, or of some of them, in pieces that are read at a time."""
    each = max(1, prod(source.shape[1:]) * source.dtype.itemsize)
    numbers = torch.arange(len(source)) if numbers is None else numbers
    return iter(numbers.split(max(1, READ_BYTES // each)))


def all_rows(source: Source) -> Iterator[Tensor]:
    """All examples, a piece after the other, read by as many threads as there are cores."""
    threads = min(8, os.cpu_count() or 1)
    return ahead(source.__getitem__, pieces(source), threads, threads)


def cached(inputs: Any, cache: str, folder: Path) -> Any:
    """The inputs where `batches.cache` wants them.

    Args:
        cache: `memory` where they fit; `disk`: in a file without a name, which ends with the process; `none`: as they are.
        folder: where that file is made.

    Raises:
        BadInput: the disk is full.
    """
    lazy = not isinstance(inputs, Tensor)
    if lazy:
        give_back_large_blocks()
    if cache == "none" or (cache == "memory" and not (lazy and fits(inputs))) or (cache == "disk" and isinstance(inputs, Mapped)):
        return inputs
    return on_disk(inputs, folder) if cache == "disk" else in_memory(inputs)


def in_memory(source: Source) -> Tensor:
    found, start = torch.empty(source.shape, dtype=source.dtype), 0
    for piece in all_rows(source):
        found[start : start + len(piece)] = piece
        start += len(piece)
    return found


def on_disk(source: Source, folder: Path) -> Mapped:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            for piece in all_rows(source):
                file.write(piece.contiguous().numpy().data)
            file.flush()
            dtype = torch.empty(0, dtype=source.dtype).numpy().dtype
            return Mapped(np.memmap(file, dtype, "r", shape=tuple(source.shape)))
    except OSError as error:
        raise BadInput(f"batches.cache=disk: the examples cannot be kept in {folder}: {error.strerror or error}") from error


def fits(source: Source) -> bool:
    """Whether memory would hold all of it beside what else is needed."""
    return prod(source.shape) * source.dtype.itemsize < SHARE * free_memory()
