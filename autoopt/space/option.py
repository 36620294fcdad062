"""The techniques of a slot as a config selects them, and the settings beside the slots."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from autoopt.config import FROM, RELATIVE, SEARCHED, SETTINGS, Tree, technique_of
from autoopt.slots import SLOTS
from autoopt.space.domain import Domain, Pin, parse_node
from autoopt.technique import Param, Technique

Settings = Mapping[str, Pin | Domain]
ON = Pin(True)


@dataclass(frozen=True)
class Option:
    """One technique of a slot, with a pin or a domain for each of its arguments, and for whether it is used."""

    technique: Technique
    values: Settings = field(default_factory=dict)
    use: Pin | Domain = ON

    @property
    def always(self) -> bool:
        """Whether it is on in every recipe, in a slot whose techniques are each on or off."""
        return self.use == ON

    @property
    def head(self) -> dict[str, Any]:
        """The first keys of its node in a recipe: its import path, if it is not installed, and `use`, if its slot holds several."""
        source = {} if self.technique.owner else {FROM: self.technique.path}
        return source | ({"use": True} if SLOTS[self.technique.slot].many else {})

    @property
    def pins(self) -> dict[str, Any]:
        """The arguments that are fixed to another value than their default."""
        return {key: v.value for key, v in self.values.items() if isinstance(v, Pin) and v.value != self.technique.param(key).default}

    def used(self) -> "Option":
        """The option, used in every recipe."""
        return replace(self, use=ON)


def parse_option(slot: str, name: str, node: Tree) -> Option:
    """The option that a node of the composed tree describes."""
    technique = technique_of(slot, name, node)
    params = {key: Param(key, bool, default=False) if key == "use" else technique.param(key) for key in node if key != FROM}
    values = {key: parse_node(f"{slot}.{name}.{key}", node[key], param) for key, param in params.items()}
    return Option(technique, use=values.pop("use", ON), values=values)


def parse_settings(root: str, node: Tree) -> Settings:
    """The settings under one of the roots beside the slots, such as `batches`; of the Trainer's only those that are set."""
    keys = {name: f"{root}.{name}" for name, value in node.items() if root != "trainer" or value is not None}
    types = {key: SETTINGS[key][0] | (str if key in RELATIVE else SETTINGS[key][0]) for key in keys.values()}
    return {name: parse_node(key, node[name], Param(key, types[key], default=SEARCHED.get(key))) for name, key in keys.items()}
