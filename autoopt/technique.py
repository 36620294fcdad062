"""A technique: a builder with its arguments, looked up by slot and name among the entry points, or by import path.

Names come from package metadata and signatures from the source, so that help, completion and every config error work
without importing a plugin or torch.
"""

import builtins
import types
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any, get_origin

from autoopt.arguments import alternatives, names_object, passed, realised
from autoopt.catalogue import available, catalogue, extra_with, installation
from autoopt.domain import Acts, Bounds, Choice, Range
from autoopt.errors import BadInput, nearest, summary
from autoopt.namesakes import imported, why_not
from autoopt.signature import REQUIRED, Parameter, Signature, of_object, of_source
from autoopt.slots import PLUGGABLE

SCALARS = (bool, int, float, str)


@dataclass(frozen=True)
class Param:
    """An argument that a config may set; an argument with a domain is searched by default."""

    name: str
    type: Any = Any
    domain: Range | Choice | None = None
    default: Any = REQUIRED
    bounds: Bounds | None = None

    @property
    def scalar(self) -> type | None:
        """The one scalar type that a value is drawn in and checked against, where the annotation names one."""
        named = [str if t is Path else t for t in alternatives(self.type) if t in (*SCALARS, Path)]
        if not named and type(self.default) in SCALARS:
            return type(self.default)
        return named[0] if len(named) == 1 else None

    @property
    def number(self) -> builtins.type[int | float]:
        """The type in which a range is drawn: whole numbers where they are the only ones that the annotation names, beside texts or not."""
        numbers = {kind for kind in alternatives(self.type) if kind in (int, float)} or {self.scalar}
        return int if numbers == {int} else float

    @property
    def mapping(self) -> bool:
        """Whether the annotation names a mapping, and nothing beside it but None."""
        return {get_origin(t) or t for t in alternatives(self.type)} - {types.NoneType} == {dict}

    def accept(self, value: Any) -> Any:
        """The value in the argument's type.

        Raises:
            ValueError: it is of another type.
        """
        kind, named = self.scalar, [get_origin(t) or t for t in alternatives(self.type)]
        if self.mapping and not isinstance(value, dict | None) and not names_object(str(value), self.type, self.default):
            raise ValueError(f"expected a mapping, such as {{name: 1}}, got {value!r}")
        if kind is None or value is None or type(value) in (kind, *named):
            return value
        if kind is float and type(value) is int:
            return float(value)
        if kind is int and type(value) is float and value.is_integer():
            return int(value)
        if kind is str and type(value) in (int, float):
            return str(value)
        raise ValueError(f"expected {kind.__name__}, got {value!r}")

    def refusal(self, value: Any) -> str:
        """What was expected instead of a value of the right type that the argument cannot mean; empty if it can."""
        declared = (self.bounds, self.domain if isinstance(self.domain, Choice) else None)
        return next((refusal for part in declared if part is not None and (refusal := part.refusal(value))), "")


@dataclass(frozen=True)
class Technique:
    """A builder: what it asks its slot for, what a config may set, and what it does to its neighbours; `open` to further keywords."""

    slot: str
    name: str
    path: str
    asks: tuple[str, ...] = ()
    params: Mapping[str, Param] = field(default_factory=dict, hash=False)
    acts: Acts = field(default_factory=Acts)
    doc: str = ""
    owner: str = ""
    open: bool = False

    def param(self, key: str) -> Param:
        """The argument of this name; of one inside of an object, or of further keywords, no more than the name is known."""
        return self.params.get(key) or Param(key)

    def takes(self, key: str) -> bool:
        """Whether a config may set a key; of a user's own builder also what it would be given else, and what stands inside of arguments."""
        head, deeper, _ = key.partition(".")
        return key in self.params or (not self.owner and (self.open or head in self.asks or bool(deeper and head in self.params)))

    def load(self) -> Callable[..., Any]:
        """Import the builder.

        Raises:
            BadInput: it cannot be imported; the message names its distribution and the extra to install.
        """
        if (live := LIVE.get(self.path)) is not None:
            return live
        module, _, attribute = self.path.partition(":")
        module = MAIN if module.startswith(f"{MAIN}.") else module  # without the digits that `live` adds
        if module.endswith(".py"):
            raise BadInput(f"{self.slot}={self.path} is a file; {import_path_of(Path(module), self.slot, attribute)}")
        try:
            target: Any = imported(module)
            if not hasattr(target, attribute.split(".")[0]):
                raise BadInput(f"{self.slot}={self.path}: {has_no(target, attribute)}{self.remedy(AttributeError())}")
            for part in attribute.split("."):
                target = getattr(target, part)
        except BadInput:
            raise
        except Exception as error:
            why = f"{summary(error)}{self.remedy(error)}" if self.owner else why_not(error, self.path)
            raise BadInput(f"{self.slot}/{self.name} cannot be loaded: {why}") from error
        return target

    def remedy(self, error: Exception) -> str:
        """The end of an error message: the distribution of the technique, and the extra that installs a missing module."""
        if not self.owner:
            return ""
        name, missing = self.owner.split()[0], getattr(error, "name", None) if isinstance(error, ImportError) else None
        extra = extra_with(name, missing) if missing else None
        return f" (from {self.owner}" + (f"; {installation(name, extra)})" if extra else ")")


def import_path_of(file: Path, slot: str, attribute: str) -> str:
    """How the object of a file is said, as the end of an error message."""
    away = file.is_absolute() or ".." in file.parts
    name = file.stem if away else ".".join(file.with_suffix("").parts)
    return f"give its import path: {slot}={name}:{attribute}" + (f", in the folder {file.parent}" if away else "")


