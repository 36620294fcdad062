"""A recorded table: the curves of every recipe of a grid, over several training seeds."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from grids import BY_NAME, Grid

from autoopt.plugins.strategy.grid import Grid as Odometer
from autoopt.space import traced

FOLDER = Path(__file__).parent
SEEDS = 3
Cell = tuple[tuple[str, Any], ...]
"""A recipe: the value of each domain that it needs, by path."""


@dataclass(frozen=True)
class Table:
    """The curves of a grid.

    Args:
        error: on the validation part after each epoch, (recipes, seeds, epochs): the share of wrong answers, or the squared error of
            a regression; not a number where the training has diverged.
        loss: the validation loss, likewise.
        test: the error on the test part at the end, (recipes, seeds).
    """

    grid: Grid
    error: np.ndarray
    loss: np.ndarray
    test: np.ndarray

    @classmethod
    def load(cls, name: str) -> "Table":
        with np.load(FOLDER / f"{name}.npz") as arrays:
            return cls(BY_NAME[name], *(arrays[key].astype(np.float32) for key in ("error", "loss", "test")))

    def save(self) -> None:
        arrays = {key: getattr(self, key).astype(np.float16) for key in ("error", "loss", "test")}
        np.savez_compressed(FOLDER / f"{self.grid.name}.npz", **arrays)

    @cached_property
    def rows(self) -> Mapping[Cell, int]:
        return {cell: row for row, cell in enumerate(cells(self.grid))}

    @cached_property
    def regret(self) -> np.ndarray:
        """The mean test error of each recipe over the best recipe's, in points; a recipe that diverges has the worst."""
        means = self.test.mean(axis=1)
        worst = np.nanmax(means)
        return 100 * (np.nan_to_num(means, nan=worst) - np.nanmin(means))

    def row(self, values: Mapping[str, Any]) -> int:
        """The row of a recipe, by its values by path; missing values are the defaults."""
        return self.rows[tuple(traced(self.grid.space, lambda d: d.accept(values.get(d.path, d.default))).values.items())]


def cells(grid: Grid) -> Iterator[Cell]:
    """Every recipe of a grid, in the order of the strategy `grid`."""
    return (tuple(values.items()) for values in Odometer(grid.space).points())
