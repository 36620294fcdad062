from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from autoopt.domain import Choice, Unavailable
from autoopt.space import Domain, traced
from autoopt.strategy import Observation, Strategy

LISTED = 10
"""So many ranges are named at once."""


def grid(space: Any) -> Strategy:
    """Tries every recipe of a finite space once, the later domains changing fastest; the search ends when all were tried.

    A range without steps is not finite: give the values to try, such as `optimizer.adamw.lr=[0.001,0.01]`.

    Larochelle et al. 2007, doi:10.1145/1273496.1273556.
    """
    return Grid(space)


class Grid(Strategy):
    """Goes through the points of a space in their order."""

    def __init__(self, space: Any):
        self.space = space
        if ranges := [domain for domain in space.domains() if is_range(domain)]:
            named = [f"{domain.path}={domain}" for domain in ranges[:LISTED]] + [f"{len(ranges) - LISTED} more"] * (len(ranges) > LISTED)
            words = f"{', '.join(named)} {'is a range' if len(ranges) == 1 else 'are ranges'}"
            raise Unavailable(f"it needs a finite space, but {words}; give a value, or list those to try, as in {ranges[0].key}=[...]")

    def propose(self, history: Sequence[Observation], number: int, seed: int) -> Mapping[str, Any] | None:
        tried = [trial.values for trial in history]
        return next((values for values in self.points() if values not in tried), None)

    def points(self) -> Iterator[Mapping[str, Any]]:
        """Every point, in the order in which an odometer counts."""
        places: list[int] = []
        while True:
            values, counts = self.point(places)
            yield values
            places += [0] * (len(counts) - len(places))
            while places and places[-1] == counts[len(places) - 1] - 1:
                places.pop()
            if not places:
                return
            places[-1] += 1

    def point(self, places: Sequence[int]) -> tuple[Mapping[str, Any], Sequence[int]]:
        """The point at these places of its domains, at the first of the others; and how many values each of its domains has."""
        counts: list[int] = []

        def choose(domain: Domain) -> Any:
            options = finite(domain)
            counts.append(len(options))
            return options[places[len(counts) - 1] if len(counts) <= len(places) else 0]

        return traced(self.space, choose).values, counts


def is_range(domain: Domain) -> bool:
    """Whether a domain is a range without steps, which no list of values exhausts."""
    return not isinstance(domain.values, Choice) and domain.number is not int and domain.values.step is None


def finite(domain: Domain) -> Sequence[Any]:
    """The values of a domain that is no range without steps, in their order."""
    values = domain.values
    if isinstance(values, Choice):
        return values.options
    step = values.step or 1
    return [domain.nearest(values.low + step * place) for place in range(round((values.high - values.low) / step) + 1)]
