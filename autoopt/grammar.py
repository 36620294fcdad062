"""Hydra's override grammar: reads a config's text as a pin, a `Range` or a `Choice`, and writes them."""

import re
from decimal import Decimal
from functools import cache, lru_cache
from math import ceil, isfinite
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
from autoopt.errors import BadInput


def choice(*options: Any) -> ChoiceSweep:
    """`choice` with `null` among its options, which switches an argument off; Hydra's own `choice` refuses it.

    Raises:
        ValueError: there is no option.
    """
    if not options:
        raise ValueError("an empty choice")
    return ChoiceSweep(list=list(options[0].list if isinstance(options[0], ChoiceSweep) else options))


def parser() -> OverridesParser:
    functions = create_functions()
    del functions.definitions["choice"]
    functions.register("choice", choice)
    return OverridesParser(functions)


PARSER = parser()
SPECIAL = re.compile(r"[\\()\[\]{}:=, \t]")
"""What the grammar reads as itself after a backslash."""
Value = Scalar | list[Scalar] | Range | Choice


def spell(value: object, steps: bool = False) -> str:
    """A value as the grammar spells it.

    Args:
        steps: also those of a range, which else stay with the signature.
    """
    match value:
        case Range(step=float() | int()) if steps:
            low, high, step = (Decimal(str(part)) for part in (value.low, value.high, value.step))
            return f"range({low}, {low + (high - low) // step * step + step}, {step})"
        case Range():
            body = f"interval({value.low}, {value.high})"
            return f"tag(log, {body})" if value.log else body
        case Choice():
            return f"choice({', '.join(map(spell, value.options))})"
        case None:
            return "null"
        case bool():
            return str(value).lower()
        case dict():
            return f"{{{', '.join(f'{spell_key(key)}: {spell(part)}' for key, part in value.items())}}}"
        case list() | tuple():
            return f"[{', '.join(map(spell, value))}]"
        case str():
            return value if plain(value) else quoted(value)
    return str(value)


def quoted(text: str) -> str:
    """The text in quotes, so that the grammar reads it as one string."""
    return QuotedString(text=text, quote=Quote.single).with_quotes()


def spell_key(key: Any) -> str:
    """A key of a mapping as the grammar spells it, which knows no quotes there.

    Raises:
        BadInput: it would read another one.
    """
    said = SPECIAL.sub(r"\\\g<0>", key) if isinstance(key, str) else spell(key)
    try:
        (read,) = PARSER.parse_rule(f"{{{said}: 0}}", "element")
    except HydraException:
        read = None
    if read != key or type(read) is not type(key):
        raise BadInput(f"{key!r} cannot be said as the key of a mapping; make the mapping in a function of your own")
    return said


@cache
def plain(text: str) -> bool:
    """Whether the grammar reads the text without quotes as this very string, in a list too."""
    try:
        return text.isascii() and PARSER.parse_rule(f"[{text}, {text}]", "element") == [text, text]
    except HydraException:
        return False


def interpret(value: object) -> Value:
    """The meaning of a node of the config; text that is not a sweep stays as it is.

    Raises:
        ValueError: the sweep is empty, or no search can choose from it.
    """
    if not isinstance(value, str) or "(" not in value:
        return value  # type: ignore[return-value]
    return parse(value)


def is_sweep(value: object) -> bool:
    """Whether a node leaves something to choose, even if its sweep is invalid."""
    try:
        return isinstance(interpret(value), Range | Choice)
    except ValueError:
        return True


def spell_node(value: object) -> str:
    """A node of the config as the grammar spells it; a sweep is spelled already."""
    return str(value) if is_sweep(value) else spell(value)


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
        ValueError: the range is empty or an option is not a scalar.
    """
    match sweep:
        case ChoiceSweep():
            options = [text_of(o) for o in sweep.list]
            return options[0] if len(options) == 1 else Choice(*options)
        case IntervalSweep():
            return Range(number(sweep.start), number(sweep.end), log="log" in sweep.tags)
        case RangeSweep():
            return stepped(number(sweep.start), number(sweep.stop), number(sweep.step))
    raise ValueError(f"{sweep} is not a sweep that a search can choose from")


def stepped(start: float, stop: float, step: float) -> Range | float:
    """The numbers of a `range`, which leaves its end out, as Python's does; floats that are added up would miss it by a little.

    Raises:
        ValueError: there are none.
    """
    low, end, unit = (Decimal(str(part)) for part in (start, stop, step))
    count = ceil((end - low) / unit) if unit else 0
    if count < 1:
        raise ValueError("an empty range")
    whole = all(isinstance(part, int) for part in (start, stop, step))
    first, last = (int(part) if whole else float(part) for part in (low, low + (count - 1) * unit))
    return Range(first, last, step=step) if count > 1 else first


def text_of(option: object) -> Scalar:
    return option.text if isinstance(option, QuotedString) else option  # type: ignore[return-value]


def number(value: object) -> float:
    """The value as a number; raises ValueError if it is not finite."""
    result = value if isinstance(value, int) else float(value)  # type: ignore[arg-type]
    if not isfinite(result):
        raise ValueError(f"expected a finite number, got {result}")
    return result


@lru_cache(maxsize=4096)
def override(text: str) -> Override:
    """One `key=value` of the command line, to be read only: parsing takes a millisecond, and a command reads the same ones many times.

    Raises:
        HydraException: the text cannot be parsed.
    """
    return PARSER.parse_override(text)
