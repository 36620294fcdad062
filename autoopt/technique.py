"""A builder with its space: found by slot and name among the entry points, or by import path.

Names come from package metadata and signatures from the source, so that help, completion and every config error work
without importing a plugin, torch least of all.
"""

import ast
import builtins
import importlib
import importlib.metadata
import importlib.util
import inspect
import sys
import types
import typing
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import Distribution, EntryPoint, distributions
from pathlib import Path
from typing import Annotated, Any

from autoopt.domain import Acts, Choice, Range
from autoopt.errors import BadInput, nearest
from autoopt.slots import SLOTS

GROUP = "autoopt."
NAMESPACE: dict[str, Any] = {
    **{t.__name__: t for t in (bool, int, float, str, Range, Choice, Acts)},
    **{"Annotated": Annotated, "Any": Any, "Optional": typing.Optional, "None": None, "Path": str, "__builtins__": {}},
}
REQUIRED: Any = inspect.Parameter.empty
SCALARS = (bool, int, float, str)


@dataclass(frozen=True)
class Param:
    """One argument that a config may set; with a domain, a search chooses it by default."""

    name: str
    type: Any = Any
    domain: Range | Choice | None = None
    default: Any = REQUIRED

    @property
    def scalar(self) -> type | None:
        """The one scalar type that a value is drawn in and checked against, where the annotation names one."""
        named = [str if t is Path else t for t in (typing.get_args(self.type) or (self.type,)) if t in (*SCALARS, Path)]
        if not named and type(self.default) in SCALARS:
            return type(self.default)
        return named[0] if len(named) == 1 else None

    def accept(self, value: Any) -> Any:
        """The value in the argument's type.

        Raises:
            ValueError: it is of another type.
        """
        kind = self.scalar
        if kind is None or value is None or type(value) is kind:
            return value
        if kind is float and type(value) is int:
            return float(value)
        if kind is int and type(value) is float and value.is_integer():
            return int(value)
        if kind is str and type(value) in (int, float):
            return str(value)
        raise ValueError(f"expected {kind.__name__}, got {value!r}")


@dataclass(frozen=True)
class Technique:
    """A builder: what it asks its slot for, what a config may set, and what it does to its neighbours."""

    slot: str
    name: str
    path: str
    asks: tuple[str, ...] = ()
    params: Mapping[str, Param] = field(default_factory=dict)
    acts: Acts = field(default_factory=Acts)
    doc: str = ""
    owner: str = ""

    def load(self) -> Callable[..., Any]:
        """Import the builder.

        Raises:
            BadInput: it cannot be imported; says whose it is and what to install.
        """
        if (live := LIVE.get(self.path)) is not None:
            return live
        module, _, attribute = self.path.partition(":")
        try:
            found = importlib.import_module(module)
            if not hasattr(found, attribute.split(".")[0]):
                near = nearest(attribute, public(found))
                raise BadInput(f"{self.slot}={self.path}: {module} has no '{attribute}'. {near}{self.remedy(AttributeError())}")
            for part in attribute.split("."):
                found = getattr(found, part)
        except BadInput:
            raise
        except Exception as error:
            raise BadInput(f"{self.slot}/{self.name} cannot be loaded: {type(error).__name__}: {error}{self.remedy(error)}") from error
        return found  # type: ignore[return-value]

    def remedy(self, error: Exception) -> str:
        """Who is to blame, and the extra that brings a missing module."""
        if not self.owner:
            return ""
        missing = getattr(error, "name", None) if isinstance(error, ImportError) else None
        extra = extra_with(self.owner.split()[0], missing) if missing else None
        return f" (from {self.owner}" + (f"; pip install '{self.owner.split()[0]}[{extra}]')" if extra else ")")


def public(module: types.ModuleType) -> list[str]:
    """The names that a module defines, itself or further inside."""
    return [n for n, v in vars(module).items() if n[0] != "_" and str(getattr(v, "__module__", "")).startswith(module.__name__)]


LIVE: dict[str, Any] = {}
"""Classes and functions handed over from Python, by the path under which a config names them."""


