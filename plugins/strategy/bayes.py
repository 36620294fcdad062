from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from random import Random
from statistics import median
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm, rankdata

from autoopt.domain import Bounds, Range
from autoopt.goal import Goal
from autoopt.plugins.strategy.encoding import encode, neighbour
from autoopt.plugins.strategy.gaussian import Array, Columns, Process, fitted, squared_distances
from autoopt.space import Domain, Traced, traced
from autoopt.strategy import AtRandom, Observation, Strategy, SuccessiveHalving

FIT, MOST = 120, 300
"""How many trials the kernel is fitted to, and how many the process is given."""
EXPLORE = 5
"""One of so many trials is drawn at random, so that a process that is sure of itself is contradicted where it is wrong."""
AT_RANDOM, BEST, NEIGHBOURS = 120, 5, 16
"""The candidates: so many at random, and of so many of the best trials so many neighbours each."""
BESIDE = 0.05
"""Candidates so near to a trial, where a range is 1 wide, would show nothing new."""
FEWEST = 3
"""Fewer complete trials show neither how much a value still changes after a rung, nor which trial is better than its score."""


def bayes(
    space: Any,
    goal: Goal,
    epochs: int,
    *,
    startup: Annotated[int, Bounds(0)] = 10,
    rungs: Annotated[int, Range(0, 5), Bounds(0)] = 2,
    reduction: Annotated[int, Range(2, 9), Bounds(2)] = 3,
) -> Strategy:
    """Bayesian optimisation: a Gaussian process over numbers and categories, the expected improvement, and rungs.

    After the baseline and random trials, until `startup` have ended, the next trial is the candidate of the greatest expected
    improvement over the best trial, as the process sees it; neither a trial's values nor any beside them are proposed. One of five
    trials is drawn at random. The process sees ranks as normal scores, so that neither scale nor outliers matter. A stopped trial
    counts with its last value, improved by as much as finished trials improved from there on, and so does a running trial that has
    passed a rung; any other running trial is believed at its mean; a failed trial counts as the worst. With bounds, the improvement is
    weighed by the chance that they are kept, as a second process sees it. Of several objectives each proposal weighs the ranks at
    random. At each of `rungs` one of `reduction` trials goes on.

    Jones et al. 1998, doi:10.1023/A:1008306431147; several objectives: Knowles 2006, doi:10.1109/TEVC.2005.851274; bounds: Gelbart et
    al. 2014, arXiv:1403.5607; rungs: Li et al. 2020, arXiv:1810.05934.
    """
    return Bayes(space, goal, startup, SuccessiveHalving.of(goal, epochs, rungs, reduction))


class Bayes(Strategy):
    """Fits a process to the history for each proposal."""

    def __init__(self, space: Any, goal: Goal, startup: int, halving: SuccessiveHalving):
        self.space, self.goal, self.startup, self.halving = space, goal, startup, halving
        self.rungs = halving.rungs
        self.points: dict[int, Traced] = {}

    def propose(self, history: Sequence[Observation], number: int, seed: int) -> Mapping[str, Any] | None:
        history = [self.at_its_rung(trial) for trial in history]
        ended = self.ended(history)
        if len(ended) < max(1, self.startup) or number % EXPLORE == 0:
            return AtRandom(self.space).propose(history, number, seed)
        random = Random(f"{seed}/{number}")
        costs, violations = self.costs(ended, random), self.violations(ended)
        order = np.lexsort((costs, violations))
        best = self.at([ended[place] for place in order[:BEST]])
        candidates = self.candidates(best, {*self.at(history)}, random)
        if not candidates:
            return None
        running = self.at([trial for trial in history if trial.state == "running"])
        chosen = spread(np.argsort(order), MOST)
        points, columns = encode([*self.at([ended[place] for place in chosen]), *running, *candidates])
        given, believed, new = np.split(points, [len(chosen), len(chosen) + len(running)])
        worth = acquisition(given, costs[chosen], violations[chosen], columns, believed, new)
        beside = (squared_distances(new, points[: -len(new)]) < BESIDE**2).any(axis=1)
        return candidates[int(np.argmax(np.where(beside, -np.inf, worth)))].values

    def stop(self, history: Sequence[Observation], number: int, epoch: int) -> bool:
        return self.halving.stop(history, number, epoch)

    def ranking(self, history: Sequence[Observation]) -> Sequence[int]:
        """By the mean of the process, in which the noise of a single training counts less than in its score; misses of bounds last."""
        ended = self.ended(history)
        complete = [trial for trial in ended if trial.state == "complete"]
        if len(complete) < FEWEST or len(self.goal.objectives) > 1:
            return ()
        costs = self.costs(ended)
        chosen = spread(costs, MOST)
        points, columns = encode(self.at([*(ended[place] for place in chosen), *complete]))
        process = process_of(points[: len(chosen)], costs[chosen], columns)
        order = np.lexsort((process.mean(points[len(chosen) :]), [trial.violation for trial in complete]))
        return [complete[place].number for place in order]

    def at_its_rung(self, trial: Observation) -> Observation:
        """A running trial that has passed a rung as one that was stopped there, so that its value counts; any other as it is."""
        curve = {epoch: value for epoch, value in trial.curve.items() if epoch in self.rungs}
        return replace(trial, state="stopped", curve=curve) if trial.state == "running" and curve else trial

    def at(self, trials: Sequence[Observation]) -> list[Traced]:
        """The points of those trials that lie in the space."""
        return [self.points[trial.number] for trial in trials if trial.number in self.points]

    def ended(self, history: Sequence[Observation]) -> list[Observation]:
        """The trials that have ended; the points of all trials that lie in the space are kept by number."""
        for trial in history:
            known = self.points.get(trial.number)
            if trial.values and (known is None or known.values != trial.values):
                self.points.pop(trial.number, None)
                with suppress(KeyError, ValueError):  # it does not lie in the present space
                    self.points[trial.number] = traced(self.space, partial(recorded, trial.values))
        return [trial for trial in history if trial.state != "running" and trial.number in self.points]

    def candidates(self, best: Sequence[Traced], tried: Collection[Traced], random: Random) -> list[Traced]:
        """Points that were not tried."""
        drawn = [traced(self.space, lambda domain: domain.sample(random)) for _ in range(AT_RANDOM)]
        near = [neighbour(self.space, point.values, random) for point in best for _ in range(NEIGHBOURS)]
        return [point for point in dict.fromkeys((*drawn, *near)) if point not in tried]

    def costs(self, ended: Sequence[Observation], random: Random | None = None) -> Array:
        """What each trial costs, less is better: (N). Of several objectives the greatest of their weighed ranks, and a little of each."""
        first = self.first_costs(ended)
        if len(self.goal.objectives) == 1 or random is None:
            return normal_scores(first)
        signs = [objective.sign for objective in self.goal.objectives]
        rows = [[-s * v for s, v in zip(signs, trial.scores, strict=True)] if trial.scores else [np.nan] * len(signs) for trial in ended]
        others = np.array(rows)
        others[:, 0] = first
        ranks = np.column_stack([share_of_ranks(costs) for costs in others.T])
        weights = np.array([random.expovariate(1.0) for _ in signs])
        weighed = ranks * weights / weights.sum()
        return normal_scores(weighed.max(axis=1) + 0.05 * weighed.sum(axis=1))

    def violations(self, ended: Sequence[Observation]) -> Array:
        """How far each trial misses the bounds: (N); unknown, NaN, of a trial that is not complete."""
        return np.array([trial.violation if trial.state == "complete" or not self.goal.bounds else np.nan for trial in ended])

    def first_costs(self, ended: Sequence[Observation]) -> Array:
        """The first objective as a cost: (N); of a stopped trial as its end is expected, of a failed trial infinite."""
        sign = self.goal.first.sign
        changes: dict[int, list[float]] = defaultdict(list)
        for trial in ended:
            if trial.state == "complete":
                for epoch in trial.curve.keys() & self.rungs:
                    changes[epoch].append(-sign * (trial.scores[0] - trial.curve[epoch]))
        expected = {epoch: min(0.0, median(those)) for epoch, those in changes.items() if len(those) >= FEWEST}

        def cost(trial: Observation) -> float:
            if trial.state == "complete":
                return -sign * trial.scores[0]
            if trial.state != "stopped" or not trial.curve:
                return np.inf
            epoch, value = max(trial.curve.items())
            return -sign * value + expected.get(epoch, 0.0)

        return np.array([cost(trial) for trial in ended])


