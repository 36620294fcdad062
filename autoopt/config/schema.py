"""The JSON Schema of a config file, made from the installed techniques and the settings, so that editors complete and check the file."""

import re
from collections.abc import Iterable, Mapping
from math import isfinite
from types import NoneType
from typing import Any, get_origin

from autoopt import grammar
from autoopt.arguments import FROM, PATH, alternatives
from autoopt.config.presets import default_values, presets
from autoopt.config.settings import ABOUT, BOUNDS, CONSTRAINTS, DURATIONS, ONE_OF, RELATIVE, SEARCHED, SETTINGS, UNITS, WORDS
from autoopt.domain import Bounds, Choice
from autoopt.errors import BadInput
from autoopt.slots import PLUGGABLE, Slot
from autoopt.technique import REQUIRED, Param, available, find, sayable

JsonSchema = dict[str, Any]

SWEEP_SCHEMA = {"type": "string", "pattern": r"^(choice|interval|range|tag)\("}
NUMERAL_SCHEMA = {"type": "string", "pattern": r"^[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?$"}
"""YAML reads 1e-3 as a text."""
DURATION_SCHEMA = {"type": "string", "pattern": "^(?=.)" + "".join(rf"(\d+(\.\d+)?\s*{unit}\s*)?" for unit in UNITS) + "$"}
TYPE_SCHEMAS: Mapping[Any, tuple[JsonSchema, ...]] = {
    bool: ({"type": "boolean"},),
    int: ({"type": "integer"}, NUMERAL_SCHEMA),
    float: ({"type": "number"}, NUMERAL_SCHEMA),
    str: ({"type": ["string", "number"]},),
    list: ({"type": "array"},),
    NoneType: ({"type": "null"},),
}
OWN_SCHEMA = {"type": "object", "required": [FROM], "properties": {FROM: {"type": "string", "pattern": f"^{PATH.pattern}$"}}}
"""A technique by its import path, whose arguments are not known here."""


def config_schema() -> JsonSchema:
    """The schema of what `autoopt search FILE` and `autoopt train recipe=FILE` read."""
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "A search or a recipe of autoopt",
        **object_schema({**{name: slot_schema(slot) for name, slot in PLUGGABLE.items()}, **settings_schema(), **study_schema()}),
        "patternProperties": {r"^\w+\.": {}},  # a setting may stand under its dotted key
    }


def object_schema(properties: JsonSchema, others: JsonSchema | bool = False) -> JsonSchema:
    return {"type": "object", "properties": properties, "additionalProperties": others}


def slot_schema(slot: Slot) -> JsonSchema:
    """What may fill a slot: the name of a technique, several names, or a mapping of techniques with their arguments."""
    names = [*available(slot.name), *presets(slot.name), *(["none"] if slot.many else [])]
    several = rf"({'|'.join(map(re.escape, names))}|{PATH.pattern}|[^,\[\]]+\.ya?ml)"
    text = {"type": "string", "pattern": rf"^(choice\(|\[)?{several}(\s*,\s*{several})*[)\]]?$"}
    techniques = {name: technique_schema(slot, name) for name in available(slot.name)}
    options = [{"enum": names}, text, {"type": "array", "items": text}, object_schema(techniques | settings_under(slot.name), OWN_SCHEMA)]
    return {"description": slot.about, "anyOf": [*options, {"type": "null"}] if slot.many else options}


def technique_schema(slot: Slot, name: str) -> JsonSchema:
    """A technique: its purpose and its arguments; anything for a technique that cannot be described."""
    try:
        technique = find(slot.name, name)
    except BadInput:
        return {}
    use = {"use": {"enum": [True, False, "choice(true, false)"], "default": "choice(true, false)"}} if slot.many else {}
    arguments = {param.name: argument_schema(param, not slot.fixed) for param in technique.params.values()}
    return {**object_schema(use | arguments), "type": ["object", "null"], "description": technique.doc.partition("\n")[0]}


def argument_schema(param: Param, searched: bool) -> JsonSchema:
    """An argument of a technique. A range, or a choice of numbers, is advice, so that values outside of it are valid."""
    default = {"default": param.default} if param.default is not REQUIRED and sayable(param.default) else {}
    options = param.domain.options if isinstance(param.domain, Choice) else ()
    named = [get_origin(kind) or kind for kind in alternatives(param.type)] if param.type is not Any else [param.scalar or Any]
    off = [NoneType] if param.default is None or None in options else []
    if closed := isinstance(param.domain, Choice) and not param.domain.others and str in named:
        named.remove(str)
    words = [{"enum": [option for option in options if isinstance(option, str)]}] if closed else []
    advice = {"description": f"searched: {grammar.spell(param.domain)}", "examples": [*options, grammar.spell(param.domain)]}
    return (
        values_schema([*named, *off], searched, *words)
        | bounds_schema(param.bounds)
        | default
        | (advice if param.domain and searched else {})
    )


def bounds_schema(bounds: Bounds | None) -> JsonSchema:
    """The numbers that an argument or a setting can mean."""
    bounds = bounds or Bounds()
    ends = {"minimum": bounds.low, "maximum": bounds.high, "exclusiveMinimum": bounds.above, "exclusiveMaximum": bounds.below}
    return {word: end for word, end in ends.items() if isfinite(end)}


def values_schema(kinds: Iterable[Any], searched: bool, *more: JsonSchema) -> JsonSchema:
    """Values of some types, and where a search may choose, what it chooses from."""
    if any(kind not in TYPE_SCHEMAS for kind in kinds):
        return {}
    options = [*more, *(option for kind in kinds for option in TYPE_SCHEMAS[kind]), *([SWEEP_SCHEMA] if searched else [])]
    return {"anyOf": options} if len(options) > 1 else dict(options[0])


def settings_schema() -> JsonSchema:
    """The settings that stand at the top or in a node of their own."""
    heads = [key.partition(".")[0] for key in SETTINGS if key.partition(".")[0] not in (*PLUGGABLE, "study")]
    bounds = {CONSTRAINTS: {"description": ABOUT[f"{CONSTRAINTS}.METRIC"], **object_schema({}, {"type": "number"})}}
    return {
        head: setting_schema(head) if head in SETTINGS else object_schema(settings_under(head)) for head in dict.fromkeys(heads)
    } | bounds


def study_schema() -> JsonSchema:
    return {"study": {"anyOf": [{"enum": presets("study")}, object_schema(settings_under("study"))]}}


def settings_under(head: str) -> JsonSchema:
    """The settings of a node, by their last word."""
    return {key.partition(".")[2]: setting_schema(key) for key in SETTINGS if key.startswith(f"{head}.")}


def setting_schema(key: str) -> JsonSchema:
    """A setting: its type, its purpose, its default and its least value."""
    kind, about = SETTINGS[key]
    words = [{"enum": [*ONE_OF.get(key, ()), *RELATIVE.get(key, ())]}] if key in ONE_OF or key in RELATIVE else []
    several = [{"type": "array", "items": {"type": "string"}}] if key in WORDS else []
    kinds = [DURATION_SCHEMA, TYPE_SCHEMAS[NoneType][0]] if key in DURATIONS else []
    of_type = {"anyOf": kinds} if kinds else values_schema([] if key in ONE_OF else alternatives(kind), key in SEARCHED, *words, *several)
    return of_type | bounds_schema(BOUNDS.get(key)) | {"description": about, "default": default_values()[key]}
