from collections.abc import Mapping, Sequence
from random import Random
from typing import Any

from autoopt.space import Space
from autoopt.strategy import AtRandom, Evidence, Strategy


def random(space: Space) -> Strategy:
    """Draws every value at random, independently of all the others and of what earlier trials came to.

    Bergstra & Bengio 2012, Journal of Machine Learning Research 13, 281-305.
    """
    return Independent(space)


class Independent(Strategy):
    def __init__(self, space: Space):
        self.space = space

    def propose(self, history: Sequence[Evidence], number: int, seed: int) -> Mapping[str, Any]:
        answers = AtRandom(Random(f"{seed}/{number}"))
        self.space.draw(answers)
        return answers.values
