"""Every value that the recipes of a space need, in the order in which they are chosen, each with its condition.

A condition refers to slots and techniques that come before it.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from autoopt.domain import Choice
from autoopt.slots import SLOTS
from autoopt.space.condition import ALWAYS, NEVER, Condition, Reach, Used
from autoopt.space.domain import Domain, Pin
from autoopt.space.option import ON, Option, Settings

Options = Mapping[str, Mapping[str, Option]]
Absent = Mapping[str, Mapping[str, str]]
"""By slot: the names that it cannot offer here, each with the reason."""
Unfit = Mapping[str, Mapping[str, str]]
"""By model: the techniques (`slot/name`) that are not drawn with it, each with the reason."""
Alternatives = tuple[Pin | Domain, ...]
"""Alternatives for one value: a recipe takes the first whose condition holds; the last one is for all other recipes."""


@dataclass(frozen=True)
class Node:
    """A node of the tree of a recipe.

    Args:
        values: by key, in their order, those that are fixed; None where one is chosen.
        choices: what it chooses.
    """

    values: Mapping[str, Any]
    choices: Mapping[str, Alternatives]

    def domains(self) -> Iterator[Domain]:
        for alternatives in self.choices.values():
            yield from domains_of(alternatives)


@dataclass(frozen=True)
class Questions:
    """The choices in a slot: its technique, or whether each of several techniques is used, and the node of each technique."""

    technique: Alternatives
    uses: Mapping[str, Alternatives]
    nodes: Mapping[str, Node]

    def domains(self) -> Iterator[Domain]:
        yield from domains_of(self.technique)
        for name, use in self.uses.items():
            yield from domains_of(use)
            yield from self.nodes[name].domains()


def or_nothing(conditional: Iterable[Pin | Domain]) -> Alternatives:
    """These alternatives, and none of them where no condition holds."""
    alternatives = tuple(conditional)
    return alternatives if [a.condition for a in alternatives] == [ALWAYS] else (*alternatives, Pin(None))


def domains_of(alternatives: Alternatives) -> Iterator[Domain]:
    return (alternative for alternative in alternatives if isinstance(alternative, Domain))


class Asking:
    """Finds the questions of a space, slot by slot, since what a slot can offer depends on the slots before it."""

    def __init__(self, options: Options, absent: Absent, unfit: Unfit):
        self.options, self.absent, self.unfit = options, absent, unfit
        self.reach = Reach()

    def slot(self, slot: str) -> Questions:
        """The questions of a slot, once those of the slots before it were asked."""
        if SLOTS[slot].many:
            technique: Alternatives = ()
            uses = self.uses(slot)
        else:
            technique = self.technique(slot)
            uses = {name: (ON,) for name in self.options[slot] if name in self.reach.possible[slot]}
        return Questions(technique, uses, {name: self.technique_node(slot, name) for name in uses})

    def technique(self, slot: str) -> Alternatives:
        """Which technique fills a slot: one alternative for each list of names that may be offered."""
        names = tuple(self.options[slot])
        offers = {offered: condition for offered, condition in self.offers(slot).items() if condition != NEVER}
        self.reach.possible[slot] = {name for offered in offers for name in offered}
        self.reach.covers[slot] = [self.reach.possible[slot]] if self.free(slot) == ALWAYS and all(offers) else []
        return or_nothing(
            Pin(offered[0], condition)
            if len(offered) == 1
            else Domain(slot, Choice(*offered), str, offered[0], narrowed=offered != names, condition=condition)
            for offered, condition in offers.items()
            if offered
        )

    def offers(self, slot: str) -> dict[tuple[str, ...], Condition]:
        """The lists of names that a slot can offer, each with the condition on the model and the optimizer under which it does."""
        models: dict[tuple[tuple[str, ...], Condition], list[str]] = {}
        every_model = self.reach.possible.get("model") or {""}
        for model in sorted(every_model):
            fitting = tuple(name for name in self.options[slot] if f"{slot}/{name}" not in self.unfit.get(model, {}))
            for offered, condition in self.by_owner(slot, fitting):
                models.setdefault((offered, condition), []).append(model)
        offers: dict[tuple[str, ...], Condition] = {}
        for (offered, condition), those in models.items():
            with_model = ALWAYS if len(those) == len(every_model) else self.reach.every(Used("model", tuple(those)))
            offers[offered] = offers.get(offered, NEVER) | (with_model & condition & self.free(slot))
        return offers

    def by_owner(self, slot: str, names: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Condition]]:
        """The module's own schedule goes with its own optimizer; with another optimizer only if no other schedule is left."""
        common = tuple(name for name in names if "own" not in self.options[slot][name].technique.asks) or names
        if slot != "schedule" or common == names:
            yield names, ALWAYS
            return
        owners = tuple(name for name, option in self.options["optimizer"].items() if "own" in option.technique.asks)
        yield names, self.reach.every(Used("optimizer", owners))
        yield common, self.reach.every(Used("optimizer", owners, negated=True))

    def free(self, slot: str) -> Condition:
        """The condition that no technique of an earlier slot takes this slot over."""
        fillers = {
            earlier: tuple(name for name, option in self.options[earlier].items() if option.technique.acts.fills == slot)
            for earlier in self.reach.possible
        }
        return self.reach.every(*(Used(earlier, names, negated=True) for earlier, names in fillers.items() if names))

    def uses(self, slot: str) -> dict[str, Alternatives]:
        """Whether each technique of a slot is used, where it holds several; of two that clash, a recipe uses at most one."""
        uses: dict[str, Alternatives] = {}
        free = self.free(slot)
        self.reach.possible[slot], self.reach.covers[slot] = set(), []
        for name, option in self.options[slot].items():
            unfit = tuple(model for model, reasons in self.unfit.items() if f"{slot}/{name}" in reasons)
            clauses = [Used("model", unfit, negated=True)] if unfit else []
            if clashing := tuple(other for other in uses if self.options[slot][other].technique.acts.clash(option.technique.acts)):
                clauses.append(Used(slot, clashing, negated=True))
            condition = free & self.reach.every(*clauses)
            if condition == NEVER or option.use == Pin(False):
                continue
            uses[name] = or_nothing([replace(option.use, condition=condition)])
            self.reach.possible[slot].add(name)
            if option.always and condition == ALWAYS:
                self.reach.covers[slot].append({name})
        return uses

    def technique_node(self, slot: str, name: str) -> Node:
        """The node of a technique, needed where it is used."""
        option = self.options[slot][name]
        return self.node(option.head, option.values, self.reach.every(Used(slot, (name,))))

    def node(self, head: Mapping[str, Any], values: Settings, needed: Condition = ALWAYS) -> Node:
        """A node with these values after its head; beside the slots every recipe needs it."""
        fixed = {key: value.value if isinstance(value, Pin) else None for key, value in values.items()}
        domains = {key: value for key, value in values.items() if isinstance(value, Domain)}
        return Node({**head, **fixed}, {key: self.alternatives(domain, needed) for key, domain in domains.items()})

    def alternatives(self, domain: Domain, needed: Condition) -> Alternatives:
        """The alternatives for a value: an optimizer that needs its closure gets only options that leave it a closure."""
        left = domain.narrow(lambda option: self.leaves_closure(domain.key, option))
        if left == domain:
            return (replace(domain, condition=needed),)
        closures = tuple(name for name, option in self.options["optimizer"].items() if option.technique.acts.closure)
        pairs = ((domain, Used("optimizer", closures, negated=True)), (left, Used("optimizer", closures)))
        branches = (replace(alternative, condition=needed & self.reach.every(clause)) for alternative, clause in pairs)
        return tuple(alternative for alternative in branches if alternative.condition != NEVER)

    def leaves_closure(self, key: str, value: Any) -> bool:
        """Whether the optimizer still gets a closure over all batches of a step: 16-bit scaling passes none, and where Lightning
        accumulates, for a user's own module, the closure covers only the last batch."""
        if key.startswith(("device.", "trainer.")) and key.endswith(".precision"):
            return value not in ("16-mixed", "16")
        if key == "trainer.accumulate_grad_batches":
            return value in (None, 1)
        accumulates = key == "batches.accumulate" and "own" not in self.absent.get("optimizer", {})
        return not accumulates or bool(value == 1)
