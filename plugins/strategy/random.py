from autoopt.space import Space
from autoopt.strategy import AtRandom, Strategy


def random(space: Space) -> Strategy:
    """Draws every value at random, independently of all the others and of the results of earlier trials.

    Bergstra & Bengio 2012, Journal of Machine Learning Research 13, 281-305.
    """
    return AtRandom(space)
