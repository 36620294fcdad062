from autoopt.strategy import AtRandom, Strategy


def random(space, goal, epochs) -> Strategy:
    """Draws every value at random; the worse half ends at a third of its epochs, and at two thirds.

    Source: Bergstra & Bengio 2012, JMLR 13:281.
    """
    return AtRandom(space, goal, epochs)
