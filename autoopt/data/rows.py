"""Examples that are read on demand, from a file that does not fit in memory or from a tensor."""

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

EIGHT_BITS = 255
READ_BYTES = 2**24
"""Bytes that are read at a time when all examples are read."""
Item = TypeVar("Item")
Built = TypeVar("Built")


class Source(Protocol):
    """Examples that are read by their indices: a tensor, or an object with these methods of one.

    `dtype` is uint8 for images and numbers in 0 to 255, int64 for indices into a vocabulary, else a floating-point type.
    """

    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def dtype(self) -> torch.dtype: ...
    def __len__(self) -> int: ...
    def __getitem__(self, numbers: Tensor) -> Tensor: ...


def as_tensor(array: np.ndarray) -> Tensor:
    """An array of numbers as a tensor; torch lacks other byte orders, negative strides and floats of more than 8 bytes."""
    wide = array.dtype.kind == "f" and array.dtype.itemsize > 8
    return torch.from_numpy(np.require(array, "float64" if wide else array.dtype.newbyteorder("="), ("C", "W")))


class Mapped:
    """An array that stays in its file; an access copies the selected examples.

    Args:
        array: a `numpy.memmap`.
        dtype: of the examples; by default, that of the array.
        channels_last: the array holds images `(N, H, W, C)`, which are returned as `(N, C, H, W)`.
        grey: the array holds images `(N, H, W)`, which are returned as `(N, 1, H, W)`.
    """

    def __init__(self, array: np.ndarray, dtype: torch.dtype | None = None, channels_last: bool = False, grey: bool = False):
        self.array, self.channels_last, self.grey = array, channels_last, grey
        self.dtype = dtype or torch.from_numpy(np.empty(0, array.dtype.newbyteorder("="))).dtype
        count, *rest = array.shape
        self.shape = (count, 1, *rest) if grey else (count, rest[2], rest[0], rest[1]) if channels_last else (count, *rest)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, numbers: Tensor) -> Tensor:
        rows = as_tensor(np.asarray(self.array[numbers.numpy()])).to(self.dtype)
        return rows[:, None] if self.grey else rows.permute(0, 3, 1, 2) if self.channels_last else rows


class Joined:
    """Several sources as one, in their order."""

    def __init__(self, *sources: Source):
        self.sources, self.dtype = sources, sources[0].dtype
        self.shape = (sum(len(source) for source in sources), *sources[0].shape[1:])
        self.starts = torch.tensor([0, *(len(source) for source in sources)]).cumsum(0)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, numbers: Tensor) -> Tensor:
        rows = torch.empty(len(numbers), *self.shape[1:], dtype=self.dtype)
        for source, (start, end) in zip(self.sources, pairwise(self.starts.tolist()), strict=True):
            here = ((numbers >= start) & (numbers < end)).nonzero().squeeze(1)
            if len(here):
                rows[here] = source[numbers[here] - start]
        return rows


def are_images(inputs: Any) -> bool:
    return len(inputs.shape) == 4


def become_float(dtype: torch.dtype) -> bool:
    """Whether values of a type become float32; whole numbers of more than a byte may be indices, and stay."""
    return dtype.is_floating_point or dtype in (torch.uint8, torch.bool)


class Scaling(Protocol):
    def apply(self, values: Tensor) -> Tensor: ...
    def apply_(self, pixels: Tensor) -> Tensor: ...


class Rows:
    """Some examples of a source as a model takes them: scaled, on the model's device; images of uint8 are divided by 255 before that.

    Length, shape, slices and indices work as for the tensor of these examples.

    Args:
        numbers: the indices of the examples; by default all.
        scale: is applied to the examples.
        device: to which the examples are moved; by default they stay where the source has them.
    """

    def __init__(
        self, source: Source, numbers: Tensor | None = None, scale: Scaling | None = None, device: torch.device | None = None
    ) -> None:
        self.source, self.numbers, self.scale, self.goal = source, numbers, scale, device
        self.device = source.device if isinstance(source, Tensor) else torch.device("cpu")  # of the indices
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
        if read.dtype == torch.uint8 and are_images(read):  # a quarter of the bytes is moved
            pixels = self.moved(read).float().div_(EIGHT_BITS)
            return pixels if self.scale is None else self.scale.apply_(pixels)
        read = self.moved(read if self.scale is None else self.scale.apply(read))  # a device may lack double precision
        return read.float() if become_float(read.dtype) else read

    def moved(self, read: Tensor) -> Tensor:
        if self.goal is None or self.goal == read.device:
            return read
        return (read.pin_memory() if self.goal.type == "cuda" else read).to(self.goal, non_blocking=True)

    def to(self, device: torch.device, whole: bool = True) -> "Rows":
        """These examples for a model on a device: a tensor is moved there now if `whole`, else each batch when it is read."""
        if not isinstance(self.source, Tensor) or not whole or device == self.device:
            return Rows(self.source, self.numbers, self.scale, device)
        read = self.source if self.numbers is None else self.source[self.numbers]
        return Rows(read.to(device), None, self.scale, device)


def ahead(read: Callable[[Item], Built], items: Iterable[Item], workers: int, waiting: int) -> Iterator[Built]:
    """The results of `read` for each item, in order, read ahead by threads.

    Args:
        workers: how many threads.
        waiting: how many results may wait to be taken.
    """
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
    """The indices of all or of some examples, in pieces of about `READ_BYTES`."""
    each = max(1, prod(source.shape[1:]) * source.dtype.itemsize)
    numbers = torch.arange(len(source)) if numbers is None else numbers
    return iter(numbers.split(max(1, READ_BYTES // each)))


def random_indices(count: int, size: int) -> Tensor:
    """The numbers of at most `size` of `count` examples, drawn at random: the first ones may be all of one class, or of one day."""
    return torch.randperm(count, generator=torch.Generator().manual_seed(0))[:size]


def all_rows(source: Source, numbers: Tensor | None = None) -> Iterator[Tensor]:
    """All examples, or those with these indices, in pieces, read by as many threads as there are cores, 8 at most."""
    threads = min(8, os.cpu_count() or 1)
    return ahead(source.__getitem__, pieces(source, numbers), threads, threads)


def cached(inputs: Any, cache: str, folder: Path) -> Any:
    """The inputs, kept where `batches.cache` says.

    Args:
        cache: `memory` (if they fit), `disk` (in a nameless file that goes away with the process) or `none` (left as they are).
        folder: for that file.

    Raises:
        BadInput: the file cannot be written, such as on a full disk.
    """
    lazy = not isinstance(inputs, Tensor)
    if lazy:
        give_back_large_blocks()
    if cache == "none" or (cache == "memory" and not (lazy and fits(inputs))) or (cache == "disk" and isinstance(inputs, Mapped)):
        return inputs
    return on_disk(inputs, folder) if cache == "disk" else in_memory(inputs)


def in_memory(source: Source) -> Tensor:
    rows, start = torch.empty(source.shape, dtype=source.dtype), 0
    for piece in all_rows(source):
        rows[start : start + len(piece)] = piece
        start += len(piece)
    return rows


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
    """Whether the source takes less than `SHARE` of the free memory."""
    return prod(source.shape) * source.dtype.itemsize < SHARE * free_memory()
