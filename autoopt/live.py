"""Classes and functions handed over from Python: the path under which a config names them."""

import functools
import hashlib
import inspect
import sys
import types
from collections.abc import Callable
from typing import Any

from autoopt import technique

Factory = type | Callable[..., Any]
PLAIN_TYPES = (bool, int, float, complex, str, bytes, types.NoneType, types.EllipsisType)


def import_path(slot: str, made: Factory) -> str:
    """The import path of a class or function; one that cannot be imported is kept for the processes forked from this one.

    Such a path carries a few digits of the object's code, so that another object of the same name is another study. One
    without a name of its own (a lambda, a partial) goes by its slot's.
    """
    module, name = getattr(made, "__module__", "__main__"), getattr(made, "__qualname__", "")
    if module != "__main__" and getattr(sys.modules.get(module), name, None) is made:
        return f"{module}:{name}"
    word = name.rpartition(".")[2]
    digest = hashlib.sha256(repr(code_of(made)).encode()).hexdigest()[:6]
    path = f"{technique.MAIN}.{digest}:{word if word.isidentifier() else slot}"
    technique.LIVE[path] = made
    technique.find.cache_clear()
    return path


def code_of(made: Any) -> Any:
    """What an object does, in plain values: its source, or else its bytecode, and the plain values that it holds on to.

    A lambda goes by its bytecode, since one line may hold several.
    """
    if isinstance(made, PLAIN_TYPES):
        return made
    if isinstance(made, tuple | list | dict | set | frozenset):
        parts = [code_of(part) for part in (made.items() if isinstance(made, dict) else made)]
        return sorted(parts, key=repr) if isinstance(made, set | frozenset) else parts
    if isinstance(made, functools.partial):
        return [code_of(part) for part in (made.func, made.args, made.keywords)]
    if isinstance(made, types.CodeType):
        return [made.co_code.hex(), made.co_names, code_of(made.co_consts)]
    if isinstance(made, types.FunctionType):
        cells = [cell.cell_contents for cell in made.__closure__ or ()]
        held = [cell for cell in cells if isinstance(cell, PLAIN_TYPES)]
        source = "" if made.__name__ == "<lambda>" else source_of(made)
        return [source or code_of(made.__code__), held, code_of(made.__defaults__), code_of(made.__kwdefaults__)]
    if isinstance(made, type):
        return [source_of(made), *(code_of(part) for part in vars(made).values() if isinstance(part, types.FunctionType))]
    if hasattr(made, "__array__"):
        return hashlib.sha256(made.__array__().tobytes()).hexdigest()
    return [type(made).__qualname__, length_of(made)]


def length_of(made: Any) -> int:
    """How many examples or batches a data set or a loader has, where it knows."""
    try:
        return len(made)
    except (TypeError, NotImplementedError):
        return 0


def source_of(made: Any) -> str:
    try:
        return inspect.getsource(made)
    except (TypeError, OSError):
        return ""
