"""Plain YAML, as far as a config needs it, by libyaml, which is ten times as fast as Python and is part of each wheel of PyYAML."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from autoopt.errors import BadInput, one_line

DEEPEST = 32
"""Levels of mappings and lists in a file; Hydra gives up at about a hundred."""
TOO_DEEP = f"nested more than {DEEPEST} deep"
LOADER, DUMPER = getattr(yaml, "CSafeLoader", yaml.SafeLoader), getattr(yaml, "CSafeDumper", yaml.SafeDumper)


def read(text: str) -> Any:
    """What a text says.

    Raises:
        ValueError: it is nested too deep, by itself or by its aliases.
        YAMLError: it is not valid.
    """
    for _ in shallow(text):
        pass
    tree = yaml.load(text, loader_of(text))
    refuse_deep(tree)
    return tree


def written(tree: Any) -> str:
    try:
        return yaml.dump(tree, Dumper=DUMPER, sort_keys=False)
    except UnicodeEncodeError:
        return yaml.safe_dump(tree, sort_keys=False)


def loader_of(text: str) -> Any:
    """libyaml knows no lone surrogates, which are in a path whose bytes are no text."""
    return yaml.SafeLoader if "\\uD" in text else LOADER


def shallow(text: str) -> Iterator[yaml.Event]:
    """The events of a text as far as it is of use: very deep text takes Python minutes, and libyaml more of the stack than there is."""
    deep = 0
    for event in yaml.parse(text, loader_of(text)):
        deep += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if deep > DEEPEST:
            raise ValueError(TOO_DEEP)
        yield event


def refuse_deep(tree: Any) -> None:
    """Raise ValueError if mappings and lists are nested deeper than any file of ours needs, on whichever way to one that stands in several
    places."""
    deepest: dict[int, int] = {}

    def visit(node: Any, level: int) -> None:
        if not isinstance(node, dict | list) or deepest.get(id(node), 0) >= level:
            return
        if level > DEEPEST:
            raise ValueError(TOO_DEEP)
        deepest[id(node)] = level
        for child in node.values() if isinstance(node, dict) else node:
            visit(child, level + 1)

    visit(tree, 1)


def refuse_doubled(whole: yaml.Node | None) -> None:
    """Raise ValueError where a mapping has a key twice, of which YAML would keep the last."""
    nodes = [whole]
    for node in nodes:  # which grows meanwhile
        if isinstance(node, yaml.MappingNode):
            for (_, word), count in Counter((key.tag, key.value) for key, _ in node.value if isinstance(key, yaml.ScalarNode)).items():
                if count > 1:
                    raise ValueError(f"it has {word} twice in one mapping")
            nodes += [part for pair in node.value for part in pair]
        elif isinstance(node, yaml.SequenceNode):
            nodes += node.value


def mapping(path: str) -> dict[str, Any]:
    """The mapping that a file holds.

    Raises:
        BadInput: the file cannot be read, or it is not a mapping in plain YAML.
    """
    try:
        if Path(path).exists() and not (Path(path).is_file() or Path(path).is_dir()):  # a pipe or a device may have no end
            raise BadInput(f"{path}: expected a regular file")
        text = Path(path).read_text(encoding="utf-8")
        if any(isinstance(event, yaml.AliasEvent) for event in shallow(text)):
            raise BadInput(f"{path}: YAML aliases are not supported; write the value out")
        loader = loader_of(text)(text)
        node = loader.get_single_node()
        refuse_doubled(node)
        tree = loader.construct_document(node) if node else None
    except OSError as error:
        raise BadInput(f"{path}: {error.strerror or error}") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise BadInput(f"{path}: not valid YAML: {one_line(error)}") from error
    if not isinstance(tree, dict):
        raise BadInput(f"{path}: expected a mapping of slots and settings, got {type(tree).__name__}")
    return tree
