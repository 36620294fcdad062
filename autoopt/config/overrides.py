"""Parses a command line or a file into the options of each slot and plug-point, and the values by their keys."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any

from hydra.core.override_parser.types import ChoiceSweep, IntervalSweep, Override, QuotedString, RangeSweep, Sweep
from hydra.errors import HydraException

from autoopt import grammar
from autoopt.config.instances import instance_overrides, is_file, is_instance
from autoopt.config.presets import is_preset, members, option, presets
from autoopt.config.settings import CONSTRAINTS, OWNED, SETTINGS, WORDS
from autoopt.config.tree import FROM, Tree
from autoopt.config.yaml_file import DEEPEST, mapping
from autoopt.errors import BadInput, first_line, nearest
from autoopt.slots import PLUGGABLE, SLOTS
from autoopt.technique import Technique, available, find, is_path

GROUPS = (*PLUGGABLE, "study")
LARGEST = 2**63 - 1
"""Of whole numbers: torch and numpy take no larger ones, and much larger ones are no floats."""


@dataclass
class Overrides:
    """Parsed overrides.

    Args:
        said: all keys that were given, rightly or not.
        groups: the option names of each slot and plug-point that was given.
        values: the texts of the values, by key.
        always: the options that are always on, as `slot.name`.
        problems: a line for each.
    """

    said: set[str] = field(default_factory=set)
    groups: dict[str, list[str]] = field(default_factory=dict)
    values: dict[str, str] = field(default_factory=dict)
    always: set[str] = field(default_factory=set)
    problems: list[str] = field(default_factory=list)


def from_file(path: str) -> list[str]:
    """The overrides that a file stands for.

    Raises:
        BadInput: the file cannot be read, it is not a mapping in plain YAML, or another program's.
    """
    tree = mapping(path)
    if slots := [slot for slot in SLOTS if is_instance(tree.get(slot))]:
        given = " ".join(f"{slot}={path}" for slot in slots)
        raise BadInput(f"{path} is no file of autoopt, but names objects as Hydra or LightningCLI do: give {given} instead")
    return as_overrides(tree)


def as_overrides(tree: Tree) -> list[str]:
    """The overrides that compose a tree."""
    nodes = ((key, node, slot_overrides if key in PLUGGABLE else setting_overrides) for key, node in tree.items())
    return [line for key, node, overrides in nodes for line in overrides(key, node)]


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
        if isinstance(rest, dict):  # a mapping inside of it is a value
            yield from (f"{slot}.{name}.{key}={grammar.spell_node(v)}" for key, v in rest.items())
        else:
            yield f"{slot}.{name}={grammar.spell_node(rest)}"


def setting_overrides(key: str, node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        for name, value in node.items():
            yield from setting_overrides(f"{key}.{name}", value)
    else:
        yield f"{key}={grammar.spell_node(node)}"


def split_up(base: Sequence[str], arguments: Sequence[str]) -> Overrides:
    """Parse overrides: those of a file, then those of the command line, which replace them.

    An override that fills a slot anew also removes the file's values of options that are no longer selected. On the command line
    the order does not matter.
    """
    overrides = Overrides()
    for argument in [*base, *sorted(arguments, key=depth)]:
        overrides.said.add(argument.partition("=")[0])
        try:
            for line in expanded(argument):
                take(line, overrides)
        except BadInput as error:
            overrides.problems.extend(error.problems)
    return overrides


def expanded(argument: str) -> list[str]:
    """An override as it is; one that fills a slot from files that name objects, as what these say.

    Raises:
        BadInput: a file cannot be read, or names no class.
    """
    slot, _, said = argument.partition("=")
    names = said.strip("[]").split(",")
    if slot not in PLUGGABLE or not any(map(is_file, names)):
        return [argument]
    lines = {name: instance_overrides(slot, name) for name in names if is_file(name)}
    filled = ",".join(lines[name][0].partition("=")[2] if name in lines else name for name in names)
    return [f"{slot}={f'[{filled}]' if said.startswith('[') else filled}", *(line for own in lines.values() for line in own[1:])]


def depth(argument: str) -> int:
    """What fills a slot comes first, and an object before its arguments."""
    key = argument.partition("=")[0]
    return 0 if key in GROUPS else 1 + key.count(".")


def take(argument: str, overrides: Overrides) -> None:
    """Parse one `key=value` into the overrides; raises BadInput if its key is unknown or its value cannot be used."""
    parsed, text = parse_override(argument), argument.partition("=")[2]
    key, value = argument.partition("=")[0], parsed.value()
    overrides.said.add(key)
    if key in GROUPS:
        fill(key, options(key, parsed), not parsed.is_sweep_override(), overrides)
    elif (instead := OWNED.get(key.removeprefix("trainer."))) and key.startswith("trainer."):
        raise BadInput(f"{key}: autoopt sets this argument of the Trainer; give {instead}")
    elif key not in SETTINGS and not is_constraint(key) and not is_argument(key, overrides):
        if key.rstrip(".") == CONSTRAINTS:
            raise BadInput(f"{argument}: name the metric, as in {CONSTRAINTS}.latency_ms=2")
        if isinstance(value, dict):
            raise BadInput(f"{argument}: give each of them by itself, as in {key}.{next(iter(value), 'name')}=…")
        if near := [k for k in SETTINGS if k.split(".")[0] == key.split(".")[0]]:
            raise BadInput(f"No setting named '{key}'. {nearest(key, near)}")
        roots = {f"{head}.*" if dot else head for head, dot, _ in (k.partition(".") for k in SETTINGS)}
        raise BadInput(f"No setting named '{key}'. {nearest(key, [*GROUPS, *SETTINGS], [*GROUPS, *roots])}")
    elif isinstance(value, dict) and beside(key, overrides) is None:
        raise BadInput(f"{argument}: expected one value, got a mapping")
    else:
        for deeper in [k for k in overrides.values if k.startswith(f"{key}.")]:
            del overrides.values[deeper]
        simple = isinstance(value, ChoiceSweep) and value.simple_form
        overrides.values[key] = f"choice({text})" if simple else words(value) if key in WORDS and isinstance(value, list) else text


def words(values: Sequence[Any]) -> str:
    """A list as the text of a setting that takes several words."""
    return grammar.spell(" ".join(map(str, values)))


def is_constraint(key: str) -> bool:
    """Whether a key bounds a metric."""
    return key.startswith(f"{CONSTRAINTS}.") and key != f"{CONSTRAINTS}."


def is_argument(key: str, overrides: Overrides) -> bool:
    """Whether a key may be an argument of a technique, or of an object that a user's own technique takes."""
    return key.split(".")[0] in PLUGGABLE and (key.count(".") == 2 or (key.count(".") > 2 and beside(key, overrides) is not None))