@cache
def catalogue() -> Mapping[tuple[str, str], list[tuple[EntryPoint, str]]]:
    """Every entry point of a slot, with the distribution that brings it. Nothing is imported."""
    found: dict[tuple[str, str], list[tuple[EntryPoint, str]]] = {}
    for distribution in unique(distributions()):
        for point in entry_points(distribution):
            if point.group.startswith(GROUP) and point.group.removeprefix(GROUP) in SLOTS:
                owners = found.setdefault((point.group.removeprefix(GROUP), point.name), [])
                owners.append((point, f"{distribution.metadata['Name']} {distribution.version}"))
    return found


def unique(found: "typing.Iterable[Distribution]") -> Iterator[Distribution]:
    """The first of each name on the path, as Python imports it."""
    seen: set[str] = set()
    for distribution in found:
        try:
            name = distribution.metadata["Name"].lower().replace("_", "-")
        except Exception:
            continue
        if name not in seen:
            seen.add(name)
            yield distribution


def entry_points(distribution: Distribution) -> list[EntryPoint]:
    try:
        return list(distribution.entry_points)
    except Exception:  # malformed, and not ours
        return []


def extra_with(distribution: str, module: str) -> str | None:
    """The extra of a distribution that requires a package of this name."""
    wanted = module.split(".")[0].replace("_", "-").lower()
    for requirement in importlib.metadata.requires(distribution) or ():
        if requirement.lower().replace("_", "-").startswith(wanted) and "extra ==" in requirement:
            return requirement.split("extra ==")[1].strip(" '\")")
    return None


def available(slot: str) -> list[str]:
    """The names that are installed for a slot, sorted."""
    return sorted(name for s, name in catalogue() if s == slot)


def is_path(name: str) -> bool:
    return ":" in name


@cache
def find(slot: str, name: str) -> Technique:
    """The technique of this name or import path.

    Raises:
        BadInput: there is none, two distributions claim the name, or its signature cannot be read.
    """
    if is_path(name):
        return described(slot, name.rpartition(":")[2].rpartition(".")[2], name, "")
    owners = catalogue().get((slot, name), [])
    if not owners:
        raise BadInput(f"No {slot} named '{name}'. {nearest(name, available(slot))}")
    if len(owners) > 1:
        names = " and ".join(owner for _, owner in owners)
        raise BadInput(f"{slot}/{name} is claimed by {names}: uninstall one of them")
    point, owner = owners[0]
    return described(slot, name, point.value.replace(" ", ""), owner)


def described(slot: str, name: str, path: str, owner: str) -> Technique:
    if path in LIVE:
        return reflect(slot, name, path, owner)
    try:
        return from_source(slot, name, path, owner)
    except Exception:  # whatever cannot be read is imported
        return reflect(slot, name, path, owner)


def reflect(slot: str, name: str, path: str, owner: str = "") -> Technique:
    """Describe a builder by importing it.

    Raises:
        BadInput: it cannot be imported or is no class or function.
    """
    built = Technique(slot, name, path, owner=owner).load()
    if not callable(built):
        raise BadInput(f"{slot}={path}: expected a class or a function, got {type(built).__name__}")
    signature = inspect.signature(built, eval_str=True)
    parameters = [
        (p.name, p.kind is p.KEYWORD_ONLY, p.annotation if p.annotation is not p.empty else Any, p.default)
        for p in signature.parameters.values()
        if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)
    ]
    acts = acts_of(signature.return_annotation)
    return assemble(slot, name, path, owner, parameters, acts, inspect.cleandoc(built.__doc__ or ""), isinstance(built, type))


def from_source(slot: str, name: str, path: str, owner: str = "") -> Technique:
    """Describe a builder from its source, importing nothing.

    Raises:
        Exception: of any kind, where the source does not say it in literals.
    """
    module, _, attribute = path.partition(":")
    definition = locate(module, attribute)
    function = definition
    if isinstance(definition, ast.ClassDef):
        function = next(n for n in definition.body if isinstance(n, ast.FunctionDef) and n.name == "__init__")
    assert isinstance(function, ast.FunctionDef)
    parameters = list(arguments(function.args, skip_self=function is not definition))
    acts = Acts()
    if isinstance(function.returns, ast.Subscript) and ast.unparse(function.returns.value) == "Annotated":
        acts = next((a for a in map(evaluate, function.returns.slice.elts[1:]) if isinstance(a, Acts)), acts)  # type: ignore[attr-defined]
    return assemble(slot, name, path, owner, parameters, acts, ast.get_docstring(definition) or "", definition is not function)


