"""The space of recipes that a search chooses from."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import combinations
from typing import Any

from autoopt import grammar
from autoopt.config import SEARCHED, Tree
from autoopt.domain import Choice, Range
from autoopt.errors import BadInput, nearest
from autoopt.recipe import SETTING_GROUPS, Recipe
from autoopt.slots import SLOTS
from autoopt.space.domain import Domain, Pin
from autoopt.space.option import Option, Settings, parse_option, parse_settings
from autoopt.space.questions import Absent, Alternatives, Asking, Node, Questions, Unfit
from autoopt.space.traced import Pick, traced
from autoopt.technique import Technique


@dataclass(frozen=True)
class Space:
    """The techniques that may be used, the domains of their arguments, and the techniques that were left out.

    Args:
        options: by slot and name.
        settings: of `split` and `batches`.
        study: the settings of the study that a recipe keeps: its epochs, and whether the best of them counts.
        absent: the names that the slots cannot offer here, each with the reason.
        dropped: the reason for each technique that was left out, by `slot/name`, or argument that is not searched, by `slot/name.key`.
        broken: the techniques among them that failed.
        unfit: by model, the techniques that are not drawn with it.
    """

    options: Mapping[str, Mapping[str, Option]]
    settings: Mapping[str, Settings]
    seed: int
    study: Mapping[str, Any]
    absent: Absent = field(default_factory=dict)
    dropped: Mapping[str, str] = field(default_factory=dict)
    broken: frozenset[str] = frozenset()
    unfit: Unfit = field(default_factory=dict)

    @classmethod
    def of(cls, tree: Tree) -> "Space":
        """The space that a composed tree describes."""
        options = {slot: {name: parse_option(slot, name, node) for name, node in tree[slot].items()} for slot in SLOTS}
        settings = {root: parse_settings(root, tree[root]) for root in SETTING_GROUPS}
        study = tree["study"]
        return cls(options, settings, tree["seed"], {"epochs": study["epochs"], **({"value": "best"} if study["value"] == "best" else {})})

    def techniques(self) -> Iterator[tuple[str, str, Technique]]:
        """Slot, name and technique of every option."""
        for slot, options in self.options.items():
            for name, option in options.items():
                yield slot, name, option.technique

    def clashes(self) -> Iterator[tuple[str, str, str, str]]:
        """Slot, name and name of two techniques that no recipe uses together, and why."""
        for slot in (slot for slot in self.options if SLOTS[slot].many):
            for (one, first), (other, second) in combinations(self.options[slot].items(), 2):
                if reason := first.technique.acts.clash(second.technique.acts):
                    yield slot, one, other, reason

    def around(self, batch_size: int | None) -> "Space":
        """The space with batch sizes in numbers, where the config gives them relative to that of the data (`half`, `double`)."""
        if batch_size is None:
            return self
        size, words = self.settings["batches"]["size"], {"half": max(1, batch_size // 2), "double": 2 * batch_size}
        if isinstance(size, Pin):
            return self.with_batch_size(replace(size, value=words.get(size.value, size.value)))
        if isinstance(size.values, Range):
            return self
        options = dict.fromkeys(words.get(option, option) for option in size.options)
        if None in options:
            options.pop(batch_size, None)  # it is the same
        if (default := words.get(size.default, size.default)) not in options:
            default = None
        if len(options) == 1:
            return self.with_batch_size(Pin(default))
        return self.with_batch_size(replace(size, values=Choice(*options), default=default))

    def with_batch_size(self, size: Pin | Domain) -> "Space":
        return replace(self, settings={**self.settings, "batches": {**self.settings["batches"], "size": size}})

    # leaving techniques out

    def fitting(self, absent: Absent) -> "Space":
        """The space without the techniques that ask for an absent name; each is dropped with the reason.

        Raises:
            BadInput: such a technique was pinned on, or its slot has nothing left.
        """
        space = replace(self, absent=absent)
        if (reason := absent.get("batches", {}).get("size")) and isinstance(self.settings["batches"]["size"], Domain):
            space = replace(space.with_batch_size(Pin(None)), dropped={**self.dropped, "batches/size": reason})
        for slot, name, technique in self.techniques():
            reasons = [absent[slot][ask] for ask in technique.asks if ask in absent.get(slot, {})]
            if reasons:
                space = space.without(slot, name, reasons[0])
        return space

    def without(self, slot: str, name: str, reason: str, broken: bool = False) -> "Space":
        """The space without one technique, and without the models for which its slot has nothing left.

        Raises:
            BadInput: it was the last technique of a slot that needs one, or it was pinned on.
        """
        left = {other: option for other, option in self.options[slot].items() if other != name}
        many = SLOTS[slot].many
        if (many and self.options[slot][name].always) or (not many and not left):
            earlier = "".join(f"; {key} dropped: {why}" for key, why in self.dropped.items() if key.startswith(f"{slot}/"))
            raise BadInput(f"{slot}={name} cannot be used here: {reason}{earlier}")
        key = f"{slot}/{name}"
        dropped, failed = {**self.dropped, key: reason}, self.broken | ({key} if broken else set())
        space = replace(self, options={**self.options, slot: left}, dropped=dropped, broken=failed)
        return space.without_bare_models(slot, f"{slot}={name}: {reason}")

    def with_default(self, slot: str, name: str, key: str, reason: str) -> "Space":
        """The space in which an argument of a technique is not searched, as it would change nothing."""
        option = self.options.get(slot, {}).get(name)
        if option is None or not isinstance(option.values.get(key), Domain):
            return self
        fixed = replace(option, values={**option.values, key: Pin(option.technique.param(key).default)})
        dropped = {**self.dropped, f"{slot}/{name}.{key}": reason}
        return replace(self, options={**self.options, slot: {**self.options[slot], name: fixed}}, dropped=dropped)

    def without_with(self, model: str, slot: str, name: str, reason: str) -> "Space":
        """The space in which a technique is not drawn with a model; a technique that no model is left for is left out.

        Raises:
            BadInput: as `without`.
        """
        unfit = {**self.unfit, model: {**self.unfit.get(model, {}), f"{slot}/{name}": reason}}
        space = replace(self, unfit=unfit)
        if all(f"{slot}/{name}" in unfit.get(other, {}) for other in self.options["model"]):
            return space.without(slot, name, reason)
        return space.without_bare_models(slot, f"{slot}={name}: {reason}")

    def without_bare_models(self, slot: str, reason: str) -> "Space":
        """The space without the models for which a slot has nothing left."""
        space, names = self, self.options[slot]
        for model, unfit in self.unfit.items():
            if model in self.options["model"] and not SLOTS[slot].many and all(f"{slot}/{name}" in unfit for name in names):
                space = space.without("model", model, reason)
        return space

    # narrower spaces

    def without_compression(self) -> "Space":
        """The space of the training, without compression, which comes later."""
        return replace(self, options={**self.options, "compression": {}})

    def compressing(self, model: str) -> "Space":
        """The space of only those compressions that work with a model."""
        unfit = self.unfit.get(model, {})
        fitting = {name: option for name, option in self.options["compression"].items() if f"compression/{name}" not in unfit}
        nothing: dict[str, dict[str, Option]] = {slot: {} for slot in SLOTS}
        return replace(self, options={**nothing, "compression": fitting}, settings={root: {} for root in SETTING_GROUPS})

    def with_option(self, slot: str, name: str) -> "Space":
        """The space in which one technique is always used: on, or alone in its slot."""
        used = {name: self.options[slot][name].used()}
        return replace(self, options={**self.options, slot: {**self.options[slot], **used} if SLOTS[slot].many else used})

    # choices

    @cached_property
    def questions(self) -> tuple[dict[str, Questions], dict[str, Node]]:
        """The questions by slot, and the nodes beside the slots."""
        asking = Asking(self.options, self.absent, self.unfit)
        slots = {slot: asking.slot(slot) for slot in SLOTS}
        return slots, {root: asking.node({}, values) for root, values in self.settings.items()}

    def domains(self) -> list[Domain]:
        """Every domain of the space, in the order in which values are chosen.

        A recipe needs a value of each domain whose condition holds for its tree; a condition refers only to earlier values.
        """
        slots, settings = self.questions
        parts: list[Questions | Node] = [*slots.values(), *settings.values()]
        return [domain for part in parts for domain in part.domains()]

    def walk(self, pick: Pick) -> Recipe:
        """One recipe: `pick` chooses the value of each domain that the recipe needs, in the order of the domains."""
        slots, settings = self.questions
        tree: dict[str, Any] = {}

        def value(alternatives: Alternatives) -> Any:
            for alternative in alternatives[:-1]:
                if alternative.condition.holds(tree):
                    break
            else:
                alternative = alternatives[-1]
            return alternative.value if isinstance(alternative, Pin) else pick(alternative)

        def put(node: Node, parent: dict[str, Any], name: str) -> None:
            parent[name] = values = {**node.values}
            for key, alternatives in node.choices.items():
                values[key] = value(alternatives)

        for slot, questions in slots.items():
            tree[slot] = {}
            for name in questions.uses if SLOTS[slot].many else filter(None, [value(questions.technique)]):
                if value(questions.uses[name]):
                    put(questions.nodes[name], tree[slot], name)
        for root, node in settings.items():
            put(node, tree, root)
        return Recipe({**tree, "seed": self.seed, "study": self.study})

    # recipes

    def baseline(self) -> Recipe:
        """The first option of every slot at its defaults; techniques that may be on or off are off."""
        return self.walk(lambda domain: domain.default)

    def defaults(self) -> dict[str, Any]:
        """The values of the baseline by path, as a trial would record them."""
        baseline = self.baseline().tree
        return {domain.path: domain.default for domain in self.domains() if domain.condition.holds(baseline)}

    def recipe(self, values: Mapping[str, Any]) -> Recipe:
        """The recipe with these values by path; missing values are the defaults.

        Raises:
            ValueError: the space has no domain of a path, or a value does not lie in its domain.
        """
        paths = {domain.path for domain in self.domains()}
        for path in values:
            if path not in paths:
                raise ValueError(f"{path}: the space has no such choice. {nearest(path, paths)}")
        return self.walk(lambda domain: domain.accept(values[domain.path]) if domain.path in values else domain.default)

    def values_of(self, recipe: Recipe) -> Mapping[str, Any]:
        """The values by path with which `walk` makes the trained part of a recipe: `recipe` turned round.

        Raises:
            ValueError: the recipe does not lie in the space; the message names the first value that does not.
        """
        for slot, name, _ in recipe.techniques():
            if slot not in ("data", "compression") and name not in self.options[slot]:
                raise ValueError(f"{slot}={name}: the space has {', '.join(self.options[slot]) or 'none'}")
        point = traced(self, lambda domain: domain.accept(recipe.value(domain.key)))
        for name in (*(slot for slot in SLOTS if slot not in ("data", "compression")), "batches", "trainer"):
            ours = point.recipe.tree.get(name, {})
            theirs = {key: SEARCHED[f"{name}.{key}"] for key in ours if f"{name}.{key}" in SEARCHED} | recipe.tree.get(name, {})
            if ours != theirs:
                raise ValueError(f"{name} is {grammar.spell(theirs)}, but the space has {grammar.spell(ours)}")
        return point.values
