from collections.abc import Mapping, Sequence
from random import Random
from typing import Any

from autoopt.space import Domain, Space
from autoopt.strategy import Observation, Strategy


def aging_evolution(space: Space, goal: Any, *, population: int = 20, sample: int = 5) -> Strategy:
    """Changes one value of the best of `sample` trials, drawn among the last `population` complete ones.

    Real et al. 2019, arXiv:1802.01548.
    """
    return Aging(space, goal.directions[0], population, sample)


class Aging(Strategy):
    def __init__(self, space: Space, direction: str, population: int, sample: int):
        self.space, self.sign = space, 1 if direction == "maximize" else -1
        self.population, self.sample = population, sample

    def propose(self, history: Sequence[Observation], number: int, seed: int) -> Mapping[str, Any]:
        random = Random(f"{seed}/{number}")
        parent = self.parent(history, random)
        values: dict[str, Any] = {}

        def pick(domain: Domain) -> Any:
            values[domain.path] = parent.get(domain.path, domain.sample(random))
            return values[domain.path]

        self.space.walk(pick)
        return values

    def parent(self, history: Sequence[Observation], random: Random) -> dict[str, Any]:
        """The values of the best of a sample but one; none where there are too few trials."""
        alive = [trial for trial in history if trial.state == "complete" and trial.values][-self.population :]
        if len(alive) < self.sample:
            return {}
        best = max(random.sample(alive, self.sample), key=lambda trial: self.sign * trial.scores[0])
        changed = random.choice(sorted(best.values))
        return {path: value for path, value in best.values.items() if path != changed}
