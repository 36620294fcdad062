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
from autoopt.config.overrides import GROUPS, Overrides, is_preset, option, usual
from autoopt.config.tree import FROM, Tree, leaves
from autoopt.domain import Choice
from autoopt.errors import BadInput
from autoopt.signature import missing_package
from autoopt.slots import PLUGGABLE, SLOTS
from autoopt.technique import REQUIRED, available, find, is_path


def composed(overrides: Overrides) -> Tree:
    """Let Hydra compose; what cannot be composed is left out, and stands among the problems."""
    lines = prepared(overrides)
    tree = attempt(lines)
    if tree is None:  # a key that does not exist, or a value that OmegaConf does not take: find out which
        groups = [line for line in lines if line.split("=")[0] in GROUPS]
        keys = set(leaves(attempt(groups) or {}))
        values = [line for line in lines if line.split("=")[0] in keys]
        if (tree := attempt([*groups, *values])) is None:
            good = composable(groups, values)
            overrides.problems.extend(f"{line}: it cannot be read" for line in values if line not in good)
            tree = attempt([*groups, *good])
    assert tree is not None
    return {**{slot: tree.get(slot) or {} for slot in PLUGGABLE}, **{k: v for k, v in tree.items() if k not in PLUGGABLE}}


def composable(groups: list[str], values: list[str]) -> list[str]:
    """Those of the values that can be composed, found by halving."""
    if not values or attempt([*groups, *values]) is not None:
        return values
    half = len(values) // 2
    return [*composable(groups, values[:half]), *composable(groups, values[half:])] if half else []


def prepared(overrides: Overrides) -> list[str]:
    """The overrides as Hydra takes them, with their nodes in its store."""
    if not overrides.groups.get("data") and ("data" in overrides.groups or "data" not in overrides.said):
        overrides.problems.append(f"data=… is missing: one of {', '.join(available('data'))}, or module:LightningDataModule")
    store_nodes(overrides)
    return command_line(overrides)


def command_line(overrides: Overrides) -> list[str]:
    """The overrides as Hydra takes them: groups by name, sweeps quoted, `use` where an option was named for good."""
    data = overrides.groups.get("data") or available("data")[:1]  # something to go on with
    groups = {**advised(overrides), **overrides.groups, "data": data}
    lines = [f"{g}={'[' + ','.join(map(option, names)) + ']' if g in PLUGGABLE else names[0]}" for g, names in groups.items()]
    uses = {f"{key}.use": "true" for key in overrides.always}
    own = {"batches.size": "choice(null,half,double)"} if any(map(is_path, data)) else {}  # a data module has a batch size of its own
    values = {**own, **uses, **overrides.values}
    return lines + [f"{key}={grammar.quoted(text) if grammar.is_sweep(text) else text}" for key, text in values.items()]


def advised(overrides: Overrides) -> dict[str, list[str]]:
    """The presets that the data and the model want for the slots that are not filled by name.

    A model of the user's is searched with care: what would change it or its data has to be named.
    """
    wanted = [find("data", name).acts.preset for name in overrides.groups.get("data", ())]
    if any(map(is_path, overrides.groups.get("model", ()))):
        wanted.append("careful")
    return {slot: [preset] for preset in wanted if preset for slot in SLOTS if is_preset(slot, preset)}


def store_nodes(overrides: Overrides) -> None:
    """Put a node for every technique into Hydra's store, and for every import path under its object's name."""
    repository = ConfigStore.instance()
    for slot in PLUGGABLE:
        names = available(slot)
        for name in [*names, *(n for n in overrides.groups.get(slot, ()) if is_path(n))]:
            node = technique_node(slot, name, selected=name in overrides.groups.get(slot, ()))
            repository.store(group=slot, name=option(name), package=f"{slot}.{option(name)}", node=node, provider="autoopt")
        if not is_preset(slot, "all"):
            continue
        ready = all_options(slot) if "all" in overrides.groups.get(slot, ()) else []
        repository.store(group=slot, name="all", package="_global_", node={"defaults": ready}, provider="autoopt")


def all_options(slot: str) -> list[str]:
    """What `all` stands for: the usual options first, since the first of a slot is the baseline's, then the others."""
    names = [*usual(slot), *available(slot)]
    return [name for name in dict.fromkeys(names) if is_ready(slot, name)]


def is_ready(slot: str, name: str) -> bool:
    """Whether a technique needs no setting, and nothing that is not installed."""
    try:
        technique = find(slot, name)
        return REQUIRED not in (p.default for p in technique.params.values()) and missing_package(technique.path.partition(":")[0]) is None
    except BadInput:  # broken, and nobody selected it by name
        return False


def technique_node(slot: str, name: str, selected: bool) -> dict[str, Any]:
    """A technique as the config shows it: its ranges, its settings at their defaults, `???` where one is required."""
    try:
        technique = find(slot, name)
    except BadInput:
        if selected:
            raise
        return {}
    node: dict[str, Any] = {FROM: technique.path} if is_path(name) else {}
    if PLUGGABLE[slot].many:
        node["use"] = grammar.spell(Choice(True, False))
    for param in technique.params.values():
        default = MISSING if param.default is REQUIRED else param.default
        node[param.name] = default if param.domain is None or PLUGGABLE[slot].fixed else grammar.spell(param.domain)
    return node


def attempt(lines: Sequence[str]) -> Tree | None:
    GlobalHydra.instance().clear()
    try:
        with initialize_config_module("autoopt.conf", version_base="1.3"):
            return OmegaConf.to_container(hydra_compose("search", list(lines)))  # type: ignore[return-value]
    except (HydraException, OmegaConfBaseException):
        return None
