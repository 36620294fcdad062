from typing import Annotated, Any

from autoopt.domain import Bounds, Range
from autoopt.goal import Goal
from autoopt.strategy import AtRandom, Strategy, SuccessiveHalving


def one_epoch(space: Any, goal: Goal, epochs: int, *, reduction: Annotated[int, Range(2, 100), Bounds(2)] = 10) -> Strategy:
    """Draws every value at random; of the trials that have trained one epoch, the best one of `reduction` goes on to the end.

    Egele et al. 2023, arXiv:2307.15422, who choose after all have trained one epoch; here each trial is compared with those before it.
    """
    return AtRandom(space, SuccessiveHalving((1,) if epochs > 1 else (), goal.first.direction, reduction))
