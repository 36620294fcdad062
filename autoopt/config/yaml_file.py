"""Plain YAML, as far as a config needs it."""

from pathlib import Path
from typing import Any

import yaml

from autoopt.errors import BadInput


def mapping(path: str) -> dict[str, Any]:
    """The mapping that a file holds.

    Raises:
        BadInput: the file cannot be read, or it is not a mapping in plain YAML.
    """
    if Path(path).exists() and not (Path(path).is_file() or Path(path).is_dir()):  # a pipe or a device may have no end
        raise BadInput(f"{path}: expected a regular file")
    try:
        text = Path(path).read_text(encoding="utf-8")
        if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text)):
            raise BadInput(f"{path}: YAML aliases are not supported; write the value out")
        tree = yaml.safe_load(text)
    except OSError as error:
        raise BadInput(f"{path}: {error.strerror or error}") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise BadInput(f"{path}: not valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(tree, dict):
        raise BadInput(f"{path}: expected a mapping of slots and settings, got {type(tree).__name__}")
    return tree
