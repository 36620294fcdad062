"""Composes the tree with Hydra: a node for every technique, generated from its signature, and the presets of conf/."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from functools import lru_cache
from threading import Lock
from typing import Any

from hydra import compose as hydra_compose
from hydra import initialize_config_module
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from hydra.version import VersionBase
from omegaconf import MISSING, DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from autoopt import grammar
from autoopt.config.overrides import GROUPS, Overrides, beside, is_constraint
from autoopt.config.presets import default_values, is_preset, members, option, presets, usual
from autoopt.config.settings import CONSTRAINTS
from autoopt.config.tree import FROM, Tree, flat
from autoopt.domain import Choice
from autoopt.errors import BadInput
from autoopt.signature import missing_package
from autoopt.slots import PLUGGABLE, SLOTS
from autoopt.technique import REQUIRED, available, find, is_path, of_slot, readable, sayable

ONE_HYDRA = Lock()
"""There is one Hydra in a process, and one store of its nodes."""
OURS: dict[str, dict[str, Any]] = {slot: {} for slot in PLUGGABLE}
"""The nodes of our groups, which are in Hydra's store while we compose."""
OWN_SIZES = "choice(null,half,double)"
"""The batch sizes of a user's own data, which have a size already."""
STORED: dict[tuple[str, str], str] = {}
"""The text of each node in `OURS`, by slot and name."""
COMPOSED: dict[tuple[str, str], Any] = {}
"""What Hydra has composed for a group, by its name and the line that says what is selected in it; of no group: the settings."""


class Shared(dict[str, Any]):
    """The nodes of a store. Hydra copies what it reads from at each composition, a fifth of its time, and changes no node."""

    def __deepcopy__(self, memo: dict[int, Any]) -> "Shared":
        return self


@contextmanager
def hydra_for_us() -> Iterator[None]:
    """One thread at a time composes, and a program that uses Hydra itself goes on with its own."""
    with ONE_HYDRA:
        version, store = VersionBase.instance(), ConfigStore.instance()
        theirs = GlobalHydra.instance().hydra, version.version_base, store.repo
        store.repo = Shared({**store.repo, **OURS})
        try:
            yield
        finally:
            GlobalHydra.instance().hydra, version.version_base, store.repo = theirs


@hydra_for_us()
def composed(overrides: Overrides) -> Tree:
    """The tree that Hydra composes; an override that it cannot compose is left out and becomes a problem."""
    lines = prepared(overrides)
    tree = attempt(lines)
    if tree is None:  # a key that does not exist, or a value that OmegaConf does not take: find out which
        groups = [line for line in lines if line.split("=")[0] in GROUPS]
        keys = set(flat(attempt(groups) or {}))
        values = [line for line in lines if line.split("=")[0] in keys]
        if (tree := attempt([*groups, *values])) is None:
            good = composable(groups, values)
            overrides.problems.extend(f"{line}: cannot be read" for line in values if line not in good)
            tree = attempt([*groups, *good])
    assert tree is not None
    for key, value in own_values(overrides).items():
        slot, name, argument = key.split(".", 2)
        node, whole = tree[slot][name], argument.partition(".")[0]
        node[argument] = value
        if node.get(whole) == MISSING:
            del node[whole]  # it is said by its parts
    tree[CONSTRAINTS] = constraints(overrides)
    return {**{slot: tree.get(slot) or {} for slot in PLUGGABLE}, **{k: v for k, v in tree.items() if k not in PLUGGABLE}}


def constraints(overrides: Overrides) -> dict[str, Any]:
    """The bounds of metrics, whose names no config can list."""
    return {key.partition(".")[2]: value_of(text) for key, text in overrides.values.items() if is_constraint(key)}


def value_of(text: str) -> Any:
    """What the text of a value says; a sweep stays a text."""
    return text if grammar.is_sweep(text) else grammar.override(f"value={text}").value()


def own_values(overrides: Overrides) -> dict[str, Any]:
    """What is said to the user's own techniques beyond what their nodes in Hydra's store can take: lists, mappings, further
    keywords, and what stands inside of an argument."""
    found = {}
    for key, text in overrides.values.items():
        technique = beside(key, overrides)
        argument = key.split(".", 2)[-1]
        if technique is None or argument == "use":
            continue
        param = technique.params.get(argument)
        value = value_of(text)
        if param is None or not fits_a_node(param.default) or isinstance(value, list | dict):
            found[key] = value
    return found


def fits_a_node(default: Any) -> bool:
    """Whether Hydra's node holds the argument, as something else than a mapping."""
    return default is REQUIRED or (sayable(default) and not isinstance(default, dict))


