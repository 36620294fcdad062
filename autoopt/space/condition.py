"""Conditions on the techniques of a recipe, which say when the recipe needs a value."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace

Techniques = Mapping[str, Collection[str]]
"""By slot, the names of the techniques that are used; the tree of a recipe is such a mapping."""


@dataclass(frozen=True)
class Used:
    """A recipe uses one of these techniques of a slot; negated: it uses none of them."""

    slot: str
    names: tuple[str, ...]
    negated: bool = False

    def holds(self, techniques: Techniques) -> bool:
        used = techniques[self.slot]
        for name in self.names:
            if name in used:
                return not self.negated
        return self.negated

    def __str__(self) -> str:
        return f"{self.slot}{'!=' if self.negated else '='}{','.join(self.names)}"


@dataclass(frozen=True)
class Condition:
    """Holds where every clause of at least one case holds."""

    cases: tuple[tuple[Used, ...], ...]

    def holds(self, techniques: Techniques) -> bool:
        for case in self.cases:
            for clause in case:
                if not clause.holds(techniques):
                    break
            else:
                return True
        return False

    def __and__(self, other: "Condition") -> "Condition":
        return Condition(tuple((*ours, *(c for c in theirs if c not in ours)) for ours in self.cases for theirs in other.cases))

    def __or__(self, other: "Condition") -> "Condition":
        return ALWAYS if ALWAYS in (self, other) else Condition((*self.cases, *(c for c in other.cases if c not in self.cases)))

    def __str__(self) -> str:
        """`optimizer=adamw`, `model=mlp and optimizer!=keep`; empty where it always holds."""
        return " or ".join(" and ".join(map(str, case)) for case in self.cases)


ALWAYS, NEVER = Condition(((),)), Condition(())


@dataclass
class Reach:
    """The techniques that the recipes of a space may use, and those that all of them use; they simplify conditions.

    Args:
        possible: by slot, the names that may be used.
        covers: by slot, sets of names; every recipe uses a name of each set.
    """

    possible: dict[str, set[str]] = field(default_factory=dict)
    covers: dict[str, list[set[str]]] = field(default_factory=dict)

    def every(self, *clauses: Used) -> Condition:
        """The condition that all clauses hold; clauses that always hold are left out."""
        open_clauses = []
        for clause in clauses:
            names = tuple(name for name in clause.names if name in self.possible[clause.slot])
            certain = any(cover <= set(names) for cover in self.covers[clause.slot])
            never, always = (certain, not names) if clause.negated else (not names, certain)
            if never:
                return NEVER
            if not always:
                open_clauses.append(replace(clause, names=names))
        return Condition((tuple(open_clauses),))
