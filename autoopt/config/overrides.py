"""A command line, or a file, taken apart into what each slot and plug-point is filled from and the values set under their keys."""

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
from autoopt.config.settings import SETTINGS
from autoopt.config.tree import FROM, Tree
from autoopt.errors import BadInput, nearest
from autoopt.slots import PLUGGABLE
from autoopt.technique import available, find, is_path

GROUPS = (*PLUGGABLE, "study")


@dataclass
class Overrides:
    """A command line taken apart: what each slot is filled from, and the values set under their keys; `said` rightly or not."""

    said: set[str] = field(default_factory=set)
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
        text = Path(path).read_text(encoding="utf-8")
        if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text)):
            raise BadInput(f"{path}: YAML aliases are not read")
        tree = yaml.safe_load(text)
    except OSError as error:
        raise BadInput(f"{path}: {error.strerror or error}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise BadInput(f"{path}: no YAML: {' '.join(str(error).split())}") from error
    if not isinstance(tree, dict):
        raise BadInput(f"{path}: expected a mapping of slots and settings, got {type(tree).__name__}")
    return as_overrides(tree)


def as_overrides(tree: Tree) -> list[str]:
    """A tree as the overrides that compose it."""
    said = ((key, node, slot_overrides if key in PLUGGABLE else setting_overrides) for key, node in tree.items())
    return [line for key, node, overrides in said for line in overrides(key, node)]


def slot_overrides(slot: str, node: Any) -> Iterator[str]:
    if not isinstance(node, dict):
        yield f"{slot}={node if isinstance(node, str) else grammar.spell(node)}"
        return
    nodes = {name: values for name, values in node.items() if isinstance(values, dict | None) and f"{slot}.{name}" not in SETTINGS}
    if nodes or not node:
        names = [str(values[FROM]) if values and FROM in values else name for name, values in nodes.items()]
        yield f"{slot}=[{','.join(map(str, names))}]"
    for name, values in node.items():
        rest = {k: v for k, v in (values or {}).items() if k != FROM} if isinstance(values, dict | None) else values
        yield from setting_overrides(f"{slot}.{name}", rest)


def setting_overrides(key: str, node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        for name, value in node.items():
            yield from setting_overrides(f"{key}.{name}", value)
    else:
        yield f"{key}={node if grammar.is_sweep(node) else grammar.spell(node)}"


def split_up(base: Sequence[str], arguments: Sequence[str]) -> Overrides:
    """Take overrides apart: those of a file, and the command line over them.

    What fills a slot anew takes along what the file set under the options that are gone; on the command line itself the order is free.
    """
    overrides = Overrides()
    for argument in [*base, *sorted(arguments, key=lambda a: a.partition("=")[0] not in GROUPS)]:
        try:
            take(argument, overrides)
        except BadInput as error:
            overrides.problems.extend(error.problems)
    return overrides


def take(argument: str, overrides: Overrides) -> None:
    parsed, text = parse_override(argument), argument.partition("=")[2]
    key, value = parsed.key_or_group, parsed.value()
    overrides.said.add(key)
    if key in GROUPS:
        fill(key, options(key, parsed), not parsed.is_sweep_override(), overrides)
    elif key not in SETTINGS and (key.split(".")[0] not in PLUGGABLE or key.count(".") != 2):
        beside = [k for k in SETTINGS if k.split(".")[0] == key.split(".")[0]]
        raise BadInput(f"No setting named '{key}'. {nearest(key, beside or [*GROUPS, *SETTINGS])}")
    elif isinstance(value, dict):
        raise BadInput(f"{argument}: expected one value, got a mapping")
    else:
        overrides.values[key] = f"choice({text})" if isinstance(value, ChoiceSweep) and value.simple_form else text


def parse_override(argument: str) -> Override:
    """One `key=value`.

    Raises:
        BadInput: it is none, or its value does not parse.
    """
    if argument.startswith(("+", "~")):
        key, equal, value = argument.lstrip("+~").partition("=")
        raise BadInput(f"{argument}: keys are neither added nor deleted; say {key}={value if equal else '…'}")
    key = argument.partition("=")[0]
    if not key or key == argument or "@" in key or key.startswith("-"):
        raise BadInput(f"{argument}: expected key=value, such as optimizer=adamw")
    try:
        return grammar.override(argument)
    except HydraException as error:
        reason = str(error).splitlines()[0]
        raise BadInput(f"{argument}: it cannot be read: {reason}; quote text that holds signs, as in {key}='\"…\"'") from error


def fill(group: str, names: list[str], for_good: bool, overrides: Overrides) -> None:
    """Fill a group anew; options named for good are always on."""
    overrides.groups[group] = names
    kept = {member for name in names for member in members(group, name)}
    own = [k for k in overrides.values if k.startswith(f"{group}.") and not (group in PLUGGABLE and k in SETTINGS)]
    for old in [k for k in own if k.split(".")[1] not in kept or k.endswith(".use")]:
        del overrides.values[old]
    if group in PLUGGABLE and PLUGGABLE[group].many:
        others = {key for key in overrides.always if not key.startswith(f"{group}.")}
        overrides.always = others | {f"{group}.{option(name)}" for name in names if for_good and not is_preset(group, name)}


def options(group: str, parsed: Override) -> list[str]:
    """The option names that an override of a group lists.

    Raises:
        BadInput: for those that do not exist.
    """
    value = parsed.value()
    if isinstance(value, Sweep) and not isinstance(value, ChoiceSweep):
        raise BadInput(f"{parsed.input_line}: expected names, such as {group}=a,b")
    listed = value.list if isinstance(value, ChoiceSweep) else value if isinstance(value, list) else [value]
    names = list(dict.fromkeys(o.text if isinstance(o, QuotedString) else str(o) for o in listed))
    if names in (["none"], ["None"]) and group in PLUGGABLE and PLUGGABLE[group].many:
        return []
    for name in names:
        check_option(group, name)
    if group not in PLUGGABLE and len(names) != 1:
        raise BadInput(f"{parsed.input_line}: expected one of {', '.join(presets(group))}")
    own = [option(name) for name in names if is_path(name)]
    taken = {member for name in names if not is_path(name) for member in members(group, name)}
    if len(set(own) - taken) < len(own):
        raise BadInput(f"{parsed.input_line}: two of these have one name in the config; import one under another name")
    return names


def check_option(group: str, name: str) -> None:
    """Raise BadInput where a group has no such option."""
    if is_preset(group, name):
        return
    if group not in PLUGGABLE:
        raise BadInput(f"No {group} named '{name}'. {nearest(name, presets(group))}")
    if not is_path(name) and name not in available(group):
        raise BadInput(f"No {group} named '{name}'. {nearest(name, [*available(group), *presets(group)])}")
    if f"{group}.{option(name)}" in SETTINGS:
        raise BadInput(f"{group}={name}: '{option(name)}' is a setting of {group} in the config; import it under another name")
    technique = find(group, name)
    if absent := [a for a in technique.asks if a not in PLUGGABLE[group].offers]:
        offers = ", ".join(PLUGGABLE[group].offers) or "nothing"
        raise BadInput(f"{group}={name} asks for '{absent[0]}', which {group} does not offer (it offers {offers})")


@cache
def members(group: str, name: str) -> list[str]:
    """The options that a name stands for: those of a slot's preset, or its own."""
    if group not in PLUGGABLE or not is_preset(group, name):
        return [option(name)]
    if name == "all":
        return available(group)
    listed = yaml.safe_load(files("autoopt.conf").joinpath(group, f"{name}.yaml").read_text())["defaults"]
    return [one for one in listed if one != "_self_"]


@cache
def usual(slot: str) -> list[str]:
    """The options that a slot has where nothing is said, the baseline's first."""
    listed = yaml.safe_load(files("autoopt.conf").joinpath("search.yaml").read_text())["defaults"]
    named = next(row[slot] for row in listed if isinstance(row, dict) and slot in row)
    return [one for name in named for one in members(slot, name)]


@cache
def presets(group: str) -> list[str]:
    """The names of the files in conf/<group>/, and `all` for a slot whose techniques are searched."""
    folder = files("autoopt.conf").joinpath(group)
    found = sorted(p.name.removesuffix(".yaml") for p in folder.iterdir() if p.name.endswith(".yaml")) if folder.is_dir() else []
    return [*found, "all"] if group in PLUGGABLE and not PLUGGABLE[group].fixed and group != "model" else found


def is_preset(group: str, name: str) -> bool:
    return name in presets(group)


def option(name: str) -> str:
    return name.rpartition(":")[2].rpartition(".")[2]
