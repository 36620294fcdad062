"""The config tree as a space: what a search draws from, and the recipe that it starts with."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any, Protocol

from autoopt import grammar
from autoopt.config import FROM, SEARCHED, SETTINGS, Tree, technique_of
from autoopt.domain import Choice, Range
from autoopt.errors import BadInput
from autoopt.recipe import PLAIN, Recipe
from autoopt.slots import SLOTS
from autoopt.technique import REQUIRED, Param, Technique

Absent = Mapping[str, Mapping[str, str]]
"""By slot: the names that it cannot offer here, each with the reason."""
Pick = Callable[[str, Range | Choice, Param], Any]


class Asked(Protocol):
    """What is needed of an Optuna trial."""

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False, step: float | None = None) -> float: ...
    def suggest_int(self, name: str, low: int, high: int, *, log: bool = False, step: int = 1) -> int: ...
    def suggest_categorical(self, name: str, choices: Any) -> Any: ...


@dataclass(frozen=True)
class Space:
    """A composed tree, without the techniques that do not apply here.

    `dropped` has the reason of each that was left out, by `slot/name`; `broken` are those among them that failed; `unfit`
    has by model the reasons of those that are not drawn with it.
    """

    tree: Tree
    absent: Absent = field(default_factory=dict)
    dropped: Mapping[str, str] = field(default_factory=dict)
    broken: frozenset[str] = frozenset()
    unfit: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    def fitting(self, absent: Absent) -> "Space":
        """The space of the techniques whose every request can be met; the others are dropped with the reason."""
        space = replace(self, absent=absent)
        for slot, name, technique in list(self.techniques()):
            reasons = [absent[slot][ask] for ask in technique.asks if ask in absent.get(slot, {})]
            if reasons:
                space = space.without(slot, name, reasons[0])
        return space

    def without(self, slot: str, name: str, reason: str, broken: bool = False) -> "Space":
        """The space without one technique.

        Raises:
            BadInput: it was the last one of a slot that needs one, or was asked for always.
        """
        left = {n: node for n, node in self.tree[slot].items() if n != name}
        node = self.tree[slot][name]
        if (not left and not SLOTS[slot].many) or node.get("use") is True:
            earlier = "".join(f"; {key} dropped: {why}" for key, why in self.dropped.items() if key.startswith(f"{slot}/"))
            raise BadInput(f"{slot}={name} cannot be used here: {reason}{earlier}")
        key = f"{slot}/{name}"
        dropped, failed = {**self.dropped, key: reason}, self.broken | ({key} if broken else set())
        return replace(self, tree={**self.tree, slot: left}, dropped=dropped, broken=failed)

    def without_with(self, model: str, slot: str, name: str, reason: str) -> "Space":
        """The space in which a technique is not drawn with one of the models; with none, it is left out.

        A model to which a slot has nothing left to offer is left out itself.
        """
        unfit = {**self.unfit, model: {**self.unfit.get(model, {}), f"{slot}/{name}": reason}}
        space = replace(self, unfit=unfit)
        everywhere = all(f"{slot}/{name}" in unfit.get(other, {}) for other in self.tree["model"])
        if everywhere:
            return space.without(slot, name, reason)
        bare = not SLOTS[slot].many and all(f"{slot}/{other}" in unfit[model] for other in self.tree[slot])
        return space.without("model", model, f"{slot}={name}: {reason}") if bare else space

    def trained(self) -> "Space":
        """The space of the training alone: compression comes after it."""
        return replace(self, tree={**self.tree, "compression": {}})

    def compressing(self, model: str) -> "Space":
        """The space of the compressions alone, of those that work with a model."""
        nothing: Tree = {slot: {} for slot in SLOTS} | {node: {} for node in PLAIN}
        unfit = self.unfit.get(model, {})
        fitting = {name: node for name, node in self.tree["compression"].items() if f"compression/{name}" not in unfit}
        return replace(self, tree={**self.tree, **nothing, "compression": fitting})

    def with_option(self, slot: str, name: str) -> "Space":
        """The space in which one technique is used for sure: on, or the only one of its slot."""
        node = self.tree[slot][name]
        nodes = {**self.tree[slot], name: {**node, "use": True}} if SLOTS[slot].many else {name: node}
        return replace(self, tree={**self.tree, slot: nodes})

    def pins(self, slot: str, name: str) -> dict[str, Any]:
        """The arguments of a technique that were set to another value than their default."""
        node, params = self.tree[slot][name], technique_of(slot, name, self.tree[slot][name]).params
        said = {key: grammar.read(node[key]) for key in params if key in node}
        return {key: v for key, v in said.items() if not isinstance(v, Range | Choice) and v != params[key].default}

    def techniques(self) -> Iterator[tuple[str, str, Technique]]:
        """Slot, name and technique of every option."""
        for slot in SLOTS:
            for name, node in self.tree[slot].items():
                yield slot, name, technique_of(slot, name, node)

    def baseline(self) -> Recipe:
        """The first option of every slot at its defaults; what may be on or off is off."""
        return self.walk(lambda path, domain, param: default_in(domain, param))

    def defaults(self) -> dict[str, Any]:
        """The baseline as the values that a trial would have drawn, by their dotted names."""
        drawn: dict[str, Any] = {}

        def pick(path: str, domain: Range | Choice, param: Param) -> Any:
            drawn[path] = default_in(domain, param)
            return drawn[path]

        self.walk(pick)
        return drawn

    def draw(self, trial: Asked) -> Recipe:
        """A recipe of the trial's choosing."""
        return self.walk(lambda path, domain, param: suggest(trial, path, domain, param))

    def walk(self, pick: Pick) -> Recipe:
        """One recipe; each choice left open is made by `pick`, slot by slot."""
        recipe: dict[str, Any] = {}
        for slot in SLOTS:
            names = self.applicable(slot, recipe)
            if any(t.acts.fills == slot for t in self.chosen(recipe)):
                names = []
            elif len(names) > 1 and not SLOTS[slot].many:
                path = slot if len(names) == len(self.tree[slot]) else f"{slot}({','.join(names)})"
                names = [pick(path, Choice(*names), Param(slot, str, default=names[0]))]
            recipe[slot] = self.used(slot, names, pick)
            if any(t.acts.closure for t in self.chosen({slot: recipe[slot]})):
                pick = self.with_closure(pick)
        for node in PLAIN:
            recipe[node] = {key: self.setting(f"{node}.{key}", value, pick) for key, value in self.tree[node].items()}
        return Recipe({**recipe, "seed": self.tree["seed"], "study": {"epochs": self.tree["study"]["epochs"]}})

    def used(self, slot: str, names: list[str], pick: Pick) -> dict[str, Any]:
        """The techniques of a slot that are on, with their values; of those that act last no second one is asked for."""
        on: dict[str, Any] = {}
        ended = False
        for name in names:
            last = technique_of(slot, name, self.tree[slot][name]).acts.last
            if not (last and ended) and (values := self.values(slot, name, pick)) is not None:
                on[name] = values
                ended = ended or last
        return on

    def applicable(self, slot: str, recipe: Mapping[str, Any]) -> list[str]:
        """The options of a slot after what was chosen before: a schedule of one's own goes with the optimizer of one's own."""
        unfit = {key for model in recipe.get("model", ()) for key in self.unfit.get(model, ())}
        names = [name for name in self.tree[slot] if f"{slot}/{name}" not in unfit]
        if slot == "schedule" and "own" not in self.asked("optimizer", recipe):
            names = [n for n in names if "own" not in technique_of(slot, n, self.tree[slot][n]).asks] or names
        return names

    def asked(self, slot: str, recipe: Mapping[str, Any]) -> set[str]:
        return {ask for name in recipe[slot] for ask in technique_of(slot, name, self.tree[slot][name]).asks}

    def chosen(self, recipe: Mapping[str, Any]) -> Iterator[Technique]:
        for slot, names in recipe.items():
            for name in names:
                yield technique_of(slot, name, self.tree[slot][name])

    def values(self, slot: str, name: str, pick: Pick) -> dict[str, Any] | None:
        """The values of one technique, or nothing where it is not used."""
        node, params = self.tree[slot][name], technique_of(slot, name, self.tree[slot][name]).params
        if not self.value(f"{slot}.{name}.use", node.get("use", True), Param("use", bool, default=False), pick):
            return None
        kept = {key: node[key] for key in (FROM,) if key in node} | ({"use": True} if "use" in node else {})
        return kept | {
            key: self.value(f"{slot}.{name}.{key}", value, params[key], pick) for key, value in node.items() if key not in ("use", FROM)
        }

    def setting(self, path: str, value: Any, pick: Pick) -> Any:
        return self.value(path, value, Param(path, SETTINGS[path][0], default=SEARCHED.get(path)), pick)

    def value(self, path: str, value: Any, param: Param, pick: Pick) -> Any:
        meant = grammar.read(value)
        return param.accept(pick(path, meant, param) if isinstance(meant, Range | Choice) else meant)

    def with_closure(self, pick: Pick) -> Pick:
        """Pick what leaves an optimizer its closure, where the domain has that; under a name of its own, as its domain is."""

        def picked(path: str, domain: Range | Choice, param: Param) -> Any:
            options = domain.options if isinstance(domain, Choice) else (domain.low, domain.high)
            left = [option for option in options if self.leaves_closure(path, option)]
            if not left or len(left) == len(options):
                return pick(path, domain, param)
            return left[0] if len(left) == 1 else pick(f"{path}({','.join(map(str, left))})", Choice(*left), param)

        return picked

    def leaves_closure(self, path: str, value: Any) -> bool:
        """Whether a step still has a closure, and one for all its batches: 16-bit scaling passes none, and where Lightning
        accumulates, for a module of the user's, it is the last batch's."""
        if path.startswith("device.") and path.endswith(".precision"):
            return bool(value != "16-mixed")
        accumulates = path == "batches.accumulate" and "own" not in self.absent.get("optimizer", {})
        return not accumulates or bool(value == 1)

    def parameters(self) -> Iterator[tuple[str, str]]:
        """Every choice that may be made, by its dotted name, with its domain in words."""
        for slot in SLOTS:
            if len(self.tree[slot]) > 1 and not SLOTS[slot].many:
                yield slot, " | ".join(self.tree[slot])
            for name, node in self.tree[slot].items():
                for key, value in node.items():
                    if isinstance(grammar.read(value), Range | Choice):
                        yield f"{slot}.{name}.{key}", str(value)
        for key in SEARCHED:
            head, _, tail = key.partition(".")
            if isinstance(grammar.read(self.tree[head][tail]), Range | Choice):
                yield key, str(self.tree[head][tail])


