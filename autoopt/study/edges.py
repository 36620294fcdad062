"""Values of the winner at the ends of their ranges: a wider range may hold a better one."""

from collections.abc import Iterator
from math import ceil, floor, log, sqrt
from typing import Any

from autoopt.domain import Range
from autoopt.grammar import spell
from autoopt.recipe import Recipe
from autoopt.space import Domain, Space
from autoopt.study.verdict import Edge

NEAR_END = 0.02
"""A value lies at an end of its range if it is nearer than this share of the range."""


def edges_of(space: Space, recipe: Recipe) -> Iterator[Edge]:
    """The values of a recipe that lie at an end of their range, if the range can be widened there."""
    for domain in space.domains():
        if isinstance(domain.values, Range) and domain.condition.holds(recipe.tree):
            value = recipe.value(domain.key)
            if value in domain and (wider := widened(domain, value)) is not None:
                low, high = domain.options
                yield Edge(domain.key, value, low, high, f"{domain.key}={spell(wider)}")


def widened(domain: Domain, value: Any) -> Range | None:
    """The range beyond the end at which a value lies; `None` where it lies at neither, or where that end is a natural one."""
    values = domain.values
    assert isinstance(values, Range)
    scale = log if values.log else float
    low, high = scale(values.low), scale(values.high)
    place = (scale(value) - low) / (high - low)
    whole = domain.number is int
    if place <= NEAR_END and (end := lower(values, whole)) is not None:
        return Range(end, values.high)
    if place >= 1 - NEAR_END and (end := higher(values, whole)) is not None:
        return Range(values.low, end)
    return None


def lower(values: Range, whole: bool) -> float | None:
    """Half of the range lower, or a tenth of a logarithmic end; a positive range stays positive. 0 is natural, and 1 of integers."""
    low, width = values.low, values.high - values.low
    if low == 0 or (whole and low == 1):
        return None
    end = low / (2 if whole else 10) if values.log else max(low / 2, low - width / 2) if low > 0 else low - width / 2
    return floor(end) if whole else rounded(end)


def higher(values: Range, whole: bool) -> float | None:
    """Half of the range higher, or three times a logarithmic end; a range below 1 goes half of the way to 1. 1 is natural."""
    high, width = values.high, values.high - values.low
    if high == 1 and not values.log:
        return None
    if values.low >= 0 and high < 1:
        return rounded(sqrt(high) if values.log else (1 + high) / 2)
    end = 3 * high if values.log else high + width / 2
    return ceil(end) if whole else rounded(end)


def rounded(value: float) -> float:
    return float(f"{value:.3g}")
