"""The scales of inputs and targets."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from autoopt.data.rows import Source, all_rows


@dataclass(frozen=True)
class Scale:
    """An affine map to mean 0 and variance 1 on the training part: `(x - mean) / deviation`.

    It is computed in double precision, so that a small deviation beside a large mean is not lost.
    """

    mean: Tensor
    deviation: Tensor

    @classmethod
    def of(cls, source: Source, numbers: Tensor | None = None, axes: tuple[int, ...] = (0,)) -> "Scale":
        """The scale of examples `(N, …)`, which are read piece by piece.

        Args:
            numbers: the indices of the examples; by default all.
            axes: the dimensions over which mean and deviation are taken, the first among them.
        """
        mean = squares = torch.zeros((), dtype=torch.float64)
        seen = 0
        for values in in_double(all_rows(source, numbers)):  # Chan et al. 1983: the pairwise update of mean and squared deviations
            here = values.mean(axes, keepdim=True)[0]
            delta, count = here - mean, values.numel() // here.numel()
            squares = squares + values.var(axes, correction=0, keepdim=True)[0] * count + delta**2 * seen * count / (seen + count)
            mean, seen = mean + delta * count / (seen + count), seen + count
        return cls.of_moments(mean, (squares / seen).sqrt())

    @classmethod
    def of_moments(cls, mean: Tensor, deviation: Tensor) -> "Scale":
        """A scale by mean and deviation; values that vary only by the rounding of double precision are constant, and are not divided."""
        return cls(mean, torch.where(deviation > 1e-12 * mean.abs(), deviation, torch.ones_like(deviation)))

    @classmethod
    def read(cls, lists: Mapping[str, list[float]]) -> "Scale":
        """The scale that `lists` returned."""
        return cls(*(torch.tensor(lists[key], dtype=torch.float64) for key in ("mean", "deviation")))

    def per(self, unit: float) -> "Scale":
        """The scale of the same values divided by `unit`."""
        return Scale(self.mean / unit, self.deviation / unit)

    def without_last(self, columns: int) -> "Scale":
        """A scale that leaves the last columns as they are."""
        if not columns:
            return self
        mean, deviation = self.mean.clone(), self.deviation.clone()
        mean[-columns:], deviation[-columns:] = 0, 1
        return Scale(mean, deviation)

    def apply(self, values: Tensor) -> Tensor:
        """The scaled values, float32, as a network takes them."""
        return ((precise(values) - self.mean.to(precise(values))) / self.deviation.to(precise(values))).float()

    def apply_(self, pixels: Tensor) -> Tensor:
        """The same in place, in single precision, which is enough for pixels of 8 bits in [0, 1]."""
        return pixels.sub_(self.mean.to(pixels)).div_(self.deviation.to(pixels))

    def invert(self, values: Tensor) -> Tensor:
        """The values in the units of the data, float64 (float32 on a device without it)."""
        return precise(values) * self.deviation.to(precise(values)) + self.mean.to(precise(values))

    def lists(self) -> dict[str, list[float]]:
        return {"mean": self.mean.tolist(), "deviation": self.deviation.tolist()}


def precise(values: Tensor) -> Tensor:
    """The values in double precision, if the device has it."""
    return values.float() if values.device.type == "mps" else values.double()


def in_double(pieces: Iterable[Tensor]) -> Iterator[Tensor]:
    """The values in double precision, in smaller pieces that take no more memory than those that are given."""
    for piece in pieces:
        yield from (part.double() for part in piece.split(max(1, len(piece) * piece.element_size() // 8)))
