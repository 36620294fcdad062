"""From a command line or a file to the config tree: Hydra composes it; autoopt checks it and reports all problems at once."""

from collections.abc import Sequence

from autoopt.config.check import typed_pins, unknown_keys, wrong_values
from autoopt.config.composing import asked_for, broken_of_all, composed, hydra_for_us, no_data, prepared
from autoopt.config.named import NAMED, allow, paths_in_lines, paths_in_recipe, refuse_unnamed, trusting, with_files_read
from autoopt.config.overrides import Overrides, as_overrides, from_file, split_up
from autoopt.config.presets import default_values, preset_contents, presets
from autoopt.config.settings import ABOUT, RELATIVE, SEARCHED, SETTINGS, seconds
from autoopt.config.tree import FROM, Tree, flat, is_live, plugged, technique_of
from autoopt.errors import BadInput

__all__ = [
    "ABOUT", "FROM", "NAMED", "RELATIVE", "SEARCHED", "SETTINGS", "Overrides", "Tree", "allow", "as_overrides", "asked_for",
    "broken_of_all", "compose", "default_values", "flat", "from_file", "hydra_for_us", "is_live", "no_data", "paths_in_recipe",
    "plugged", "prepared", "preset_contents", "presets", "refuse_unnamed", "seconds", "split_up", "technique_of", "trusting",
]  # fmt: skip


def compose(arguments: Sequence[str], file: str | None = None, base: Sequence[str] = ()) -> Tree:
    """The checked tree of a search.

    Args:
        arguments: overrides as on the command line, `key=value`; what they name may be imported.
        file: a YAML file of a search or a recipe: it replaces defaults, and the arguments replace its values.
        base: the same as a list of overrides, which may be anybody's.

    Raises:
        BadInput: with a line for every problem.
    """
    given = [*(from_file(file) if file else ()), *base]
    NAMED.update(paths_in_lines(arguments))
    refuse_unnamed(file or "the recipe", paths_in_lines(with_files_read(given)))
    for argument in arguments:
        refuse_unnamed(argument, paths_in_lines(with_files_read([argument])))
    overrides = split_up(given, arguments)
    tree = typed_pins(composed(overrides))
    problems = [*overrides.problems, *unknown_keys(overrides, tree), *wrong_values(tree)]
    if problems:
        raise BadInput(*dict.fromkeys(problems))
    return tree
