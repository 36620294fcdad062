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


@dataclass(frozen=True)
class Traced:
    """A recipe with the domains that it needs, and their values by path."""

    recipe: Recipe
    domains: tuple[Domain, ...]
    values: Mapping[str, Any]

    @cached_property
    def key(self) -> str:
        """The values, as something that can be looked up; a value may be a list."""
        return repr(self.values)


def traced(space: Walkable, pick: Pick) -> Traced:
    """The recipe for which `pick` chooses the value of each domain, with these values."""
    values: dict[str, Any] = {}
    domains: list[Domain] = []

    def keep(domain: Domain) -> Any:
        domains.append(domain)
        values[domain.path] = pick(domain)
        return values[domain.path]

    return Traced(space.walk(keep), tuple(domains), values)
