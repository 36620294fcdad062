"""The scales of inputs and targets."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from autoopt.data.rows import Source, pieces


@dataclass(frozen=True)
class Scale:
    """An affine map to mean 0 and variance 1 on the training part: `(x - mean) / deviation`.

    It is computed in double precision, so that a small deviation beside a large mean is not lost.
    """

    mean: Tensor
    deviation: Tensor

    @classmethod
    def of(cls, values: Tensor) -> "Scale":
        """The scale of values `(N, …)`, over the first dimension."""
        return cls.of_moments(values.double().mean(0), values.double().std(0, correction=0))

    @classmethod
    def of_moments(cls, mean: Tensor, deviation: Tensor) -> "Scale":
        """A scale by mean and deviation; values that vary only by the rounding of double precision are constant, and are not divided."""
        return cls(mean, torch.where(deviation > 1e-12 * mean.abs(), deviation, torch.ones_like(deviation)))

    @classmethod
    def of_source(cls, source: Source, numbers: Tensor) -> "Scale":
        """The scale of the examples with these indices, which are read piece by piece."""
        mean, squares, seen = torch.zeros(source.shape[1:], dtype=torch.float64), torch.zeros(source.shape[1:], dtype=torch.float64), 0
        for piece in pieces(source, numbers):  # Chan et al. 1983: the pairwise update of mean and squared deviations
            values = source[piece].double()
            delta, count = values.mean(0) - mean, len(values)
            squares += values.var(0, correction=0) * count + delta**2 * seen * count / (seen + count)
            mean, seen = mean + delta * count / (seen + count), seen + count
        return cls.of_moments(mean, (squares / seen).sqrt())

    @classmethod
    def read(cls, lists: Mapping[str, list[float]]) -> "Scale":
        """The scale that `lists` returned."""
        return cls(*(torch.tensor(lists[key], dtype=torch.float64) for key in ("mean", "deviation")))

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

    def invert(self, values: Tensor) -> Tensor:
        """The values in the units of the data, float64 (float32 on a device without it)."""
        return precise(values) * self.deviation.to(precise(values)) + self.mean.to(precise(values))

    def lists(self) -> dict[str, list[float]]:
        return {"mean": self.mean.tolist(), "deviation": self.deviation.tolist()}


def precise(values: Tensor) -> Tensor:
    """The values in double precision, if the device has it."""
    return values.float() if values.device.type == "mps" else values.double()
