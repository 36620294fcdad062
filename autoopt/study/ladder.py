"""Stopping of bad trials at rungs."""

from collections import defaultdict
from math import ceil

from autoopt.study.objective import Objective


class Ladder:
    """Asynchronous successive halving: at each rung the better half of those that came so far goes on.

    The first rung is late, at a third of the epochs, and half go on: strong augmentation and falling schedules start slowly
    and end well.

    Args:
        epochs: of a full training.
        first: the first rung, as a share of them.
        keep: one in so many goes on.

    Source: Li et al. 2020, arXiv:1810.05934.
    """

    def __init__(self, epochs: int, objective: Objective, first: float = 1 / 3, keep: int = 2):
        self.objective, self.keep = objective, keep
        self.rungs: list[int] = []
        rung = ceil(epochs * first)
        while rung < epochs:
            self.rungs.append(rung)
            rung *= keep
        self.reached: dict[int, dict[int, float]] = defaultdict(dict)

    def stop(self, number: int, epoch: int, value: float) -> bool:
        """Whether the trial ends here; its value is remembered for those that come after it."""
        if epoch not in self.rungs:
            return False
        others = [v for n, v in self.reached[epoch].items() if n != number]
        self.reached[epoch][number] = value
        ahead = sum(self.objective.better(v, value) for v in others)
        return ahead >= ceil((len(others) + 1) / self.keep)

    def remember(self, number: int, curve: list[float]) -> None:
        """Take in a trial of an earlier session: its values from epoch 1 on."""
        for rung in self.rungs:
            if len(curve) >= rung:
                self.reached[rung][number] = curve[rung - 1]