def defined_names(module: types.ModuleType) -> list[str]:
    """The names that a module or its submodules define."""
    return [n for n, v in vars(module).items() if n[0] != "_" and str(getattr(v, "__module__", "")).startswith(module.__name__)]


LIVE: dict[str, Any] = {}
"""Classes and functions given from Python, by the path under which a config names them."""
MAIN = "__main__"


def is_path(name: str) -> bool:
    return ":" in name


@cache
def find(slot: str, name: str) -> Technique:
    """The technique of this name or import path.

    Raises:
        BadInput: there is no such technique, two distributions claim the name, or its signature cannot be read.
    """
    if is_path(name):
        return describe(slot, name.rpartition(":")[2].rpartition(".")[2], name, "")
    owners = catalogue().get((slot, name), [])
    if not owners:
        raise BadInput(f"No {slot} named '{name}'. {nearest(name, available(slot))}")
    if len(owners) > 1:
        names = " and ".join(owner for _, owner in owners)
        raise BadInput(f"{slot}/{name} is claimed by {names}: uninstall one of them")
    point, owner = owners[0]
    return describe(slot, name, point.value.replace(" ", ""), owner)


def readable(names: Iterable[tuple[str, str]]) -> Iterator[Technique | BadInput]:
    """The techniques of these slots and names; for a broken technique, its error."""
    for slot, name in names:
        try:
            yield find(slot, name)
        except BadInput as error:
            yield error


def of_slot(slot: str) -> Iterator[tuple[str, str]]:
    return ((slot, name) for name in available(slot))


def describe(slot: str, name: str, path: str, owner: str) -> Technique:
    if path in LIVE:
        return reflect(slot, name, path, owner)
    try:
        return from_source(slot, name, path, owner)
    except Exception:  # a signature that cannot be read is imported
        return reflect(slot, name, path, owner)


def from_source(slot: str, name: str, path: str, owner: str = "") -> Technique:
    """Describe a builder from its source, importing nothing.

    Raises:
        Exception: of any kind, if the signature is not written in literals.
    """
    return assemble(Technique(slot, name, path, owner=owner), of_source(path))


def reflect(slot: str, name: str, path: str, owner: str = "") -> Technique:
    """Describe a builder by importing it.

    Raises:
        BadInput: it cannot be imported, or is not a class or a function.
    """
    technique = Technique(slot, name, path, owner=owner)
    built = technique.load()
    if not callable(built):
        raise BadInput(f"{slot}={path}: expected a class or a function, got {type(built).__name__}")
    return assemble(technique, of_object(built))


def assemble(bare: Technique, signature: Signature) -> Technique:
    """Separate the names that a builder asks for from its settings: a function asks by position, a class for names that its slot offers."""
    asks, params = [], {}
    for parameter in signature.parameters:
        told = alternatives(parameter.type)[0] in SCALARS  # `task: str` is the author's own
        offered = parameter.name in PLUGGABLE[bare.slot].offers and not told
        if parameter.default is REQUIRED and not parameter.keyword and (offered or not signature.is_class):
            asks.append(parameter.name)
        else:
            params[parameter.name] = settable(parameter)
    return replace(bare, asks=tuple(asks), params=params, acts=signature.acts, doc=signature.doc, open=signature.open)


def settable(parameter: Parameter) -> Param:
    """The argument as a config sees it."""
    notes = getattr(parameter.type, "__metadata__", ())
    domain = next((m for m in notes if isinstance(m, Range | Choice)), None)
    bounds = next((m for m in notes if isinstance(m, Bounds)), None)
    bare = parameter.type.__origin__ if notes else parameter.type
    return Param(parameter.name, bare, domain, as_said(parameter.default), bounds)


def as_said(value: Any) -> Any:
    """A default as a config says it: a tuple is a list there."""
    return [as_said(part) for part in value] if isinstance(value, tuple) else value


def sayable(value: Any) -> bool:
    """Whether a config can say a value; an object as a default is left to Python."""
    if isinstance(value, dict):
        return all(isinstance(key, str) and sayable(part) for key, part in value.items())
    return all(map(sayable, value)) if isinstance(value, list) else isinstance(value, types.NoneType | bool | int | float | str)


def build(technique: Technique, offered: Mapping[str, Any], values: Mapping[str, Any]) -> Any:
    """Call the builder with what it asks for and with the values chosen for it.

    Raises:
        BadInput: an object among the values is not of its argument's kind.
        ValueError: a value is none that its argument can mean.
    """
    for name, value in values.items():
        if refusal := technique.param(name).refusal(value):
            raise ValueError(f"{name}={value}: {refusal}")
    builder = technique.load()
    arguments = values if technique.owner else realised(passed(builder, values, f"{technique.slot}.{technique.name}"))
    return builder(**{name: offered[name] for name in technique.asks if name not in values}, **arguments)


def resolve(path: str) -> Any:
    """The object at `module:name`.

    Raises:
        AttributeError: the module has no such name; the message has the nearest.
    """
    module, _, attribute = path.partition(":")
    holder = builtins if module == "builtins" else imported(module)
    if not hasattr(holder, attribute):
        raise AttributeError(has_no(holder, attribute))
    return getattr(holder, attribute)


def has_no(module: types.ModuleType, attribute: str) -> str:
    """That a module has no such name, and the nearest that it has."""
    return f"{module.__name__} has no '{attribute}'. {nearest(attribute, defined_names(module))}"
