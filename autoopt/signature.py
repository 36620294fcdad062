"""The signature of a builder, read from its source with `ast`, or by importing it."""

import ast
import importlib.util
import inspect
import typing
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from autoopt.arguments import REQUIRED
from autoopt.domain import Acts, Bounds, Choice, Range
from autoopt.namesakes import spec_of

NAMESPACE: dict[str, Any] = {
    **{t.__name__: t for t in (bool, int, float, str, list, tuple, dict, Range, Choice, Bounds, Acts)},
    **{"Annotated": Annotated, "Any": Any, "Optional": typing.Optional, "None": None, "Path": str, "__builtins__": {}},
}
CALLED = {"Range", "Choice", "Bounds", "Acts"}
READABLE = (
    ast.Constant, ast.Name, ast.Load, ast.Call, ast.keyword, ast.Subscript, ast.Tuple, ast.List, ast.UnaryOp, ast.unaryop, ast.BinOp,
    ast.BitOr,
)  # fmt: skip


class Parameter(NamedTuple):
    """One parameter as it is written."""

    name: str
    keyword: bool
    type: Any
    default: Any


@dataclass(frozen=True)
class Signature:
    """The parameters of a function, or of a class's `__init__`, with what stands around them; `open` to further keywords."""

    parameters: list[Parameter]
    acts: Acts
    doc: str
    is_class: bool
    open: bool = False


def of_object(built: Any) -> Signature:
    """The signature of a class or function."""
    signature = inspect.signature(built, eval_str=True)
    parameters = [
        Parameter(p.name, p.kind is p.KEYWORD_ONLY, p.annotation if p.annotation is not p.empty else Any, p.default)
        for p in signature.parameters.values()
        if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)
    ]
    is_open = any(p.kind is p.VAR_KEYWORD for p in signature.parameters.values())
    acts = next((a for a in getattr(signature.return_annotation, "__metadata__", ()) if isinstance(a, Acts)), Acts())
    return Signature(parameters, acts, inspect.cleandoc(built.__doc__ or ""), isinstance(built, type), is_open)


def of_source(path: str) -> Signature:
    """The signature of `module:name` from its source, importing nothing.

    Raises:
        Exception: of any kind, if the signature is not written in literals.
    """
    module, _, attribute = path.partition(":")
    definition = locate(module, attribute)
    function: ast.FunctionDef | ast.ClassDef | None = definition
    if isinstance(definition, ast.ClassDef):
        function = next((n for n in definition.body if isinstance(n, ast.FunctionDef) and n.name == "__init__"), None)
        if function is None:
            raise LookupError(f"{path} has no __init__ of its own")
    assert isinstance(function, ast.FunctionDef)
    if definition.decorator_list or function.decorator_list:
        raise LookupError(f"{path} has a decorator, which may change its signature")
    is_class = definition is not function
    doc = ast.get_docstring(definition) or ""
    return Signature(list(arguments(function.args, is_class)), acts_of(function.returns), doc, is_class, function.args.kwarg is not None)


def acts_of(returns: ast.expr | None) -> Acts:
    """The `Acts` in a return annotation `Annotated[…, Acts(…)]`, whose type need not be known here."""
    returns = unquoted(returns)
    if isinstance(returns, ast.Subscript) and ast.unparse(returns.value) == "Annotated" and isinstance(returns.slice, ast.Tuple):
        return next((a for a in map(evaluate, returns.slice.elts[1:]) if isinstance(a, Acts)), Acts())
    return Acts()


def locate(module: str, attribute: str) -> ast.FunctionDef | ast.ClassDef:
    """The definition behind `module:attribute`, re-exports followed; raises LookupError if there is none."""
    source = origin(module)
    for node in ast.parse(source.read_bytes()).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name == attribute:
            return node
        if isinstance(node, ast.ImportFrom) and (alias := next((a for a in node.names if (a.asname or a.name) == attribute), None)):
            package = module if source.name == "__init__.py" else module.rpartition(".")[0]
            target = importlib.util.resolve_name("." * node.level + (node.module or ""), package) if node.level else node.module
            return locate(target or "", alias.name)
    raise LookupError(attribute)


def origin(module: str) -> Path:
    """The source file of a module.

    Raises:
        ModuleNotFoundError: there is no such module.
    """
    if (spec := spec_of(module)) is None:
        raise ModuleNotFoundError(module)
    return Path(spec.origin or "")


@cache
def missing_package(module: str, guarded: bool = False) -> str | None:
    """The first missing package that a module imports at its top, itself or by another module of its own package.

    Args:
        guarded: also what it imports inside of `try`, and so may do without.
    """
    top = ast.parse(origin(module).read_bytes()).body
    inside = [inner for outer in top if guarded and isinstance(outer, ast.Try) for inner in outer.body]
    for node in [*top, *inside]:
        names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
        names += [node.module] if isinstance(node, ast.ImportFrom) and node.module and not node.level else []
        for name in names:
            package = name.partition(".")[0]
            if importlib.util.find_spec(package) is None:
                return package
            if package == module.partition(".")[0] and (missing := missing_package(name, guarded)) is not None:
                return missing
    return None


def arguments(args: ast.arguments, skip_self: bool) -> Iterator[Parameter]:
    """The parameters of a definition, in their order."""
    positional = [*args.posonlyargs, *args.args]
    defaults = [None] * (len(positional) - len(args.defaults)) + list(args.defaults)
    rows = [
        *((a, d, False) for a, d in zip(positional, defaults, strict=True)),
        *((a, d, True) for a, d in zip(args.kwonlyargs, args.kw_defaults, strict=True)),
    ]
    for argument, default, keyword in rows[1:] if skip_self else rows:
        value = REQUIRED if default is None else evaluate(default)
        yield Parameter(argument.arg, keyword, annotation(argument.annotation), value)


def annotation(node: ast.expr | None) -> Any:
    """The type that an annotation names; `Any` for a type that is not known here, since it is not searched."""
    if (node := unquoted(node)) is None:
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


def unquoted(node: ast.expr | None) -> ast.expr | None:
    """The annotation, parsed if it is written as a string."""
    return ast.parse(node.value, mode="eval").body if isinstance(node, ast.Constant) and isinstance(node.value, str) else node


def evaluate(node: ast.expr) -> Any:
    """The value of literals and of our own names.

    Raises:
        NameError: there is anything else in it: reading a signature must not run code.
    """
    for part in ast.walk(node):
        called = isinstance(part, ast.Call) and not (isinstance(part.func, ast.Name) and part.func.id in CALLED)
        if called or not isinstance(part, READABLE):
            raise NameError(f"{ast.unparse(part)} is not a literal")
    return eval(compile(ast.Expression(node), "<signature>", "eval"), NAMESPACE)  # noqa: S307 - checked above