def default_in(domain: Range | Choice, param: Param) -> Any:
    """The argument's default, or what comes nearest to it where the domain was narrowed."""
    if isinstance(domain, Choice):
        return param.default if param.default in domain.options else domain.options[0]
    if param.default is REQUIRED or param.default is None:
        return whole(domain.low, param)
    value = min(max(param.default, domain.low), domain.high)
    return whole(on_grid(value, domain, step_of(domain, param)), param)


def step_of(domain: Range, param: Param) -> float | None:
    """The step that the config says, or else the signature."""
    return domain.step or (param.domain.step if isinstance(param.domain, Range) else None)


def on_grid(value: float, domain: Range, step: float | None) -> float:
    """What comes nearest to the value among the steps of the range."""
    if step is None:
        return value
    near, low, high, unit = (Decimal(str(number)) for number in (value, domain.low, domain.high, step))
    steps = min(round((near - low) / unit), int((high - low) / unit))
    return float(low + unit * steps)


def whole(value: float, param: Param) -> float:
    return int(value) if param.scalar is int else float(value)


def suggest(trial: Asked, path: str, domain: Range | Choice, param: Param) -> Any:
    """Ask the trial; the scale and the step are the signature's where the config says no other."""
    if isinstance(domain, Choice):
        return trial.suggest_categorical(path, domain.options)
    step = step_of(domain, param)
    high = on_grid(domain.high, domain, step)
    log = (domain.log or (isinstance(param.domain, Range) and param.domain.log)) and step is None and domain.low > 0
    if param.scalar is int:
        return trial.suggest_int(path, int(domain.low), int(high), log=log, step=int(step or 1))
    return trial.suggest_float(path, float(domain.low), float(high), log=log, step=step)