def recorded(values: Mapping[str, Any], domain: Domain) -> Any:
    """The value of a domain among values by path."""
    return domain.accept(values[domain.path])


def normal_scores(costs: Array) -> Array:
    """The ranks of costs as quantiles of the normal distribution: (N)."""
    return np.asarray(norm.ppf((rankdata(costs) - 0.5) / len(costs)))


def share_of_ranks(costs: Array) -> Array:
    """Ranks from 0 to 1; what is unknown is in the middle."""
    ranks = np.full(len(costs), 0.5)
    known = ~np.isnan(costs)
    ranks[known] = rankdata(costs[known]) / known.sum()
    return ranks


def spread(costs: Array, most: int) -> NDArray[np.intp]:
    """The places of at most so many trials: the best half of them, and others evenly by rank; in their order."""
    if len(costs) <= most:
        return np.arange(len(costs))
    order = np.argsort(costs, kind="stable")
    best, rest = order[: most // 2], order[most // 2 :]
    return np.sort(np.concatenate([best, rest[np.linspace(0, len(rest) - 1, most - len(best)).astype(int)]]))


def process_of(points: Array, costs: Array, columns: Columns) -> Process:
    """The process given costs (N) at points (N, E), its kernel fitted to some of them."""
    some = spread(costs, FIT)
    return Process.given(fitted(points[some], costs[some], columns), points, costs)


def acquisition(given: Array, costs: Array, violations: Array, columns: Columns, running: Array, new: Array) -> Array:
    """The expected improvement at new points (M, E) over the best of given points (N, E), times the chance to keep the bounds: (M)."""
    kept, missed = violations == 0, violations > 0
    if missed.any() and not kept.any():
        return probability_of_feasibility(given[missed], violations[missed], columns, new)
    process = process_of(given, costs, columns)
    lowest = process.mean(given[kept] if kept.any() else given).min()
    expected = improvement(process.believing(running) if len(running) else process, new, lowest)
    known = kept | missed
    return expected * probability_of_feasibility(given[known], violations[known], columns, new) if missed.any() else expected


def probability_of_feasibility(given: Array, violations: Array, columns: Columns, new: Array) -> Array:
    """The chance that new points keep the bounds: (M); the process sees 0 where they are kept, else 1 and the share of the rank."""
    missed = violations > 0
    far = missed.astype(float)
    far[missed] += share_of_ranks(violations[missed])
    scale = far.std() or 1.0
    process = process_of(given, (far - far.mean()) / scale, columns)
    return np.asarray(norm.cdf(((0.5 - far.mean()) / scale - process.mean(new)) / process.deviation(new)))


def improvement(process: Process, points: Array, lowest: float) -> Array:
    """The expected improvement over the lowest mean at each point: (M, E) -> (M)."""
    deviation = process.deviation(points)
    better = (lowest - process.mean(points)) / deviation
    return np.asarray(deviation * (better * norm.cdf(better) + norm.pdf(better)))
