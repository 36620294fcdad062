"""Arguments as a config says them, made into what a builder takes: tuples, and objects, partials and classes by import path.

An object is said as its import path, `module:Name`, with its own arguments under it. Its kind is checked before anything is called.
"""

import builtins
import collections.abc
import functools
import inspect
import re
import typing
from argparse import Namespace
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, is_dataclass
from types import ModuleType, UnionType
from typing import Any

from omegaconf import DictConfig

from autoopt.errors import BadInput, nearest
from autoopt.namesakes import imported, spec_of, why_not

FROM = "from"
"""Where an import path stands in the tree: a word of Python's own, so that no argument can have this name."""
PARTIAL = "_partial_"
"""Hydra's word: whether an object is left to be called by the builder."""
PATH = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*")
KINDS = (
    "torch.nn:Module", "torch:Tensor", "torch.optim:Optimizer", "torch.optim.lr_scheduler:LRScheduler", "torch.utils.data:Dataset",
    "argparse:Namespace", "omegaconf:DictConfig",
)  # fmt: skip
"""What an argument without a type may be, or return."""
REQUIRED: Any = inspect.Parameter.empty
VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


@dataclass(frozen=True)
class Made:
    """An object that an argument names, of a kind that was checked.

    Args:
        kept: it is not called, but passed on with its arguments.
    """

    found: Callable[..., Any]
    arguments: Mapping[str, Any]
    kept: bool

    def make(self) -> Any:
        arguments = {name: realised(value) for name, value in self.arguments.items()}
        if self.kept:
            return functools.partial(self.found, **arguments) if arguments else self.found
        return self.found(**arguments)