def locate(module: str, attribute: str) -> ast.FunctionDef | ast.ClassDef:
    """The definition behind `module:attribute`, re-exports followed."""
    source = origin(module)
    for node in ast.parse(source.read_text()).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name == attribute:
            return node
        if isinstance(node, ast.ImportFrom) and (alias := next((a for a in node.names if (a.asname or a.name) == attribute), None)):
            package = module if source.name == "__init__.py" else module.rpartition(".")[0]
            target = importlib.util.resolve_name("." * node.level + (node.module or ""), package) if node.level else node.module
            return locate(target or "", alias.name)
    raise LookupError(attribute)


def origin(module: str) -> Path:
    """The source file of a module, found without importing its packages."""
    search, name = None, ""
    for part in module.split("."):
        name = f"{name}.{part}" if name else part
        found = (finder.find_spec(name, search) for finder in sys.meta_path if hasattr(finder, "find_spec"))
        spec = next(s for s in found if s is not None)
        search = spec.submodule_search_locations
    return Path(spec.origin or "")


def arguments(args: ast.arguments, skip_self: bool) -> Iterator[tuple[str, bool, Any, Any]]:
    """Each argument's name, whether it is keyword-only, its annotation and default."""
    positional = [*args.posonlyargs, *args.args]
    defaults = [None] * (len(positional) - len(args.defaults)) + list(args.defaults)
    rows = [
        *((a, d, False) for a, d in zip(positional, defaults, strict=True)),
        *((a, d, True) for a, d in zip(args.kwonlyargs, args.kw_defaults, strict=True)),
    ]
    for argument, default, keyword in rows[1:] if skip_self else rows:
        yield argument.arg, keyword, annotation(argument.annotation), evaluate(default) if default is not None else REQUIRED


def annotation(node: ast.expr | None) -> Any:
    """What an annotation says; of a type that is not known here, anything, since none of it is searched."""
    if node is None:
        return Any
    try:
        return evaluate(node)
    except NameError:
        if "Annotated" in ast.unparse(node):
            raise
        if isinstance(node, ast.BinOp):  # float | Tensor
            left, right = annotation(node.left), annotation(node.right)
            return right if left is Any else left if right is Any else left | right
        return Any


def evaluate(node: ast.expr) -> Any:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    return eval(compile(ast.Expression(node), "<signature>", "eval"), NAMESPACE)  # noqa: S307 - literals and our own names only


def acts_of(returns: Any) -> Acts:
    return next((a for a in getattr(returns, "__metadata__", ()) if isinstance(a, Acts)), Acts())


def assemble(
    slot: str, name: str, path: str, owner: str, parameters: list[tuple[str, bool, Any, Any]], acts: Acts, doc: str, is_class: bool
) -> Technique:
    """Tell what is asked for from what may be set: a function asks by position, a class for what its slot offers."""
    asks, params = [], {}
    for argument, keyword, type_, default in parameters:
        offered = argument in SLOTS[slot].offers
        if default is REQUIRED and not keyword and (offered or not is_class):
            asks.append(argument)
        elif (param := described_param(argument, type_, default)) is not None:
            params[argument] = param
    return Technique(slot, name, path, tuple(asks), params, acts, doc, owner)


def described_param(name: str, type_: Any, default: Any) -> Param | None:
    """The argument as a config sees it; one whose default no config can say (an object) is left to Python."""
    domains = [m for m in getattr(type_, "__metadata__", ()) if isinstance(m, Range | Choice)]
    plain = type_.__origin__ if domains or hasattr(type_, "__metadata__") else type_
    if default is not REQUIRED and not isinstance(default, types.NoneType | bool | int | float | str):
        return None
    return Param(name, plain, domains[0] if domains else None, default)


def build(technique: Technique, offered: Mapping[str, Any], values: Mapping[str, Any]) -> Any:
    """Call the builder with what it asks for and with the values chosen for it."""
    return technique.load()(**{name: offered[name] for name in technique.asks}, **values)


def resolve(path: str) -> Any:
    """The object at `module:name`."""
    module, _, attribute = path.partition(":")
    return getattr(builtins if module == "builtins" else importlib.import_module(module), attribute)
