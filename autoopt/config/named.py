"""The import paths that the user has named: on the command line, or as arguments in Python. What a file names alone is not imported."""

import shlex
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Any

from hydra.core.override_parser.types import ChoiceSweep

from autoopt.arguments import FROM, names_object
from autoopt.config.overrides import expanded, listed, parse_override
from autoopt.config.presets import option
from autoopt.errors import BadInput
from autoopt.grammar import text_of
from autoopt.live import Factory, import_path
from autoopt.slots import PLUG_POINTS, PLUGGABLE
from autoopt.technique import LIVE, available, is_path

NAMED: set[str] = set()
"""They stay named as long as the process lives."""
PATHS = ("trainer.callbacks", "metrics")
"""The settings that are import paths, spaces between them."""


def allow(*paths: str | Factory) -> None:
    """Add to what the user has named.

    Args:
        paths: import paths, or the classes and functions themselves.

    Raises:
        BadInput: a text is no import path.
    """
    for each in paths:
        if isinstance(each, str) and not is_path(each):
            raise BadInput(f"trust={each}: expected an import path, such as my_models:Net")
        NAMED.add(each if isinstance(each, str) else import_path("model", each))


def refuse_unnamed(source: str, paths: Iterable[str]) -> None:
    """Raise BadInput where a file names import paths that the user has not named; nothing has been imported yet."""
    unnamed = [path for path in dict.fromkeys(paths) if path not in NAMED and path not in LIVE]
    if unnamed:
        command, call = ",".join(unnamed), ", ".join(f'"{path}"' for path in unnamed)
        how = f"add trust={command} to the command, or trust=[{call}] to the call in Python"
        raise BadInput(f"{source} wants to import {' and '.join(unnamed)}, which runs its code; if you trust it, {how}")


def paths_in_lines(lines: Iterable[str]) -> Iterator[str]:
    """Every import path in overrides; a line that cannot be read is left for the parser to report."""
    parsed, fillers = [], dict[str, list[str]]()
    for line in lines:
        with suppress(BadInput):
            parsed.append(parse_override(line))
            if (key := parsed[-1].key_or_group) in PLUGGABLE:
                fillers.setdefault(key, []).extend(filter(is_path, listed(parsed[-1])))
    yield from (path for paths in fillers.values() for path in paths)
    for override in parsed:
        key, value = override.key_or_group, override.value()
        slot, name = [*key.split("."), ""][:2]
        if key in PATHS:
            yield from words_in(value)
        elif slot in PLUGGABLE and key.endswith(f".{FROM}"):
            yield str(value)
        elif slot in PLUGGABLE and name and (name not in available(slot) or name in map(option, [*NAMED, *fillers.get(slot, ())])):
            yield from objects(value)


def words_in(value: Any) -> Iterator[str]:
    """The words of a setting that takes several, as a text or as a list."""
    for part in value.list if isinstance(value, ChoiceSweep) else value if isinstance(value, list) else [value or ""]:
        yield from str(text_of(part)).split()


def paths_in_recipe(tree: Mapping[str, Any]) -> Iterator[str]:
    """Every import path in a recipe as a tree.

    Raises:
        BadInput: it is no recipe.
    """
    for slot in PLUGGABLE:
        nodes = tree.get(slot) or {}
        if not isinstance(nodes, Mapping) or not all(isinstance(values, Mapping) for values in nodes.values()):
            raise BadInput(f"{slot}: expected techniques with their values, got {nodes!r:.80}")
        for name, values in nodes.items():
            if is_path(path := str(values.get(FROM, name))):
                yield path
                yield from objects({key: value for key, value in values.items() if key != FROM})
    yield from str((tree.get("trainer") or {}).get("callbacks") or "").split()


def trusting(tree: Mapping[str, Any]) -> str:
    """What a command needs to import the own code of a config or a recipe, which files alone do not have imported: ` trust=my_models:Net`.

    Empty where there is no such code.
    """
    plugged = {point: {k: v for k, v in (tree.get(point) or {}).items() if isinstance(v, Mapping)} for point in PLUG_POINTS}
    own = dict.fromkeys([*paths_in_recipe({**tree, **plugged}), *(tree.get("metrics") or "").split()])
    return f" {shlex.quote('trust=' + ','.join(own))}" if own else ""


def objects(value: Any) -> Iterator[str]:
    """The import paths of objects in the value of an argument."""
    if isinstance(value, Mapping):
        for key, part in value.items():
            yield from [str(part)] if str(key).rpartition(".")[2] == FROM else objects(part)
    elif isinstance(value, list | tuple | ChoiceSweep):
        for part in value.list if isinstance(value, ChoiceSweep) else value:
            yield from objects(text_of(part))
    elif isinstance(value, str) and names_object(value, Any, None):
        yield value


def with_files_read(lines: Iterable[str]) -> list[str]:
    """Overrides as they are parsed: one that is filled from a file by what that file says."""
    found = []
    for line in lines:
        with suppress(BadInput):  # the parser reports it
            found += expanded(line)
    return found
