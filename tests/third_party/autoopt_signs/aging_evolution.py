from collections.abc import Mapping, Sequence
from random import Random
from typing import Any

from autoopt.space import Space
from autoopt.strategy import AtRandom, Evidence, Strategy


def aging_evolution(space: Space, goal: Any, *, population: int = 20, sample: int = 5) -> Strategy:
    """Changes one value of the best of `sample` trials, drawn among the last `population` complete ones.

    Real et al. 2019, arXiv:1802.01548.
    """
    return Aging(space, goal.directions[0], population, sample)


class Aging(Strategy):
    def __init__(self, space: Space, direction: str, population: int, sample: int):
        self.space, self.sign = space, 1 if direction == "maximize" else -1
        self.population, self.sample = population, sample

    def propose(self, history: Sequence[Evidence], number: int, seed: int) -> Mapping[str, Any]:
        random = Random(f"{seed}/{number}")
        alive = [trial for trial in history if trial.state == "complete" and trial.values][-self.population :]
        answers = AtRandom(random)
        if len(alive) >= self.sample:
            parent = max(random.sample(alive, self.sample), key=lambda trial: self.sign * trial.scores[0])
            changed = random.choice(sorted(parent.values))
            answers = Inherited(random, {key: value for key, value in parent.values.items() if key != changed})
        self.space.draw(answers)
        return answers.values


class Inherited(AtRandom):
    """Answers as the parent did, and at random what it was not asked."""

    def __init__(self, random: Random, parent: Mapping[str, Any]):
        super().__init__(random)
        self.parent = parent

    def inherit(self, name: str, value: Any) -> Any:
        self.values[name] = self.parent.get(name, value)
        return self.values[name]

    def suggest_float(self, name: str, *domain: Any, **scale: Any) -> float:
        return self.inherit(name, super().suggest_float(name, *domain, **scale))

    def suggest_int(self, name: str, *domain: Any, **scale: Any) -> int:
        return self.inherit(name, super().suggest_int(name, *domain, **scale))

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        return self.inherit(name, super().suggest_categorical(name, choices))