def beside(key: str, overrides: Overrides) -> Technique | None:
    """The technique of which a key sets an argument that Hydra's node may not hold: one of the user's own, or a mapping."""
    slot, _, rest = key.partition(".")
    name, _, argument = rest.partition(".")
    filler = next((each for each in overrides.groups.get(slot, ()) if option(each) == name), None)
    if filler is None or not (is_path(filler) or filler in available(slot)):
        return None
    technique = find(slot, filler)
    return technique if (technique.takes(argument) if is_path(filler) else technique.param(argument).mapping) else None


def parse_override(argument: str) -> Override:
    """Parse one `key=value`.

    Raises:
        BadInput: the text has another form, or its value cannot be read.
    """
    if argument.startswith(("+", "~")):
        key, equal, value = argument.lstrip("+~").partition("=")
        raise BadInput(f"{argument}: keys cannot be added or deleted; give {key}={value if equal else '…'}")
    key = argument.partition("=")[0]
    if not key or key == argument or "@" in key or key.startswith("-"):
        raise BadInput(f"{argument}: expected key=value, such as optimizer=adamw")
    if max(accumulate((c in "[{(") - (c in "]})") for c in argument)) > DEEPEST:
        raise BadInput(f"{key}: brackets are nested more than {DEEPEST} deep")
    try:
        parsed = grammar.override(argument.replace(key, CONSTRAINTS, 1) if is_constraint(key) else argument)  # a metric may have a slash
        too_large = any(abs(number) > LARGEST for number in whole_numbers(parsed.value()))
    except ValueError:  # of a number of thousands of digits
        too_large = True
    except HydraException as error:
        reason = first_line(error)
        value = argument.partition("=")[2].strip("\"'")
        text = not value.startswith(("[", "{")) and "while evaluating" not in reason  # of a list or of a function quotes make a text
        way_out = f"; quote special characters: {key}='\"{value}\"'" if text else ""
        raise BadInput(f"{argument}: cannot be read: {reason}{way_out}") from error
    if too_large:
        raise BadInput(f"{argument:.80}: expected whole numbers of at most {len(str(LARGEST))} digits")
    return parsed


