"""From a command line, or a file, to the config tree: Hydra composes, we check and say what is wrong, all at once."""

from collections.abc import Sequence

from autoopt.config.check import typed_pins, unknown_keys, wrong_values
from autoopt.config.composing import composed, prepared
from autoopt.config.overrides import Overrides, as_overrides, from_file, presets, split_up
from autoopt.config.settings import RELATIVE, SEARCHED, SETTINGS, seconds
from autoopt.config.tree import FROM, Tree, is_live, leaves, plugged, technique_of
from autoopt.errors import BadInput

__all__ = [
    "FROM", "RELATIVE", "SEARCHED", "SETTINGS", "Overrides", "Tree", "as_overrides", "compose", "from_file", "is_live", "leaves", "plugged",
    "prepared", "presets", "seconds", "split_up", "technique_of",
]  # fmt: skip


def compose(arguments: Sequence[str], file: str | None = None, base: Sequence[str] = ()) -> Tree:
    """The checked tree of a search.

    Args:
        arguments: overrides as on the command line, `key=value`.
        file: a YAML file over the defaults and under the overrides: a search, or a recipe.
        base: the same, as the overrides that it stands for.

    Raises:
        BadInput: with a line for every problem.
    """
    overrides = split_up([*(from_file(file) if file else ()), *base], arguments)
    tree = typed_pins(composed(overrides))
    problems = [*overrides.problems, *unknown_keys(overrides, tree), *wrong_values(tree)]
    if problems:
        raise BadInput(*dict.fromkeys(problems))
    return tree
