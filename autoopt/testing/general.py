"""What a technique of any slot must do: describe itself, and build everywhere in its domains."""

import re
from collections.abc import Iterator
from itertools import zip_longest
from typing import Any

from autoopt.domain import Choice, Range, Unavailable
from autoopt.errors import summary
from autoopt.executor import Executor
from autoopt.slots import PLUGGABLE, SLOTS
from autoopt.technique import REQUIRED, Technique, from_source, reflect, resolve
from autoopt.testing.worlds import situations

CITATION = re.compile(r"\b(1[6-9]\d\d|20\d\d|2100)\b|\barXiv\b|\bDOI\b|^Source: \S", re.MULTILINE)
SOURCES = "a year, arXiv, DOI, or a line 'Source: …' (Source: unpublished)"
"""What names a source, in words."""


def reads_without_importing(technique: Technique) -> None:
    imported = reflect(technique.slot, technique.name, technique.path, technique.owner)
    try:
        read = from_source(technique.slot, technique.name, technique.path, technique.owner)
    except Exception as error:
        raise Unavailable(f"its source does not say all, so it is imported: {summary(error)}") from error
    for seen, is_ in zip_longest(signature(read), signature(imported)):
        assert seen == is_, f"the source says {seen}, the imported object {is_}"


def signature(technique: Technique) -> list[Any]:
    params = technique.params.values()
    return [
        ("asks for", technique.asks),
        *((p.name, p.scalar, p.domain, p.bounds, p.default) for p in params),
        technique.acts,
        technique.doc,
    ]


def names_its_source(technique: Technique) -> None:
    summary, _, rest = technique.doc.partition("\n\n")
    assert summary.strip() and rest.strip(), f"the docstring needs a line on what it does, an empty line, and its source: {SOURCES}"
    assert CITATION.search(rest), f"the docstring names no source: {SOURCES}"


def asks_for_what_is_offered(technique: Technique) -> None:
    offers = PLUGGABLE[technique.slot].offers
    unknown = sorted(set(technique.asks) - set(offers))
    assert not unknown, f"asks for {', '.join(unknown)}; {technique.slot} offers {', '.join(offers) or 'nothing'}"
    fills = technique.acts.fills
    assert fills is None or fills in SLOTS, f"Acts(fills='{fills}'): there is no such slot"


def has_defaults_in_their_domains(technique: Technique) -> None:
    for name, param in technique.params.items():
        default, domain = param.default, param.domain
        refusal = "" if default is REQUIRED or param.bounds is None else param.bounds.refusal(default)
        assert not refusal, f"{name}={default!r}: {refusal}"
        if default is REQUIRED or domain is None:
            continue
        accepted = param.accept(default)
        if isinstance(domain, Range):
            assert domain.low <= accepted <= domain.high, f"{name}={default!r} lies outside of {domain.low} to {domain.high}"
        else:
            assert (type(accepted), accepted) in [(type(o), o) for o in domain.options], f"{name}={default!r} is none of {domain.options}"


def builds_at_the_ends_of_its_domains(technique: Technique) -> None:
    expected = PLUGGABLE[technique.slot].returns
    names = " or ".join("nothing" if path is None else path.rpartition(":")[2] for path in expected)
    for values in ({}, *ends(technique)):
        shown = ", ".join(f"{name}={value!r}" for name, value in values.items()) or "its defaults"
        try:
            built = situations(technique, values)
        except Unavailable:
            if not values:
                raise
            continue
        except Exception as error:
            raise AssertionError(f"does not build with {shown}: {summary(error)}") from error
        for _, result in built:
            fits = any(result is None if path is None else isinstance(result, resolve(path)) for path in expected)
            if isinstance(result, Executor):
                result.close()
            assert fits, f"with {shown} it returned {type(result).__name__}, expected {names}"


def ends(technique: Technique) -> Iterator[dict[str, Any]]:
    """One argument at a time at the ends of its range, or at each of its options; all are at their defaults without that."""
    for name, param in technique.params.items():
        match param.domain:
            case Range(low, high):
                values = [param.accept(value) for value in (low, high)]
            case Choice(options=options):
                values = list(options)
            case _:
                values = []
        yield from ({name: value} for value in values if (type(value), value) != (type(param.default), param.default))


CHECKS = (
    reads_without_importing,
    names_its_source,
    asks_for_what_is_offered,
    has_defaults_in_their_domains,
    builds_at_the_ends_of_its_domains,
)
