"""A Gaussian process over points some of whose columns are numbers and some the options of categories."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_solve, cholesky, solve_triangular
from scipy.optimize import minimize

Array = NDArray[np.float64]
ITERATIONS = 15
JITTER = 1e-6
CATEGORY, NUMBER, SCALE, NOISE = (np.log(0.25), 1.0), (np.log(1.5), 1.0), (0.0, 0.7), (np.log(0.2), 1.0)
"""Normal priors of the logarithms of the parameters: mean and standard deviation. Values are expected to have a variance of 1."""
BOUNDS = (-9.0, 6.0)
"""Of the logarithms."""


@dataclass(frozen=True)
class Columns:
    """What the columns of points are.

    Args:
        owner: the weight that each column has: (E).
        category: whether a weight belongs to a category: (W).
    """

    owner: NDArray[np.intp]
    category: NDArray[np.bool_]


@dataclass(frozen=True)
class Kernel:
    """`k(x, y) = scale * exp(-sum_e weights[owner[e]] * (x_e - y_e)^2)`; a value is the function plus noise of a variance.

    Args:
        weights: (W).
    """

    weights: Array
    scale: float
    noise: float
    owner: NDArray[np.intp]

    def __call__(self, points: Array, others: Array) -> Array:
        """(N, E), (M, E) -> (N, M)."""
        root = np.sqrt(self.weights[self.owner])
        return self.scale * np.exp(-squared_distances(points * root, others * root))

    def factor(self, covariance: Array) -> Array:
        """The lower triangular factor of the covariance of values, given that of the function at the same points."""
        return np.asarray(cholesky(covariance + (self.noise + JITTER) * np.eye(len(covariance)), lower=True))


def squared_distances(points: Array, others: Array) -> Array:
    lengths = (points**2).sum(1)[:, None] + (others**2).sum(1)
    return np.maximum(lengths - 2 * points @ others.T, 0.0)


@dataclass(frozen=True)
class Process:
    """The function, given values at points.

    Rasmussen & Williams 2006, ISBN 026218253X, algorithm 2.1, with a mean of zero.
    """

    kernel: Kernel
    points: Array
    values: Array
    root: Array
    solved: Array

    @classmethod
    def given(cls, kernel: Kernel, points: Array, values: Array) -> "Process":
        """The process of a kernel, given values (N) at points (N, E)."""
        root = kernel.factor(kernel(points, points))
        return cls(kernel, points, values, root, cho_solve((root, True), values))

    def believing(self, points: Array) -> "Process":
        """The process that is given its own mean at further points, too: it is surer there, and expects nothing else."""
        return self.given(self.kernel, np.vstack([self.points, points]), np.concatenate([self.values, self.mean(points)]))

    def mean(self, points: Array) -> Array:
        """The mean of the function at points: (M, E) -> (M)."""
        return self.kernel(points, self.points) @ self.solved

    def deviation(self, points: Array) -> Array:
        """The standard deviation of the function at points: (M, E) -> (M)."""
        explained = (solve_triangular(self.root, self.kernel(self.points, points), lower=True) ** 2).sum(0)
        return np.sqrt(np.maximum(self.kernel.scale - explained, 1e-12))


def fitted(points: Array, values: Array, columns: Columns) -> Kernel:
    """The kernel of the greatest posterior density, given values (N) at points (N, E)."""
    priors = np.array([*(CATEGORY if category else NUMBER for category in columns.category), SCALE, NOISE])
    count = len(columns.category)

    def kernel_of(logs: Array) -> Kernel:
        *weights, scale, noise = np.exp(logs)
        return Kernel(np.array(weights), float(scale), float(noise), columns.owner)

    def loss(logs: Array) -> tuple[float, Array]:
        """The negative logarithm of the density, and its gradient."""
        kernel = kernel_of(logs)
        covariance = kernel(points, points)
        root = kernel.factor(covariance)
        inverse = cho_solve((root, True), np.eye(len(points)))
        solved = inverse @ values
        away = (logs - priors[:, 0]) / priors[:, 1]
        slope = (inverse - np.outer(solved, solved)) / 2  # by each covariance
        pull = slope * covariance
        by_column = 2 * ((pull.sum(1) @ points**2) - (points * (pull @ points)).sum(0))
        by_weight = -kernel.weights * np.bincount(columns.owner, by_column, count)
        gradient = np.array([*by_weight, pull.sum(), kernel.noise * slope.trace()]) + away / priors[:, 1]
        return float(values @ solved / 2 + np.log(root.diagonal()).sum() + away @ away / 2), gradient

    options = {"maxiter": ITERATIONS}
    best = minimize(loss, priors[:, 0], jac=True, method="L-BFGS-B", bounds=[BOUNDS] * len(priors), options=options)
    return kernel_of(best.x)
