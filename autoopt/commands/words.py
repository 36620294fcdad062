"""The command line of the commands that take no config: words, and a few settings."""

import json
from collections.abc import Iterable, Mapping, Sequence
from math import isfinite
from pathlib import Path
from typing import Any, NamedTuple

from autoopt.config import allow
from autoopt.errors import BadInput, nearest
from autoopt.prose import print_prose
from autoopt.records.stored import Stored, died, names, open_stored
from autoopt.tracking import end_runs


class Parsed(NamedTuple):
    """A command line: its words, the values of its settings by their keys, and the options such as `--json` that are given."""

    words: list[str]
    settings: dict[str, str]
    flags: list[str]


def read_words(
    arguments: Sequence[str], command: str, usage: str, most: int = 1, known: Sequence[str] = ("root",), flags: Sequence[str] = ()
) -> Parsed | None:
    """The command line of a command that takes no config; None if it printed its help.

    Args:
        most: how many words it takes.
        known: the settings that it takes.
        flags: the options that it takes.

    Raises:
        BadInput: an option or a setting is unknown, or there are too many words.
    """
    if "-h" in arguments or "--help" in arguments:
        print_prose(usage)
        return None
    given = [a for a in arguments if a in flags]
    arguments = [a for a in arguments if a not in flags]
    settings = dict(a.split("=", 1) for a in arguments if "=" in a and not a.startswith("-"))
    words = [a for a in arguments if "=" not in a or a.startswith("-")]
    if options := [w for w in words if w.startswith("-")]:
        raise BadInput(f"{options[0]}: no such option; autoopt {command} --help lists them")
    if unknown := [key for key in settings if key not in known]:
        raise BadInput(f"{command}: no setting named '{unknown[0]}'. {nearest(unknown[0], known)}")
    if "trust" in settings:
        allow(*settings["trust"].split(","))
    if len(words) > most:
        raise BadInput(f"{command}: unexpected argument '{words[most]}'; see autoopt {command} --help")
    return Parsed(words, settings, given)


def json_text(tree: Any) -> str:
    """A tree as JSON, which has no infinite numbers: `null` stands for them."""
    return json.dumps(without_nonfinite(tree), indent=2)


def without_nonfinite(tree: Any) -> Any:
    if isinstance(tree, Mapping):
        return {key: without_nonfinite(value) for key, value in tree.items()}
    if isinstance(tree, list | tuple):
        return [without_nonfinite(value) for value in tree]
    return None if isinstance(tree, float) and not isfinite(tree) else tree


def study_named(parsed: Parsed, command: str) -> Stored:
    """The study that the first word names.

    Raises:
        BadInput: no study is named, or it does not exist.
    """
    root = parsed.settings.get("root")
    if not parsed.words:
        raise BadInput(f"{command}: name a study; known: {', '.join(names(root)) or 'none yet'}")
    study = open_stored(parsed.words[0], root)
    tell_mlflow([study.path])
    return study


def tell_mlflow(paths: Iterable[Path]) -> None:
    """Tell MLflow which of the studies have died, so that their runs are not running for ever."""
    end_runs(path for path in paths if died(path))