def realised(value: Any) -> Any:
    """A value with its objects made."""
    if isinstance(value, dict):
        return {key: realised(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(map(realised, value))
    return value.make() if isinstance(value, Made) else value


def passed(builder: Any, values: Mapping[str, Any], label: str = "") -> dict[str, Any]:
    """The values of a config, by dotted keys, as the keyword arguments of a builder; nothing is called yet, `realised` does that.

    Args:
        label: what the builder is called in messages.

    Raises:
        BadInput: an object is not of its argument's kind, cannot be imported, or has no such argument.
    """
    hints, parameters = hints_of(builder), parameters_of(builder)
    return {
        name: understood(value, hints.get(name, Any), getattr(parameters.get(name), "default", REQUIRED), f"{label}.{name}")
        for name, value in as_tree(values).items()
    }


def as_tree(values: Mapping[str, Any]) -> dict[str, Any]:
    """Values by dotted keys as a tree, in which an object with arguments is a mapping that says where it is from."""
    tree: dict[str, Any] = {}
    for key in sorted(values, key=lambda key: key.count(".")):
        *way, last = key.split(".")
        node = tree
        for part in way:
            inner = node.get(part)
            node[part] = dict(inner) if isinstance(inner, dict) else {} if inner is None else {FROM: inner}
            node = node[part]
        node[last] = values[key]
    return tree


def understood(value: Any, hint: Any, default: Any, label: str) -> Any:
    """A value in the form that its argument takes."""
    kinds = [typing.get_origin(kind) or kind for kind in alternatives(hint)]
    if isinstance(value, dict):
        if FROM in value:
            return named_object(value, hint, default, label)
        classes = [kind for kind in classes_of(hint) if kind is DictConfig or not issubclass(kind, collections.abc.Mapping)]
        if classes and dict not in kinds:
            return config_object(classes, value, hint, default, label)
        return {key: understood(part, Any, REQUIRED, f"{label}.{key}") for key, part in value.items()}
    if isinstance(value, list):
        parts = [understood(part, Any, REQUIRED, label) for part in value]
        return tuple(parts) if tuple in kinds or isinstance(default, tuple) else parts
    if isinstance(value, str) and names_object(value, hint, default):
        return named_object({FROM: value}, hint, default, label)
    return value


def names_object(text: str, hint: Any, default: Any) -> bool:
    """Whether a text is the import path of an object: of a module that there is, for an argument that takes no text."""
    takes_text = str in alternatives(hint) or isinstance(default, str)
    return not takes_text and bool(PATH.fullmatch(text)) and spec_of(text.partition(":")[0]) is not None


def named_object(node: Mapping[str, Any], hint: Any, default: Any, label: str) -> Made:
    path = str(node[FROM])
    if not PATH.fullmatch(path):
        raise BadInput(f"{label}={path}: expected an import path, such as my_models:Net")
    found = object_at(path, label)
    check_kind_of_argument(found, hint, f"{label}={path}")
    return made_object(found, node, hint, default, label)


def config_object(kinds: list[type], node: Mapping[str, Any], hint: Any, default: Any, label: str) -> Made:
    """What a mapping becomes by the type of its argument: a dataclass, a Namespace, or a config of OmegaConf.

    Raises:
        BadInput: it is of another class, whose subclass has to be named.
    """
    if (kind := next((k for k in kinds if is_dataclass(k) or k in (Namespace, DictConfig)), None)) is None:
        names = " or ".join(kind.__name__ for kind in kinds)
        raise BadInput(f"{label} is a mapping; expected {label}=module:Name of a class {names}, with its arguments under it")
    return made_object(kind, node, hint, default, label)


def made_object(found: Any, node: Mapping[str, Any], hint: Any, default: Any, label: str) -> Made:
    values = {key: value for key, value in node.items() if key not in (FROM, PARTIAL)}
    if found is DictConfig:
        return Made(found, {"content": understood(values, dict, REQUIRED, label)}, kept=False)
    parameters = parameters_of(found)
    if not any(p.kind is p.VAR_KEYWORD for p in parameters.values()) and (unknown := [key for key in values if key not in parameters]):
        raise BadInput(f"No {label} argument named '{unknown[0]}'. {nearest(unknown[0], parameters)}")
    missing = [p.name for p in parameters.values() if p.default is p.empty and p.kind not in VARIADIC and p.name not in values]
    kept = node.get(PARTIAL, bool(missing) or expects_uncalled(found, hint, default))
    return Made(found, passed(found, values, label), kept)


def object_at(path: str, label: str) -> Any:
    """What an import path names.

    Raises:
        BadInput: it cannot be imported.
    """
    module, _, name = path.partition(":")
    try:
        found: Any = builtins if module == "builtins" else imported(module)
        for part in name.split("."):
            found = getattr(found, part)
    except Exception as error:
        raise BadInput(f"{label}={path} cannot be loaded: {why_not(error, path)}") from error
    if not callable(found):
        raise BadInput(f"{label}={path}: expected a class or a function, got {type(found).__name__}")
    return found


def check_kind_of_argument(found: Any, hint: Any, said: str) -> None:
    """Raise BadInput where an object is neither of the classes that its argument names, nor of what arguments of models are."""
    returned = return_type(found)
    allowed = tuple(classes_of(hint)) or tuple(object_at(path, said) for path in KINDS)
    if not (isinstance(returned, type) and issubclass(returned, allowed)):
        names = " or ".join(kind.__name__ for kind in allowed)
        expected = f"expected a subclass of {names}, or a function annotated to return one"
        raise BadInput(f"{said}: {expected}; else write a function that makes the whole")


def classes_of(hint: Any) -> Iterator[type]:
    """The classes of objects that a type names: `Net`, `type[Net]`, `Callable[…, Net]`, `Net | None`."""
    for kind in alternatives(hint):
        origin, inner = typing.get_origin(kind), typing.get_args(kind)
        if origin is type or (origin is collections.abc.Callable and inner):
            yield from classes_of(inner[-1])
        elif isinstance(kind, type) and kind.__module__ not in ("builtins", "typing", "collections.abc", "functools"):
            yield kind


def expects_uncalled(found: Any, hint: Any, default: Any) -> bool:
    """Whether an argument takes a class or a function, rather than what it makes."""
    if default is not REQUIRED and (isinstance(default, type | functools.partial) or inspect.isroutine(default)):
        return True
    for kind in alternatives(hint):
        origin = typing.get_origin(kind)
        makes = origin is collections.abc.Callable and any(classes_of(kind))
        if makes or {kind, origin} & {type, functools.partial}:
            return True
    return False


def alternatives(hint: Any) -> tuple[Any, ...]:
    """The members of a union, or a type by itself."""
    return typing.get_args(hint) if typing.get_origin(hint) in (typing.Union, UnionType) else (hint,)


def hints_of(builder: Any) -> dict[str, Any]:
    """The types of the arguments of a class or a function, as far as they can be told."""
    function = getattr(builder, "__init__") if isinstance(builder, type) else builder  # noqa: B009 - mypy takes it for an instance's
    try:
        return typing.get_type_hints(function)
    except Exception:
        said = getattr(function, "__annotations__", {})
        return {name: hint for name, hint in said.items() if not isinstance(hint, str | ModuleType)}


def parameters_of(builder: Any) -> Mapping[str, inspect.Parameter]:
    try:
        return inspect.signature(builder).parameters
    except (TypeError, ValueError):  # of a builtin
        return {}


def return_type(builder: Any) -> Any:
    """What a class or a function makes: the class, or what the function is annotated to return.

    That is `None` where it returns nothing, and `REQUIRED` where it does not say.
    """
    if isinstance(builder, type):
        return builder
    try:
        hint = typing.get_type_hints(builder).get("return", REQUIRED)
    except Exception:
        hint = getattr(builder, "__annotations__", {}).get("return", REQUIRED)
    hint = None if hint is type(None) else hint
    return typing.get_origin(hint) or hint