def composable(groups: list[str], values: list[str]) -> list[str]:
    """The values that can be composed, by bisection."""
    if not values or attempt([*groups, *values]) is not None:
        return values
    half = len(values) // 2
    return [*composable(groups, values[:half]), *composable(groups, values[half:])] if half else []


def prepared(overrides: Overrides) -> list[str]:
    """The overrides in Hydra's form, with their nodes in its store."""
    if "data" not in overrides.said and not overrides.groups.get("data"):
        use_own_loaders(overrides)
    if not overrides.groups.get("data") and ("data" in overrides.groups or "data" not in overrides.said):
        overrides.problems.append(no_data())
    store_nodes(overrides)
    return command_line(overrides)


def no_data() -> str:
    return f"data=… is missing: give one of {', '.join(available('data'))}, or module:LightningDataModule"


def use_own_loaders(overrides: Overrides) -> None:
    """Without data, a user's own model is the data too: a LightningModule may have loaders of its own.

    It has the model's pins; an argument that is searched has its default, or without one its first option.
    """
    if len(models := overrides.groups.get("model", [])) != 1 or not is_path(models[0]):
        return
    overrides.groups["data"] = models
    for key, text in list(overrides.values.items()):
        if not key.startswith("model."):
            continue
        if grammar.is_sweep(text):
            technique, argument = beside(key, overrides), key.split(".", 2)[-1]
            required = technique is not None and technique.param(argument).default is REQUIRED
            if not required or not isinstance(domain := grammar.interpret(text), Choice):
                continue
            text = grammar.spell(domain.options[0])
        overrides.values.setdefault(key.replace("model.", "data.", 1), text)


def command_line(overrides: Overrides) -> list[str]:
    """The overrides in Hydra's form: groups by name, sweeps quoted, `use` for options that are always on."""
    data = overrides.groups.get("data") or available("data")[:1]  # any data, so that the rest can be composed
    groups = {**advised(overrides), **overrides.groups, "data": data}
    lines = [f"{g}={spelled(names) if g in PLUGGABLE else names[0]}" for g, names in groups.items()]
    uses = {f"{key}.use": "true" for key in overrides.always}
    own = {"batches.size": OWN_SIZES} if any(map(is_path, data)) else {}
    ours = own_values(overrides)
    values = {**own, **uses, **{key: text for key, text in overrides.values.items() if key not in ours and not is_constraint(key)}}
    return lines + [f"{key}={grammar.quoted(text) if grammar.is_sweep(text) else text}" for key, text in values.items()]


def spelled(names: Sequence[str]) -> str:
    """Options as a list for Hydra, quoted: an object may be named `nan` or `null`."""
    return f"[{','.join(grammar.quoted(option(name)) for name in names)}]"


def advised(overrides: Overrides) -> dict[str, list[str]]:
    """The presets that the data and the model call for; an override of the slot replaces them.

    A user's own model gets the careful presets: techniques that change it or its data have to be named. Of these, a model with
    `pretrained` gets that of the initializers, which leaves its weights alone.
    """
    wanted = [find("data", name).acts.preset for name in overrides.groups.get("data", ())]
    if any(map(is_path, overrides.groups.get("model", ()))):
        wanted.append("careful")
    initializers = {"initializer": ["careful"]} if may_be_pretrained(overrides) else {}
    return initializers | {slot: [preset] for preset in wanted if preset for slot in SLOTS if is_preset(slot, preset)}


def may_be_pretrained(overrides: Overrides) -> bool:
    """Whether a model's argument `pretrained` is given, and not as false alone."""
    given = [text for key, text in overrides.values.items() if key.startswith("model.") and key.split(".")[2:] == ["pretrained"]]
    return any(text.lower() not in ("false", "null") for text in given)


def store_nodes(overrides: Overrides) -> None:
    """Put a node for every technique into Hydra's store, and for every import path under its object's name."""
    for slot in PLUGGABLE:
        names = available(slot)
        for name in [*names, *(n for n in overrides.groups.get(slot, ()) if is_path(n))]:
            node = technique_node(slot, name, selected=name in overrides.groups.get(slot, ()))
            store_node(slot, option(name), f"{slot}.{option(name)}", node)
        selected = "all" in overrides.groups.get(slot, ())
        if is_preset(slot, "all") and (selected or (slot, "all") not in STORED):
            store_node(slot, "all", "_global_", {"defaults": all_options(slot) if selected else []})


