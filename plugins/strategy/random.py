from typing import Annotated, Any

from autoopt.domain import Bounds, Range
from autoopt.goal import Goal
from autoopt.strategy import AtRandom, Strategy, SuccessiveHalving


def random(
    space: Any,
    goal: Goal,
    epochs: int,
    *,
    rungs: Annotated[int, Range(0, 5), Bounds(0)] = 2,
    reduction: Annotated[int, Range(2, 9), Bounds(2)] = 3,
    promote: bool = False,
) -> Strategy:
    """Draws every value at random, independently of all the others and of the results of earlier trials.

    With `rungs`, the best third of the trials at each of them goes on: asynchronous successive halving. With
    `promote` and `executor.keep=rung`, a stopped trial is continued once it is among the best third of those that reached its rung.

    Bergstra & Bengio 2012, Journal of Machine Learning Research 13, 281-305; rungs: Li et al. 2020, arXiv:1810.05934.
    """
    return AtRandom(space, SuccessiveHalving.of(goal, epochs, rungs, reduction), promote)
