"""A walk through a space that keeps what was chosen on the way."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

from autoopt.recipe import Recipe
from autoopt.space.domain import Domain

Pick = Callable[[Domain], Any]


class Walkable(Protocol):
    """A space, or a part of one."""

    def walk(self, pick: Pick) -> Recipe: ...


@dataclass(frozen=True, eq=False)
class Traced:
    """A recipe with the domains that it needs, and their values by path; two are equal if their values are."""

    recipe: Recipe
    domains: tuple[Domain, ...]
    values: Mapping[str, Any]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Traced) and repr(self.values) == repr(other.values)  # 1, 1.0 and True are three values

    def __hash__(self) -> int:
        return self._hash

    @cached_property
    def _hash(self) -> int:
        return hash((*self.values, *self.values.values()))


def traced(space: Walkable, pick: Pick) -> Traced:
    """The recipe for which `pick` chooses the value of each domain, with these values."""
    values: dict[str, Any] = {}
    domains: list[Domain] = []

    def keep(domain: Domain) -> Any:
        domains.append(domain)
        values[domain.path] = value = pick(domain)
        return value

    return Traced(space.walk(keep), tuple(domains), values)
