"""Hydra composes: a node for every technique, generated from its signature, under the presets of conf/."""

from collections.abc import Sequence
from typing import Any

from hydra import compose as hydra_compose
from hydra import initialize_config_module
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from omegaconf import MISSING, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from autoopt import grammar
from autoopt.config.overrides import GROUPS, Overrides, is_preset, option
from autoopt.config.tree import FROM, Tree, leaves
from autoopt.domain import Choice
from autoopt.errors import BadInput
from autoopt.slots import SLOTS
from autoopt.technique import REQUIRED, Param, available, find, is_path


def composed(overrides: Overrides) -> Tree:
    """Let Hydra compose; what cannot be composed is left out, and stands among the problems."""
    if not overrides.groups.get("data"):
        overrides.problems.append(f"data=… is missing: one of {', '.join(available('data'))}, or module:LightningDataModule")
        overrides.groups["data"] = available("data")[:1]
    store(overrides)
    lines = command_line(overrides)
    tree = attempt(lines)
    if tree is None:  # a key that does not exist, or a value that does not parse: find out which, line by line
        groups = [line for line in lines if line.split("=")[0] in GROUPS]
        known = set(leaves(attempt(groups) or {}))
        good = [line for line in lines if line.split("=")[0] in known and attempt([*groups, line]) is not None]
        overrides.problems.extend(f"{line}: it cannot be read" for line in lines if line.split("=")[0] in known and line not in good)
        tree = attempt([*groups, *good])
    assert tree is not None
    return {**{slot: tree.get(slot) or {} for slot in SLOTS}, **{k: v for k, v in tree.items() if k not in SLOTS}}


def command_line(overrides: Overrides) -> list[str]:
    """The overrides as Hydra takes them: groups by name, sweeps quoted, `use` where an option was named for good."""
    groups = {**careful(overrides), **overrides.groups}
    lines = [f"{group}={names[0] if group not in SLOTS else '[' + ','.join(map(option, names)) + ']'}" for group, names in groups.items()]
    uses = {f"{key}.use": "true" for key in overrides.always}
    return lines + [f"{key}={quoted(text)}" for key, text in {**uses, **overrides.values}.items()]


def careful(overrides: Overrides) -> dict[str, list[str]]:
    """A model of the user's is searched with care: what would change it or its data has to be named."""
    if any(map(is_path, overrides.groups.get("model", ()))):
        return {slot: ["careful"] for slot in SLOTS if is_preset(slot, "careful")}
    return {}


def quoted(text: str) -> str:
    return "'" + text.replace("'", "\\'") + "'" if grammar.is_sweep(text) else text


def store(overrides: Overrides) -> None:
    """Put a node for every technique into Hydra's store, and for every import path under its object's name."""
    repository = ConfigStore.instance()
    for slot in SLOTS:
        names = available(slot)
        for name in [*names, *(n for n in overrides.groups.get(slot, ()) if is_path(n))]:
            node = technique_node(slot, name, selected=name in overrides.groups.get(slot, ()))
            repository.store(group=slot, name=option(name), package=f"{slot}.{option(name)}", node=node, provider="autoopt")
        ready = [n for n in names if REQUIRED not in (p.default for p in described(slot, n))]
        repository.store(group=slot, name="all", package="_global_", node={"defaults": ready}, provider="autoopt")


def described(slot: str, name: str) -> list[Param]:
    try:
        return list(find(slot, name).params.values())
    except BadInput:  # broken, and nobody selected it
        return [Param("", default=REQUIRED)]


def technique_node(slot: str, name: str, selected: bool) -> dict[str, Any]:
    """A technique as the config shows it: its ranges, its settings at their defaults, `???` where one is required."""
    try:
        technique = find(slot, name)
    except BadInput:
        if selected:
            raise
        return {}
    node: dict[str, Any] = {FROM: technique.path} if is_path(name) else {}
    if SLOTS[slot].many:
        node["use"] = grammar.write(Choice(True, False))
    for param in technique.params.values():
        default = MISSING if param.default is REQUIRED else param.default
        node[param.name] = default if param.domain is None else grammar.write(param.domain)
    return node


def attempt(lines: Sequence[str]) -> Tree | None:
    GlobalHydra.instance().clear()
    try:
        with initialize_config_module("autoopt.conf", version_base="1.3"):
            return OmegaConf.to_container(hydra_compose("search", list(lines)))  # type: ignore[return-value]
    except (HydraException, OmegaConfBaseException):
        return None
