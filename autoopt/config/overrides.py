"""A command line, or a file, taken apart into what each slot is filled from and the values set under their keys."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml
from hydra.core.override_parser.types import ChoiceSweep, Override, QuotedString, Sweep
from hydra.errors import HydraException

from autoopt import grammar
from autoopt.config.tree import FROM, Tree
from autoopt.errors import BadInput, nearest
from autoopt.slots import SLOTS
from autoopt.technique import available, find, is_path

GROUPS = (*SLOTS, "study", "executor")


@dataclass
class Overrides:
    """A command line taken apart: what each slot is filled from, and the values set under their keys."""

    groups: dict[str, list[str]] = field(default_factory=dict)
    values: dict[str, str] = field(default_factory=dict)
    always: set[str] = field(default_factory=set)
    problems: list[str] = field(default_factory=list)


def from_file(path: str) -> list[str]:
    """A file as the overrides that it stands for.

    Raises:
        BadInput: there is no such file, or it is no mapping in plain YAML.
    """
    try:
        text = Path(path).read_text()
    except OSError as error:
        raise BadInput(f"{path}: {error.strerror or error}") from error
    try:
        if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text)):
            raise BadInput(f"{path}: YAML aliases are not read")
        tree = yaml.safe_load(text)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise BadInput(f"{path}: no YAML: {' '.join(str(error).split())}") from error
    if not isinstance(tree, dict):
        raise BadInput(f"{path}: expected a mapping of slots and settings, got {type(tree).__name__}")
    return as_overrides(tree)


def as_overrides(tree: Tree) -> list[str]:
    """A tree as the overrides that compose it."""
    return [line for key, node in tree.items() for line in (slot_overrides(key, node) if key in SLOTS else setting_overrides(key, node))]


def slot_overrides(slot: str, node: Any) -> Iterator[str]:
    if not isinstance(node, dict):
        yield f"{slot}={node if isinstance(node, str) else grammar.write(node)}"
        return
    names = [str(values[FROM]) if isinstance(values, dict) and FROM in values else name for name, values in node.items()]
    yield f"{slot}=[{','.join(names)}]"
    for name, values in node.items():
        yield from setting_overrides(f"{slot}.{name}", {k: v for k, v in (values or {}).items() if k != FROM})


def setting_overrides(key: str, node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        for name, value in node.items():
            yield from setting_overrides(f"{key}.{name}", value)
    else:
        yield f"{key}={node if grammar.is_sweep(node) else grammar.write(node)}"


def split_up(arguments: Sequence[str]) -> Overrides:
    """Take overrides apart; a later one replaces an earlier one, and what was set under an option that is gone goes with it."""
    overrides = Overrides()
    for argument in arguments:
        try:
            parsed = grammar.override(argument)
        except HydraException:
            overrides.problems.append(f"{argument}: expected key=value, such as optimizer=adamw")
            continue
        if not parsed.is_delete() and not parsed.is_add() and not parsed.is_force_add():
            take(parsed, argument.split("=", 1)[1], overrides)
        else:
            overrides.problems.append(f"{argument}: keys are neither added nor deleted; say {argument.lstrip('+~')}")
    return overrides


def take(parsed: Override, text: str, overrides: Overrides) -> None:
    key = parsed.key_or_group
    if key not in GROUPS:
        overrides.values[key] = f"choice({text})" if isinstance(parsed.value(), ChoiceSweep) and not text.startswith("choice") else text
        return
    try:
        names = options(key, parsed)
    except BadInput as error:
        overrides.problems.extend(error.problems)
        return
    overrides.groups[key] = names
    kept = {name.rpartition(":")[2] for name in names}
    for old in [k for k in overrides.values if k.startswith(f"{key}.") and k.split(".")[1] not in kept and not is_preset_of(names, key)]:
        del overrides.values[old]
    if key in SLOTS and SLOTS[key].many:
        pinned = not parsed.is_sweep_override()
        overrides.always = {o for o in overrides.always if not o.startswith(f"{key}.")} | {
            f"{key}.{name.rpartition(':')[2]}" for name in names if pinned and not is_preset(key, name)
        }


def options(group: str, parsed: Override) -> list[str]:
    """The option names that an override of a group lists.

    Raises:
        BadInput: for those that do not exist.
    """
    value = parsed.value()
    if isinstance(value, Sweep) and not isinstance(value, ChoiceSweep):
        raise BadInput(f"{parsed.input_line}: expected names, such as {group}=a,b")
    listed = value.list if isinstance(value, ChoiceSweep) else value if isinstance(value, list) else [value]
    names = [o.text if isinstance(o, QuotedString) else str(o) for o in listed]
    if names in (["none"], ["None"]) and group in SLOTS and SLOTS[group].many:
        return []
    for name in names:
        known(group, name)
    return names


def known(group: str, name: str) -> None:
    """Raise BadInput where a group has no such option."""
    if is_preset(group, name):
        return
    if group not in SLOTS:
        raise BadInput(f"No {group} named '{name}'. {nearest(name, presets(group))}")
    if not is_path(name) and name not in available(group):
        raise BadInput(f"No {group} named '{name}'. {nearest(name, [*available(group), *presets(group)])}")
    technique = find(group, name)
    if absent := [a for a in technique.asks if a not in SLOTS[group].offers]:
        offers = ", ".join(SLOTS[group].offers) or "nothing"
        raise BadInput(f"{group}={name} asks for '{absent[0]}', which the slot {group} does not offer (it offers {offers})")


@cache
def presets(group: str) -> list[str]:
    """The names of the files in conf/<group>/, and `all` for a slot."""
    found = sorted(p.name.removesuffix(".yaml") for p in files("autoopt.conf").joinpath(group).iterdir() if p.name.endswith(".yaml"))
    return [*found, "all"] if group in SLOTS and group not in ("data", "model") else found


def is_preset(group: str, name: str) -> bool:
    return name in presets(group)


def is_preset_of(names: Sequence[str], group: str) -> bool:
    return any(is_preset(group, name) for name in names)


def option(name: str) -> str:
    return name.rpartition(":")[2].rpartition(".")[2]
