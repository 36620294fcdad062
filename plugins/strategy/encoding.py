"""Recipes as points of a space in which a kernel measures their distance."""

from collections.abc import Mapping, Sequence
from math import sqrt
from random import Random
from typing import Any

import numpy as np

from autoopt.domain import Choice
from autoopt.plugins.strategy.gaussian import Array, Columns
from autoopt.space import Domain, Scale, Traced, traced

SPREAD = 0.15
"""The standard deviation of a step to a neighbour, in units of a range."""
NUMBER_CHANGES, CATEGORY_CHANGES = 0.4, 0.15
"""How often a neighbour differs in a value."""


def neighbour(space: Any, values: Mapping[str, Any], random: Random) -> Traced:
    """A point near to another: some categories are drawn anew, some numbers take a step; what was not needed before is drawn."""

    def choose(domain: Domain) -> Any:
        if domain.path not in values:
            return domain.sample(random)
        old, scale = values[domain.path], domain.scale
        if random.random() >= (CATEGORY_CHANGES if scale is None else NUMBER_CHANGES):
            return old
        return domain.sample(random) if scale is None else step(domain, scale, old, random)

    return traced(space, choose)


def step(domain: Domain, scale: Scale, value: float, random: Random) -> Any:
    """Another value of a domain near to one; of a choice another option."""
    if isinstance(domain.values, Choice):
        place = scale.place(value) + random.gauss(0, 2 * SPREAD)
        return min((option for option in domain.options if option != value), key=lambda option: abs(scale.place(option) - place))
    return domain.nearest(scale.number(min(max(scale.place(value) + random.gauss(0, SPREAD), 0.0), 1.0)))


def encode(points: Sequence[Traced]) -> tuple[Array, Columns]:
    """Points as rows: a number on its scale is one column; a category has a column for each option, so that two options are 1 apart.

    What a point does not need lies halfway: a number in the middle of its scale, a category half as far from every option.
    """
    needed: dict[str, tuple[Domain, list[int], list[Any]]] = {}
    for row, point in enumerate(points):
        for domain, value in zip(point.domains, point.values.values(), strict=True):
            if domain.key not in needed:
                needed[domain.key] = (domain, [], [])
            _, rows, values = needed[domain.key]
            rows.append(row)
            values.append(value)
    blocks = [columns_of(domain, rows, values, len(points)) for domain, rows, values in needed.values()]
    category = np.array([domain.scale is None for domain, _, _ in needed.values()])
    owner = np.repeat(np.arange(len(blocks)), [block.shape[1] for block in blocks])
    columns = np.hstack(blocks)
    differs = np.bincount(owner, (columns != columns[0]).any(axis=0)) > 0  # what is the same everywhere is left out
    kept = differs[owner]
    return columns.compress(kept, axis=1), Columns((differs.cumsum() - 1)[owner[kept]], category[differs])


def columns_of(domain: Domain, rows: Sequence[int], values: Sequence[Any], count: int) -> Array:
    """The columns of a domain, which these rows of so many points need: (N, 1) or (N, options)."""
    if (scale := domain.scale) is not None:
        block = np.full((count, 1), 0.5)
        place = scale.place
        block[rows, 0] = [0.5 if value is None or isinstance(value, str) else place(value) for value in values]
        return block
    places: dict[str, int] = {}
    codes = [places.setdefault(repr(value), len(places)) for value in values]
    block = np.zeros((count, len(places)))
    block[rows, codes] = sqrt(0.5)
    return block