def store_node(slot: str, name: str, package: str, node: dict[str, Any]) -> None:
    """Put a node into Hydra's store, unless it is there: of more than a hundred, a command line changes a few at most."""
    text = repr(node)
    if STORED.get((slot, name)) != text:
        ConfigStore.instance().store(group=slot, name=name, package=package, node=node, provider="autoopt")
        STORED[slot, name] = text
        forget(slot)


def forget(group: str) -> None:
    """Compose a group anew: one of its nodes has changed."""
    of_groups.cache_clear()
    for part in [part for part in COMPOSED if part[0] == group]:
        del COMPOSED[part]


def all_options(slot: str) -> list[str]:
    """The techniques of `all`: the usual options first, since a slot's first option is the baseline's, then the others."""
    names = [*usual(slot), *available(slot)]
    return [name for name in dict.fromkeys(names) if is_ready(slot, name)]


def asked_for(tree: Tree, key: str) -> bool:
    """Whether a config names a technique, as `slot/name`, itself: not where the techniques of its slot are those of a preset.

    `batches/size` is named where the sizes are not those by default.
    """
    slot, _, name = key.partition("/")
    if slot not in PLUGGABLE:
        return tree[slot][name] not in (default_values()[f"{slot}.{name}"], OWN_SIZES)
    known = [usual(slot), *(all_options(slot) if preset == "all" else members(slot, preset) for preset in presets(slot))]
    return not any({*tree[slot]} == {*names} for names in known)


def broken_of_all(tree: Tree) -> Iterator[str]:
    """Why a technique cannot be loaded that `all` would have selected, for each of them: nobody has named it, so none is refused."""
    for slot in PLUGGABLE:
        broken = [entry for entry in readable(of_slot(slot)) if isinstance(entry, BadInput)]
        if broken and is_preset(slot, "all") and {*tree[slot]} == {*all_options(slot)}:
            yield from (error.problems[0] for error in broken)


def is_ready(slot: str, name: str) -> bool:
    """Whether a technique needs no setting and no missing package."""
    try:
        technique = find(slot, name)
        return REQUIRED not in (p.default for p in technique.params.values()) and missing_package(technique.path.partition(":")[0]) is None
    except BadInput:  # broken, and nobody selected it by name
        return False


def technique_node(slot: str, name: str, selected: bool) -> dict[str, Any]:
    """A technique as the config shows it: its ranges, its settings at their defaults, `???` for a required setting."""
    try:
        technique = find(slot, name)
    except BadInput:
        if selected:
            raise
        return {}
    node: dict[str, Any] = {FROM: technique.path} if is_path(name) else {}
    if PLUGGABLE[slot].many:
        node["use"] = grammar.spell(Choice(True, False))
    for param in (p for p in technique.params.values() if p.default is REQUIRED or sayable(p.default)):
        default = MISSING if param.default is REQUIRED else param.default
        node[param.name] = default if param.domain is None or PLUGGABLE[slot].fixed else grammar.spell(param.domain)
    return node


def attempt(lines: Sequence[str]) -> Tree | None:
    """The tree that Hydra composes; None if it cannot compose these lines."""
    groups = tuple(line for line in lines if line.split("=")[0] in GROUPS)
    try:
        tree = deepcopy(of_groups(groups))
        for said in (grammar.override(line) for line in lines if line not in groups):
            if said.is_sweep_override():
                return None
            OmegaConf.update(tree, said.key_or_group, said.value())
        return OmegaConf.to_container(tree)  # type: ignore[return-value]
    except (HydraException, OmegaConfBaseException):
        return None


@lru_cache(maxsize=256)
def of_groups(lines: tuple[str, ...]) -> DictConfig:
    """The tree with the default values of what was selected.

    Hydra needs a tenth of a second. No group has values of another, so it composes those alone whose line is new to it.
    """
    said = {line.partition("=")[0]: line for line in lines}
    parts = [("", ""), *((group, said.get(group, "")) for group in GROUPS)]
    if new := dict(part for part in parts if part not in COMPOSED):
        GlobalHydra.instance().clear()
        with initialize_config_module("autoopt.conf", version_base="1.3"):
            tree = hydra_compose("search", [*filter(None, new.values()), *(f"{group}=[]" for group in GROUPS if group not in new)])
        found: Tree = OmegaConf.to_container(tree)  # type: ignore[assignment]
        COMPOSED.update({(group, line): {group: found[group]} if group in found else {} for group, line in new.items() if group})
        COMPOSED["", ""] = {key: value for key, value in found.items() if key not in GROUPS}
    whole = OmegaConf.create({key: value for part in parts for key, value in COMPOSED[part].items()})
    OmegaConf.set_struct(whole, True)  # further keys are refused, as by Hydra
    return whole
