"""A recipe's techniques, ready to be called with the arguments that their slots offer."""

import inspect
from contextlib import suppress
from typing import Any

import lightning.pytorch as L
from torch import nn

from autoopt.config import FROM
from autoopt.domain import ORDER, Unavailable
from autoopt.errors import BadInput, TechniqueError, line_in, out_of_memory, summary
from autoopt.kind import check_kind
from autoopt.recipe import Recipe
from autoopt.slots import SLOTS
from autoopt.technique import Technique, build, find, resolve


class Chosen:
    """A recipe's techniques with the values of their settings, in the order in which they act.

    Raises:
        BadInput: a technique is not installed, or cannot be used in its slot.
    """

    def __init__(self, recipe: Recipe):
        self.recipe = recipe
        rows = [(find(slot, values.get(FROM, name)), set_values(values)) for slot, name, values in recipe.techniques()]
        for technique, _ in rows:
            if not technique.owner:  # from an import path, which a recipe from elsewhere may name
                check_kind(technique.slot, technique)
        self.rows = sorted(rows, key=lambda row: (row[0].acts.last, ORDER.index(row[0].acts.order)))  # stable: equals stay in order

    def of(self, slot: str) -> list[tuple[Technique, dict[str, Any]]]:
        return [row for row in self.rows if row[0].slot == slot]

    def asks(self, slot: str, name: str) -> bool:
        return any(name in technique.asks for technique, _ in self.of(slot))

    def fault(self, slot: str, detail: str, unavailable: bool = False) -> TechniqueError:
        """The error of the only technique of a slot."""
        ((technique, _),) = self.of(slot)
        return TechniqueError(slot, technique.name, detail, unavailable)

    def build(self, slot: str, **offered: Any) -> list[Any]:
        """What each technique of the slot returns.

        Raises:
            TechniqueError: a technique raised, returned a wrong type, or cannot work here.
        """
        return [call(technique, offered, values) for technique, values in self.of(slot)]

    def one(self, slot: str, **offered: Any) -> Any:
        """What the only technique of the slot returns; None if the slot is empty."""
        return next(iter(self.build(slot, **offered)), None)

    def callbacks(self, model: nn.Module, total_steps: int, objective: str | None, direction: str = "minimize") -> list[L.Callback]:
        """The callbacks of the regularizers, which may change the model in place."""
        results = self.build("regularizer", model=model, total_steps=total_steps, objective=objective, direction=direction)
        return [callback for callback in results if callback is not None]


def in_words(error: Exception, technique: Technique) -> str:
    """An exception, and where it left the file of a technique that is not autoopt's own: `KeyError: 'm' (my_opt.py, line 9)`."""
    text = summary(error)
    if technique.owner.partition(" ")[0] == "autoopt":
        return text
    with suppress(TypeError, OSError):  # a partial, or a class of a notebook, has no file
        if line := line_in(str(inspect.getsourcefile(technique.load())), error):
            return f"{text} ({line})"
    return text


def set_values(values: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if key not in (FROM, "use")}


def call(technique: Technique, offered: dict[str, Any], values: dict[str, Any]) -> Any:
    try:
        result = build(technique, offered, values)
    except Unavailable as error:
        raise TechniqueError(technique.slot, technique.name, str(error), unavailable=True) from error
    except BadInput:
        raise
    except Exception as error:
        if out_of_memory(error):
            raise
        raise TechniqueError(technique.slot, technique.name, in_words(error, technique)) from error
    expected = SLOTS[technique.slot].returns
    if not any(result is None if path is None else isinstance(result, resolve(path)) for path in expected):
        names = " or ".join("nothing" if path is None else path.rpartition(":")[2] for path in expected)
        raise TechniqueError(technique.slot, technique.name, f"returned {type(result).__name__}, expected {names}")
    return result
