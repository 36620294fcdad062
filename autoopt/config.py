"""From a command line, or a file, to the config tree: Hydra composes, we check and say what is wrong, all at once."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml
from hydra import compose as hydra_compose
from hydra import initialize_config_module
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.types import ChoiceSweep, Override, QuotedString, Sweep
from hydra.errors import HydraException
from omegaconf import MISSING, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from autoopt import grammar
from autoopt.domain import Choice, Range
from autoopt.errors import BadInput, nearest
from autoopt.slots import SLOTS
from autoopt.technique import REQUIRED, Param, Technique, available, find, is_path

Tree = dict[str, Any]
GROUPS = (*SLOTS, "study", "executor")
FROM = "from"  # a word of Python's own, so that no argument can have this name

SETTINGS: dict[str, tuple[Any, str]] = {
    "name": (str, "the study's name; by default made of the data, the model and the space"),
    "seed": (int, "every other seed is derived from it"),
    "objective": (str, "a metric that is measured or logged, such as val_accuracy, val_f1, val_rmse; by default after the task"),
    "direction": (str, "maximize or minimize; known for our own metrics"),
    "baseline": (str, "a recipe file to compare with; by default the first option of every slot at its defaults"),
    "root": (str, "where the studies' folders stand"),
    "split.validation": (float, "share of the examples that the search is judged on"),
    "split.test": (float, "share that is opened once, by the verdict"),
    "split.seed": (int, "which examples fall into which part"),
    "split.stratify": (bool, "the same share of each class in every part"),
    "split.normalise": (bool, "tables to mean 0 and variance 1, as measured on the training part"),
    "batches.size": (int, "examples a step; null: as the user's data module has it"),
    "study.trials": (int, "trials of the search, the baseline among them"),
    "study.time": (str, "wall time of the whole study, such as 8h or 30m"),
    "study.epochs": (int, "epochs of a full training"),
    "study.stopping": (bool, "stop bad trials at a third of their epochs"),
    "study.confirm": (int, "at most so many of the best are trained anew, beside the baseline"),
    "study.seeds": (int, "fresh seeds for each of them"),
    "study.compress": (int, "compressions that are tried on the best, where any is selected"),
    "executor.workers": (int, "trials at a time; by default one per GPU, else one per core"),
    "executor.gpus_per_trial": (float, "0.5: two trials share one"),
    "executor.cpus_per_trial": (int, "torch threads of a trial"),
    "executor.trial_time": (str, "a trial that takes longer is stopped, such as 1h or 90s"),
    "tracking.enabled": (bool, "mirror the runs to MLflow"),
    "tracking.uri": (str, "by default MLFLOW_TRACKING_URI, else sqlite:///mlflow.db here"),
    "tracking.experiment": (str, "by default MLFLOW_EXPERIMENT_NAME, else the study's name"),
}
SEARCHED = {"batches.size": 64}  # settings that a search may choose, with the value of the baseline
AT_LEAST = {"study.trials": 1, "study.epochs": 1, "study.confirm": 1, "study.seeds": 1, "study.compress": 0, "executor.workers": 1, "executor.cpus_per_trial": 1, "batches.size": 1}


@dataclass
class Overrides:
    """A command line taken apart: what each slot is filled from, and the values set under their keys."""

    groups: dict[str, list[str]] = field(default_factory=dict)
    values: dict[str, str] = field(default_factory=dict)
    always: set[str] = field(default_factory=set)
    problems: list[str] = field(default_factory=list)


def compose(arguments: Sequence[str], file: str | None = None) -> Tree:
    """The checked tree of a search.

    Args:
        arguments: overrides as on the command line, `key=value`.
        file: a YAML file over the defaults and under the overrides: a search, or a recipe.

    Raises:
        BadInput: with a line for every problem.
    """
    overrides = split_up([*(from_file(file) if file else ()), *arguments])
    tree = hydra(overrides)
    problems = [*overrides.problems, *unknown_keys(overrides, tree), *wrong_values(tree)]
    if problems:
        raise BadInput(*dict.fromkeys(problems))
    return tree


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


def hydra(overrides: Overrides) -> Tree:
    """Let Hydra compose; what cannot be composed is left out and stands among the problems."""
    lines, missing = command_line(overrides), {slot for slot in ("data",) if not overrides.groups.get(slot)}
    if missing:
        overrides.problems.append(f"data=… is missing: one of {', '.join(available('data'))}, or module:LightningDataModule")
        lines = [*lines, f"data={available('data')[0]}"]
    store(overrides)
    tree = attempt(lines)
    if tree is None:
        tree = attempt([line for line in lines if line.split("=")[0] in GROUPS])
    if tree is None:
        tree = attempt([line for line in lines if line.startswith("data=")])
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


def option(name: str) -> str:
    return name.rpartition(":")[2].rpartition(".")[2]


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


def unknown_keys(overrides: Overrides, tree: Tree) -> Iterator[str]:
    """A line for each key that the tree does not have, with the nearest one."""
    keys = list(leaves(tree))
    for key in overrides.values:
        if key in keys:
            continue
        parts = key.split(".")
        if parts[0] in SLOTS and len(parts) > 1 and parts[1] not in tree[parts[0]]:
            yield f"{key}: {parts[0]}={parts[1]} is not selected. Selected: {', '.join(tree[parts[0]]) or 'none'}."
        elif parts[0] in SLOTS and len(parts) == 3:
            yield f"No {'.'.join(parts[:2])} argument named '{parts[2]}'. {nearest(parts[2], tree[parts[0]][parts[1]])}"
        else:
            beside = [k for k in keys if k.split(".")[0] == parts[0] and k.split(".")[0] not in SLOTS]
            yield f"No setting named '{key}'. {nearest(key, beside or [*GROUPS, *SETTINGS])}"


def leaves(node: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for key, value in node.items():
        if isinstance(value, dict):
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}"


def wrong_values(tree: Tree) -> Iterator[str]:
    """A line for each value of the wrong type or out of what can be."""
    for slot in SLOTS:
        for name, node in tree[slot].items():
            technique = technique_of(slot, name, node)
            for key, value in node.items():
                if key != FROM:
                    param = Param("use", bool) if key == "use" else technique.params[key]
                    yield from wrong_value(f"{slot}.{name}.{key}", value, param, searchable=True)
    for key, (kind, _) in SETTINGS.items():
        head, _, tail = key.partition(".")
        yield from wrong_value(key, tree[head][tail] if tail else tree[head], Param(key, kind), searchable=key in SEARCHED)
    yield from wrong_settings(tree)


def wrong_value(key: str, value: Any, param: Param, searchable: bool) -> Iterator[str]:
    if value == MISSING:
        yield f"{key} is missing: say {key}=…"
        return
    try:
        meant = grammar.read(value)
    except ValueError as error:
        yield f"{key}={value}: {error}"
        return
    if isinstance(meant, Range | Choice) and not searchable:
        yield f"{key}={value}: a setting is not searched; give one value"
        return
    if isinstance(meant, Range) and param.scalar not in (int, float, None):
        yield f"{key}={value}: expected {param.scalar.__name__}, got a range of numbers"  # type: ignore[union-attr]
        return
    low_high = (meant.low, meant.high) if isinstance(meant, Range) else None
    for one in meant.options if isinstance(meant, Choice) else low_high or (meant,):
        try:
            if (least := AT_LEAST.get(key)) is not None and isinstance(param.accept(one), int) and one < least:  # type: ignore[operator]
                yield f"{key}={value}: expected {least} or more"
            param.accept(one)
        except ValueError as error:
            yield f"{key}={value}: {error}"


def wrong_settings(tree: Tree) -> Iterator[str]:
    """What types alone do not tell."""
    if tree["direction"] not in (None, "maximize", "minimize"):
        yield f"direction={tree['direction']}: expected maximize or minimize"
    for key in ("study.time", "executor.trial_time"):
        head, _, tail = key.partition(".")
        try:
            seconds(tree[head][tail])
        except ValueError as error:
            yield f"{key}={tree[head][tail]}: {error}"
    if isinstance(name := tree["name"], str) and not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", name):
        yield f"name={name}: expected at most 64 letters, digits, '.', '_' or '-', the first a letter or digit"
    shares = [tree["split"][part] for part in ("validation", "test")]
    if all(isinstance(s, int | float) for s in shares) and not (all(0 < s < 1 for s in shares) and sum(shares) < 1):
        yield f"split.validation={shares[0]}, split.test={shares[1]}: expected shares above 0 that leave some for training"
    for slot in SLOTS:
        if not SLOTS[slot].many and not tree[slot] and not filled(tree, slot):
            yield f"{slot}=: nothing is selected; the slot needs one of {', '.join(available(slot))}"
    for slot in ("data",):
        if len(tree[slot]) > 1:
            yield f"{slot}={','.join(tree[slot])}: a study has one data set; give one"


def filled(tree: Tree, slot: str) -> bool:
    """Whether a technique of another slot takes this one over."""
    return any(technique_of(s, name, node).acts.fills == slot for s in SLOTS for name, node in tree[s].items())


def technique_of(slot: str, name: str, node: Mapping[str, Any]) -> Technique:
    """The technique behind a node of the tree."""
    return find(slot, str(node.get(FROM, name)))


def seconds(text: str | float | None) -> float | None:
    """A duration such as `8h`, `30m`, `1h30m` or `90s` (a bare number: seconds) in seconds.

    Raises:
        ValueError: it is none.
    """
    if text is None:
        return None
    found = re.fullmatch(r"(?:([\d.]+)d)?(?:([\d.]+)h)?(?:([\d.]+)m)?(?:([\d.]+)s?)?", str(text).replace(" ", ""))
    if not found or not any(found.groups()):
        raise ValueError("expected a duration such as 8h, 1h30m or 90s")
    return sum(float(n or 0) * unit for n, unit in zip(found.groups(), (86400, 3600, 60, 1), strict=True))
