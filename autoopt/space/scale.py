"""The scale on which the numbers of a domain lie: how far apart two of them are, whatever their units."""

from dataclasses import dataclass, field
from math import exp, log

from autoopt.domain import Choice, Range

WIDE = 4
"""A choice of numbers whose greatest is so many times the least is on a logarithmic scale."""


@dataclass(frozen=True)
class Scale:
    """Numbers from `low` to `high` as places from 0 to 1."""

    low: float
    high: float
    log: bool
    width: float = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "width", log(self.high / self.low) if self.log else self.high - self.low)

    @classmethod
    def of(cls, values: Range | Choice) -> "Scale | None":
        """The scale of a range, or of a choice of at least three numbers; None for other choices."""
        if isinstance(values, Range):
            return cls(values.low, values.high, values.log)
        numbers = [option for option in values.options if isinstance(option, int | float) and not isinstance(option, bool)]
        if len(numbers) < max(3, len(values.options)):
            return None
        low, high = min(numbers), max(numbers)
        return cls(low, high, low > 0 and high >= WIDE * low)

    def place(self, number: float) -> float:
        return (log(number / self.low) if self.log else number - self.low) / self.width

    def number(self, place: float) -> float:
        return self.low * exp(place * self.width) if self.log else self.low + self.width * place
