"""Hydra's override grammar, between a config's text and what it means: a pin, a `Range` or a `Choice`."""

from functools import cache
from math import isfinite
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser, create_functions
from hydra.core.override_parser.types import (
    ChoiceSweep,
    IntervalSweep,
    Override,
    Quote,
    QuotedString,
    RangeSweep,
    Sweep,
)
from hydra.errors import HydraException

from autoopt.domain import Choice, Range, Scalar


def choice(*options: Any) -> ChoiceSweep:
    """Hydra's own `choice` refuses `null`, by which an argument is switched off."""
    if not options:
        raise ValueError("an empty choice")
    return ChoiceSweep(list=list(options[0].list if isinstance(options[0], ChoiceSweep) else options))


def parser() -> OverridesParser:
    functions = create_functions()
    del functions.definitions["choice"]
    functions.register("choice", choice)
    return OverridesParser(functions)


PARSER = parser()
Value = Scalar | list[Scalar] | Range | Choice


def spell(value: object) -> str:
    """A value as the grammar spells it (a range's step stays with the signature)."""
    match value:
        case Range():
            body = f"interval({value.low}, {value.high})"
            return f"tag(log, {body})" if value.log else body
        case Choice():
            return f"choice({', '.join(map(spell, value.options))})"
        case None:
            return "null"
        case bool():
            return str(value).lower()
        case list() | tuple():
            return f"[{', '.join(map(spell, value))}]"
        case str():
            return value if plain(value) else quoted(value)
    return str(value)


def quoted(text: str) -> str:
    """The text as one string, whatever stands in it."""
    return QuotedString(text=text, quote=Quote.single).with_quotes()


@cache
def plain(text: str) -> bool:
    """Whether a bare word is read back as this very string, among others too."""
    try:
        return text.isascii() and PARSER.parse_rule(f"[{text}, {text}]", "element") == [text, text]
    except HydraException:
        return False


def interpret(value: object) -> Value:
    """What a node of the config means; text that is no sweep is itself, whatever stands in it."""
    if not isinstance(value, str) or "(" not in value:
        return value  # type: ignore[return-value]
    return parse(value)


def is_sweep(value: object) -> bool:
    """Whether a node leaves something to choose, be it well said or not."""
    try:
        return isinstance(interpret(value), Range | Choice)
    except ValueError:
        return True


@cache
def parse(text: str) -> Value:
    try:
        element = PARSER.parse_rule(text, "element")
    except HydraException:
        return text
    return meaning(element) if isinstance(element, Sweep) else text


def meaning(sweep: Sweep) -> Value:
    """A sweep of Hydra's as a domain; a choice of one option is a pin.

    Raises:
        ValueError: the range is empty or the options are no scalars.
    """
    match sweep:
        case ChoiceSweep():
            options = [text_of(o) for o in sweep.list]
            return options[0] if len(options) == 1 else Choice(*options)
        case IntervalSweep():
            return Range(number(sweep.start), number(sweep.end), log="log" in sweep.tags)
        case RangeSweep():
            values = list(sweep.range())  # Hydra leaves the end out
            if not values:
                raise ValueError("an empty range")
            return Range(values[0], values[-1], step=number(sweep.step)) if len(values) > 1 else values[0]
    raise ValueError(f"{sweep} is no sweep that a search can choose from")


def text_of(option: object) -> Scalar:
    return option.text if isinstance(option, QuotedString) else option  # type: ignore[return-value]


def number(value: object) -> float:
    found = value if isinstance(value, int) else float(value)  # type: ignore[arg-type]
    if not isfinite(found):
        raise ValueError(f"expected a finite number, got {found}")
    return found


def override(text: str) -> Override:
    """One `key=value` of the command line.

    Raises:
        HydraException: it does not parse.
    """
    return PARSER.parse_override(text)
