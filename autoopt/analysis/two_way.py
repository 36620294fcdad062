"""Recipes that were trained on the same seeds: how much one is better than another, beyond what a seed does to all of them."""

from collections.abc import Mapping
from functools import cached_property
from typing import Any

import numpy as np

from autoopt.analysis.weighing import NEGLIGIBLE, UNBOUNDED, interval

Scores = Mapping[str, Mapping[int, float]]
"""By recipe, the objective on each seed that it was trained with."""


class TwoWay:
    """A two-way layout: score = recipe + seed + noise, by least squares; seeds may be missing for some of the recipes.

    The noise is estimated from all recipes together, so that few seeds are enough. A recipe that is far noisier than the others
    has intervals that are too narrow.

    Args:
        scores: each recipe with one score or more.
        exact: the objective is the same for every seed.
    """

    def __init__(self, scores: Scores, exact: bool = False):
        self.exact = exact
        self.recipes = list(scores)
        cells = [(recipe, seed, value) for recipe, row in scores.items() for seed, value in row.items()]
        seeds = sorted({seed for _, seed, _ in cells})
        columns = [*self.recipes, *seeds[1:]]
        self.design = np.array([[column in (recipe, seed) for column in columns] for recipe, seed, _ in cells], dtype=float)
        self.values = np.array([value for *_, value in cells])

    @cached_property
    def fit(self) -> tuple[Any, Any, int]:
        """The recipes' and the seeds' values, their covariance, and the degrees of freedom of the noise."""
        inverse = np.linalg.pinv(self.design.T @ self.design)
        values = inverse @ self.design.T @ self.values
        freedom = len(self.values) - int(np.linalg.matrix_rank(self.design))
        residuals = self._rounded(self.values - self.design @ values)
        return values, float(residuals @ residuals) / max(freedom, 1) * inverse, freedom

    def means(self) -> dict[str, float]:
        """The score of each recipe, as if all had been trained on the first seed."""
        return dict(zip(self.recipes, map(float, self.fit[0]), strict=False))

    def difference(self, ours: str, theirs: str) -> tuple[float, tuple[float, float]]:
        """How much higher the score of one recipe is than that of another, with its 95 % interval by Student's t."""
        values, covariance, freedom = self.fit
        contrast = self._contrast(ours, theirs)
        found = float(self._rounded(contrast @ values))
        if self.exact:
            return found, (found, found)
        return found, interval(found, [(float(contrast @ covariance @ contrast), freedom)]) if freedom else UNBOUNDED

    def _contrast(self, ours: str, theirs: str) -> Any:
        contrast = np.zeros(self.design.shape[1])
        contrast[[self.recipes.index(ours), self.recipes.index(theirs)]] = 1.0, -1.0
        return contrast

    def _rounded(self, values: Any) -> Any:
        """The values with 0 for what is only an error of rounding."""
        return np.where(np.abs(values) < NEGLIGIBLE * np.abs(self.values).max(), 0.0, values)
