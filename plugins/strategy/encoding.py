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
ABSENT = object()
"""Stands for what a point does not need: `None` may be an option."""


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
    by_key: dict[str, Domain] = {}
    rows = []
    for point in points:
        by_key.update((domain.key, domain) for domain in point.domains if domain.key not in by_key)
        rows.append({domain.key: point.values[domain.path] for domain in point.domains})
    blocks: list[Array] = []
    owner: list[int] = []
    category: list[bool] = []
    for key, domain in by_key.items():
        block = column(domain, [row.get(key, ABSENT) for row in rows])
        if np.ptp(block, axis=0).any():
            owner += [len(blocks)] * block.shape[1]
            category.append(block.shape[1] > 1)
            blocks.append(block)
    return np.hstack(blocks), Columns(np.array(owner), np.array(category))


def column(domain: Domain, values: Sequence[Any]) -> Array:
    """The columns of a domain: (N, 1) or (N, options)."""
    if (scale := domain.scale) is not None:
        return np.array([[scale.place(value) if isinstance(value, int | float) else 0.5] for value in values])
    codes = {code: place for place, code in enumerate(dict.fromkeys(map(repr, values)))}
    block = np.zeros((len(values), len(codes)))
    for row, value in enumerate(values):
        if value is not ABSENT:
            block[row, codes[repr(value)]] = sqrt(0.5)
    return block
