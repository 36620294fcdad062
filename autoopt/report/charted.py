"""A search as an Optuna study that Optuna's figures are drawn from: with what was chosen under short names."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
from optuna.trial import create_trial

from autoopt.distributions import silent
from autoopt.domain import Scalar
from autoopt.recipe import UNSAID, Recipe
from autoopt.records.journal import ended
from autoopt.records.record import Record
from autoopt.records.run_fields import SHORT
from autoopt.records.stages import SEARCH
from autoopt.records.stored import Stored
from autoopt.slots import SLOTS

FEW_CLASSES = 5
"""So many different numbers are shown as classes."""
SPREAD = 20.0
"""A value whose greatest is so many times its least is shown on a logarithmic axis."""


def charted(study: Stored, keys: Sequence[str]) -> optuna.Study:
    """The search with these values of its recipes as parameters; a value that all trials have in common is left out.

    Names and values are escaped, because figures show some of HTML's tags.
    """
    records = study.records[SEARCH.name]
    columns = {key: [value_of(record.point, key) for record in records] for key in keys}
    distributions = {key: domain for key, values in columns.items() if (domain := distribution_of(values)) is not None}
    with silent():
        made = optuna.create_study(directions=[study.goal.first.direction])  # type: ignore[list-item]
    for place, record in enumerate(records):
        values = {key: columns[key][place] for key in distributions if columns[key][place] is not None}
        params = {key: as_class(value) if categorical(distributions[key]) else value for key, value in values.items()}
        made.add_trial(
            create_trial(
                **state_of(study, record),
                params={escape(key): value for key, value in params.items()},
                distributions={escape(key): distributions[key] for key in params},
            )
        )
    return made


def state_of(study: Stored, record: Record) -> Mapping[str, Any]:
    """How Optuna has a trial that has ended, by the first objective alone."""
    state, scores = ended(study.goal, record)
    return {"state": state, "value": scores[0] if scores else None}


def categorical(domain: BaseDistribution) -> bool:
    return isinstance(domain, CategoricalDistribution)


def choice_keys(study: Stored) -> list[str]:
    """The slots, the rates and the batch size: what describes every recipe."""
    return [*(slot for slot in SLOTS if slot not in UNSAID), "model", *SHORT, "batches.size"]


def value_of(recipe: Recipe, key: str) -> Any:
    """What a recipe has under a slot, a rate or a dotted key; `None` where it has nothing."""
    if key in SLOTS:
        return recipe.names()[key]
    if key in SHORT:
        flat = recipe.flat()
        return next((flat[name] for name in flat if name.startswith("optimizer.") and name.endswith(f".{key}")), None)
    value = recipe.value(key)
    return value if isinstance(value, Scalar) else None


def distribution_of(values: Sequence[Any]) -> BaseDistribution | None:
    """The values of all trials as a range or as classes; `None` where there is only one value."""
    known = [value for value in values if value is not None]
    if len(set(known)) < 2:
        return None
    numbers = [float(value) for value in known if isinstance(value, int | float) and not isinstance(value, bool)]
    if len(numbers) < len(known) or (len(set(known)) <= FEW_CLASSES and all(isinstance(value, int) for value in known)):
        return CategoricalDistribution(sorted({as_class(value) for value in known}))
    low, high = min(numbers), max(numbers)
    return FloatDistribution(low, high, log=low > 0 and high / low > SPREAD)


def as_class(value: Any) -> str:
    return escape({True: "on", False: "off"}[value] if isinstance(value, bool) else str(value))
