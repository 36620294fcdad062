"""What earlier studies have found: recipes to try first (`study.memory`)."""

from collections.abc import Iterator, Mapping
from typing import Any

from autoopt.domain import Choice
from autoopt.errors import BadInput
from autoopt.recipe import Recipe
from autoopt.records.journal_file import StoreError
from autoopt.records.stages import SEARCH
from autoopt.records.stored import Stored, names, open_stored
from autoopt.space import Domain, Space, traced
from autoopt.study.sampling import Values
from autoopt.study.study import Study

STUDIES, EACH = 3, 2
"""So many studies are remembered, each with so many of its best recipes."""


def remembered(study: Study) -> list[Values]:
    """The best recipes of the studies under the same root that had the same objective, the latest first, as this space has them.

    A value outside of a range is taken at its end; what only the other study chose is left out, and what only this one chooses has its
    default.
    """
    space, found = study.space.without_compression(), list[Values]()
    for old in related(study):
        trials = old.records[SEARCH.name]
        for record in (study.goal.rank(trials) or study.goal.unbounded.rank(trials))[:EACH]:  # it may not have measured what is bounded
            found.append(nearest_values(space, record.point))
    return found


def related(study: Study) -> Iterator[Stored]:
    """The latest concluded studies with the objective of this one; damaged ones are passed over."""
    root, count = study.folder.path.parent, 0
    others = [name for name in names(str(root)) if name != study.folder.name]
    for name in sorted(others, key=lambda name: (root / name / "space.yaml").stat().st_mtime, reverse=True):
        try:
            old = open_stored(name, str(root))
        except (BadInput, StoreError):
            continue
        if old.verdict and old.verdict.objective == study.goal.first.name:
            yield old
            if (count := count + 1) == STUDIES:
                return


def nearest_values(space: Space, recipe: Recipe) -> Mapping[str, Any]:
    """The values of the point of a space that is nearest to a recipe from elsewhere."""

    def pick(domain: Domain) -> Any:
        value, number = recipe.value(domain.key), lambda option: isinstance(option, int | float) and not isinstance(option, bool)
        if value in domain:
            return value
        if not number(value):
            return domain.default
        if isinstance(domain.values, Choice):
            return min(filter(number, domain.options), key=lambda option: abs(option - value), default=domain.default)
        return domain.nearest(value)

    return traced(space, pick).values
