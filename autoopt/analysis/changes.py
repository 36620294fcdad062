"""What a winner has other than the baseline, change by change, and the recipes between the two."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from autoopt.domain import Choice, Scalar
from autoopt.recipe import SETTING_GROUPS, Recipe
from autoopt.slots import SLOTS
from autoopt.space import Domain, Option, Pin, Space
from autoopt.space.option import parse_option


@dataclass(frozen=True)
class Changes:
    """The space between a baseline and a winner: each of its domains has the baseline's value and the winner's.

    As a space, it has no recipe that a search could not draw: where the winner's schedule does not go with the baseline's
    optimizer, no recipe has both.

    Args:
        space: of the study.
    """

    space: Space
    baseline: Recipe
    winner: Recipe

    @cached_property
    def names(self) -> dict[str, str]:
        """A title for each change, by its key: the choice in a slot, a technique's own values together, or a setting."""
        keys: dict[str, list[str]] = {}
        for domain in self._between.domains():
            keys.setdefault(change_of(domain.key), []).append(domain.key)
        names = {change: self._title(change, list(dict.fromkeys(values))) for change, values in keys.items()}
        for change in keys:  # one that others bring along is none of its own
            if self.recipe(names.keys() - {change}) == self.recipe(names):
                del names[change]
        return names

    def chooses(self, change: str) -> bool:
        """Whether a change is the choice of a technique, not of values alone."""
        slot, _, name = change.partition(".")
        return slot in SLOTS and (not name or (name in self.baseline.tree[slot]) != (name in self.winner.tree[slot]))

    def recipe(self, changes: Collection[str]) -> Recipe:
        """The baseline with some of the changes."""

        def pick(domain: Domain) -> Any:
            side = self.winner if change_of(domain.key) in changes else self.baseline
            value = side.value(domain.key)
            return value if value in domain else domain.default

        return self._between.walk(pick)

    @cached_property
    def _between(self) -> Space:
        options = {slot: dict(self._options(slot)) for slot in SLOTS}
        settings = {group: self._values(group, *(side.tree.get(group, {}) for side in self._sides)) for group in SETTING_GROUPS}
        return replace(self.space, options=options, settings=settings)

    @property
    def _sides(self) -> tuple[Recipe, Recipe]:
        return self.baseline, self.winner

    def _options(self, slot: str) -> Iterator[tuple[str, Option]]:
        """The techniques of both sides, in the order of the study's."""
        theirs, ours = (side.tree[slot] for side in self._sides)
        for name in dict.fromkeys((*self.space.options[slot], *theirs, *ours)):
            if name in theirs and name in ours:
                option = parse_option(slot, name, ours[name])
                values = self._values(f"{slot}.{name}", theirs[name], {key: ours[name][key] for key in option.values})
                yield name, replace(option.used(), values=values)
            elif name in theirs or name in ours:
                use = Domain(f"{slot}.{name}.use", Choice(True, False), bool, False)
                option = parse_option(slot, name, ours.get(name, theirs.get(name)))
                yield name, replace(option, use=use) if SLOTS[slot].many else option

    def _values(self, prefix: str, theirs: Mapping[str, Any], ours: Mapping[str, Any]) -> dict[str, Pin | Domain]:
        """Each value that both have as a pin, the others as a choice; values that cannot be chosen, such as lists, are the winner's."""
        values: dict[str, Pin | Domain] = {}
        for key, own in ours.items():
            other = theirs.get(key)
            differ = own != other and all(isinstance(value, Scalar) for value in (own, other))
            values[key] = Domain(f"{prefix}.{key}", Choice(other, own), None, other) if differ else Pin(own)
        return values

    def _title(self, change: str, keys: Sequence[str]) -> str:
        """`optimizer sgd`, `augmentation mixup`, `no regularizer l1`, `adamw (lr, weight_decay)`, `batches.size`."""
        slot, _, name = change.partition(".")
        if slot not in SLOTS:
            return change
        if not name:
            return f"{slot} {next(iter(self.winner.tree[slot]), 'none')}"
        if keys == [f"{change}.use"]:
            return f"{slot} {name}" if name in self.winner.tree[slot] else f"no {slot} {name}"
        return f"{name} ({', '.join(key.removeprefix(f'{change}.') for key in keys)})"


def change_of(key: str) -> str:
    """The change that a value belongs to: the values of a technique that both sides have are one change."""
    head, *rest = key.split(".")
    return f"{head}.{rest[0]}" if head in SLOTS and rest else key