def whole_numbers(value: Any) -> Iterator[int]:
    """The whole numbers in a value."""
    match value:
        case int():
            yield value
        case dict() | list() | ChoiceSweep():
            parts = value.values() if isinstance(value, dict) else value.list if isinstance(value, ChoiceSweep) else value
            for part in parts:
                yield from whole_numbers(part)
        case IntervalSweep():
            yield from whole_numbers([value.start, value.end])
        case RangeSweep():
            yield from whole_numbers([value.start, value.stop, value.step])


def fill(group: str, names: list[str], for_good: bool, overrides: Overrides) -> None:
    """Set the options of a group; with `for_good` they are always on."""
    overrides.groups[group] = names
    kept = {member for name in names for member in members(group, name)}
    own = [k for k in overrides.values if k.startswith(f"{group}.") and not (group in PLUGGABLE and k in SETTINGS)]
    for old in [k for k in own if k.split(".")[1] not in kept or k.endswith(".use")]:
        del overrides.values[old]
    if group in PLUGGABLE and PLUGGABLE[group].many:
        others = {key for key in overrides.always if not key.startswith(f"{group}.")}
        overrides.always = others | {f"{group}.{option(name)}" for name in names if for_good and not is_preset(group, name)}


def listed(parsed: Override) -> list[str]:
    """The names in an override of a group.

    Raises:
        BadInput: it holds something else than names.
    """
    group, value = parsed.key_or_group, parsed.value()
    if isinstance(value, Sweep) and not isinstance(value, ChoiceSweep):
        raise BadInput(f"{parsed.input_line}: expected names, such as {group}=a,b")
    names = value.list if isinstance(value, ChoiceSweep) else value if isinstance(value, list) else [value]
    if any(isinstance(each, dict) for each in names):
        raise BadInput(f"{parsed.input_line}: it cannot be read: expected names, such as {group}=a,b")
    return list(dict.fromkeys(o.text if isinstance(o, QuotedString) else str(o) for o in names))


def options(group: str, parsed: Override) -> list[str]:
    """The option names that an override of a group lists.

    Raises:
        BadInput: an option does not exist, or cannot be selected so.
    """
    names = listed(parsed)
    if names in (["none"], ["None"]) and group in PLUGGABLE and PLUGGABLE[group].many:
        return []
    for name in names:
        check_option(group, name)
    if group not in PLUGGABLE and len(names) != 1:
        raise BadInput(f"{parsed.input_line}: expected one of {', '.join(presets(group))}")
    own = [option(name) for name in names if is_path(name)]
    taken = {member for name in names if not is_path(name) for member in members(group, name)}
    if len(set(own) - taken) < len(own):
        raise BadInput(f"{parsed.input_line}: two of these have the same name in the config; import one under another name")
    return names


def check_option(group: str, name: str) -> None:
    """Raise BadInput if a group has no such option."""
    if is_preset(group, name):
        return
    if group not in PLUGGABLE:
        raise BadInput(f"No {group} named '{name}'. {nearest(name, presets(group))}")
    if not is_path(name) and name not in available(group):
        module, dot, attribute = name.rpartition(".")
        known, own = nearest(name, [*available(group), *presets(group)]), f"{module}:{attribute}" if dot else "module:name"
        hint = "" if known.startswith("Did you mean") else f" One of your own is {group}={own}."
        raise BadInput(f"No {group} named '{name}'. {known}{hint}")
    if f"{group}.{option(name)}" in SETTINGS:
        raise BadInput(f"{group}={name}: '{option(name)}' is a setting of {group} in the config; import it under another name")
    if is_preset(group, option(name)):
        raise BadInput(f"{group}={name}: '{option(name)}' is a preset of {group}; import it under another name")
    technique = find(group, name)
    if absent := [a for a in technique.asks if a not in PLUGGABLE[group].offers]:
        offers = ", ".join(PLUGGABLE[group].offers) or "nothing"
        raise BadInput(f"{group}={name} asks for '{absent[0]}', which {group} does not offer (it offers {offers})")
