"""Whether the recipes of a journal are of the study's space: known before a trial goes on with one of them."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from autoopt.config import FROM, paths_in_recipe, refuse_unnamed
from autoopt.errors import BadInput
from autoopt.recipe import Recipe
from autoopt.records.record import Record
from autoopt.space import Domain, Space


def check_journal(folder: Path) -> None:
    """Raise BadInput where a study whose journal has no trials has results: it would begin anew over them."""
    if left := [path for path in (folder / "verdict.yaml", *sorted((folder / "trials").glob("[0-9]*"))) if path.exists()]:
        remedy = "restore it from a backup, rename the folder back, or give the search another name="
        raise BadInput(f"{folder / 'journal.log'} has no trials of {folder.name}, but {left[0].relative_to(folder)} is there: {remedy}")


def check_recipes(records: Sequence[Record], space: Space, baseline: Recipe | None) -> None:
    """Raise BadInput where a recipe names code that nobody named, or has a technique or a value that the study does not have.

    Args:
        space: of the config, before anything was left out.
        baseline: the recipe of trial 0, where it is not the space's own.
    """
    problems: list[str] = []
    for record in records:
        trial = f"trial {record.key} of the journal"
        try:
            refuse_unnamed(trial, paths_in_recipe(record.recipe))
        except BadInput as error:
            problems += error.problems
            continue
        if foreign := next(foreign_parts(record.recipe, space, {} if baseline is None else baseline.tree), None):
            problems.append(f"{trial} has {foreign}, which the study does not have: restore journal.log from a backup")
    if problems:
        raise BadInput(*problems)


def foreign_parts(recipe: Mapping[str, Any], space: Space, baseline: Mapping[str, Any]) -> Iterator[str]:
    """The techniques of a recipe that the space and the baseline lack, and the values that they do not allow."""
    for slot, options in space.options.items():
        for name, values in recipe.get(slot, {}).items():
            option = options.get(name)
            if values == baseline.get(slot, {}).get(name):
                continue
            if option is None or values.get(FROM) != option.head.get(FROM):
                yield f"{slot}={values.get(FROM, name)}"
                continue
            for key, value in values.items():
                allowed = option.values.get(key)
                fits = value in allowed if isinstance(allowed, Domain) else allowed is not None and value == allowed.value
                if key not in (FROM, "use") and not fits and value != option.technique.param(key).default:
                    yield f"{slot}.{name}.{key}={value}"
