"""Values of the winner at the ends of their ranges: a wider range may hold a better one."""

from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from itertools import count
from math import ceil, floor, log, sqrt
from typing import Any

from autoopt.domain import Range
from autoopt.grammar import spell
from autoopt.recipe import Recipe
from autoopt.records.explanation import Edge
from autoopt.space import Domain, Space
from autoopt.technique import Param

NEAR_END = 0.02
"""A value lies at an end of its range if it is nearer than this share of the range."""


def edges_of(space: Space, recipe: Recipe) -> Iterator[Edge]:
    """The values of a recipe that lie at an end of their range, if the range can be widened there, and the argument may lie beyond."""
    options = (option for options in space.options.values() for option in options.values())
    params = {f"{o.technique.slot}.{o.technique.name}.{key}": o.technique.param(key) for o in options for key in o.values}
    for domain in space.domains():
        if isinstance(domain.values, Range) and domain.condition.holds(recipe.tree):
            value = recipe.value(domain.key)
            refusal = params.get(domain.key, Param(domain.key)).refusal
            if value in domain and (wider := widened(domain, value)) is not None and not (refusal(wider.low) or refusal(wider.high)):
                low, high = domain.options
                yield Edge(domain.key, value, low, high, f"{domain.key}={spell(wider, steps=True)}")


def widened(domain: Domain, value: Any) -> Range | None:
    """The range beyond the end at which a value lies; `None` where it lies at neither, or where that end is a natural one."""
    values = domain.values
    assert isinstance(values, Range)
    scale = log if values.log else float
    low, high = scale(values.low), scale(values.high)
    place = (scale(value) - low) / (high - low)
    whole = domain.number is int
    if place <= NEAR_END and (end := lower(values, whole)) is not None:
        return replace(values, low=end)
    if place >= 1 - NEAR_END and (end := higher(values, whole)) is not None:
        return replace(values, high=end)
    return None


def lower(values: Range, whole: bool) -> float | None:
    """Half of the range lower, or a tenth of a logarithmic end; a positive range stays positive. 0 is natural, and 1 of integers."""
    low, width = values.low, values.high - values.low
    if low == 0 or (whole and low == 1):
        return None
    end = low / (2 if whole else 10) if values.log else max(low / 2, low - width / 2) if low > 0 else low - width / 2
    if values.step is not None:
        end = on_grid(end, low, values.step)
        return None if low > 0 >= end else end
    return floor(end) if whole else rounded(end, low)


def higher(values: Range, whole: bool) -> float | None:
    """Half of the range higher, or three times a logarithmic end; a range below 1 goes half of the way to 1. 1 is natural."""
    high, width = values.high, values.high - values.low
    if high == 1 and not values.log:
        return None
    share = values.low >= 0 and high < 1
    end = (sqrt(high) if values.log else (1 + high) / 2) if share else 3 * high if values.log else high + width / 2
    if values.step is not None:
        end = on_grid(end, high, values.step)
        return None if share and end >= 1 else end
    return ceil(end) if whole else rounded(end, high)


def on_grid(end: float, old: float, step: float) -> float:
    """The end of a wider range with steps: so many of them beyond the old one as lie before `end`, at least one."""
    beyond, unit = Decimal(str(end)) - Decimal(str(old)), Decimal(str(step)).copy_sign(Decimal(str(end - old)))
    return type(old)(Decimal(str(old)) + max(1, int(beyond / unit)) * unit)


def rounded(end: float, old: float) -> float:
    """The end of a wider range in so few digits as move it by less than a tenth of its way from the old one, at least three."""
    return next(short for digits in count(3) if abs((short := float(f"{end:.{digits}g}")) - end) <= abs(end - old) / 10)
