"""The presets of the installed conf/, and what a config is by default."""

from functools import cache
from importlib.resources import files
from typing import Any

from autoopt.config.tree import flat
from autoopt.config.yaml_file import read
from autoopt.grammar import spell_node
from autoopt.slots import PLUGGABLE
from autoopt.technique import available


@cache
def members(group: str, name: str) -> list[str]:
    """The options that a name stands for: those of a preset, or the option of this name."""
    if group not in PLUGGABLE or not is_preset(group, name):
        return [option(name)]
    if name == "all":
        return available(group)
    return [entry for entry in conf(group, f"{name}.yaml")["defaults"] if entry != "_self_"]


@cache
def usual(slot: str) -> list[str]:
    """The options of a slot by default, the baseline's first."""
    named = next(row[slot] for row in conf("search.yaml")["defaults"] if isinstance(row, dict) and slot in row)
    return [member for name in named for member in members(slot, name)]


@cache
def presets(group: str) -> list[str]:
    """The names of the files in conf/<group>/, and `all` for a slot whose techniques are searched."""
    folder = files("autoopt.conf").joinpath(group)
    names = sorted(p.name.removesuffix(".yaml") for p in folder.iterdir() if p.name.endswith(".yaml")) if folder.is_dir() else []
    return [*names, "all"] if group in PLUGGABLE and not PLUGGABLE[group].fixed and group != "model" else names


def conf(*path: str) -> dict[str, Any]:
    """A file of the installed conf/."""
    tree: dict[str, Any] = read(files("autoopt.conf").joinpath(*path).read_text(encoding="utf-8"))
    return tree


def values_in(*path: str) -> dict[str, Any]:
    """The values that a file of conf/ sets, by their keys; not the options in its list of defaults."""
    return flat({key: value for key, value in conf(*path).items() if key != "defaults"})


@cache
def default_values() -> dict[str, Any]:
    """The settings by their keys, as a config has them that says nothing."""
    return values_in("search.yaml") | {f"study.{key}": value for key, value in values_in("study", "default.yaml").items()}


def preset_contents(group: str) -> list[tuple[str, str]]:
    """Each preset in conf/ with the options and the values that it stands for, in a line."""
    contents = []
    for name in presets(group):
        if name != "all":
            options = members(group, name) if group in PLUGGABLE else []
            values = values_in(group, f"{name}.yaml")
            lines = [*options, *(f"{key.removeprefix(f'{group}.')}={spell_node(value)}" for key, value in values.items())]
            contents.append((name, ", ".join(lines) or "none"))
    return contents


def is_preset(group: str, name: str) -> bool:
    return name in presets(group)


def option(name: str) -> str:
    """The name of an option in the config: for an import path, that of its object."""
    return name.rpartition(":")[2].rpartition(".")[2]
