"""Classes and functions handed over from Python: the path under which a config names them."""

import dis
import functools
import hashlib
import inspect
import logging
import sys
import types
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from autoopt import technique

Factory = type | Callable[..., Any]
PLAIN_TYPES = (bool, int, float, complex, str, bytes, types.NoneType, types.EllipsisType)
METHODS = (types.FunctionType, staticmethod, classmethod, property)
LARGE, SAMPLED = 2**30, 1024
"""Of an array with more bytes than `LARGE`, about so many rows are read."""


def import_path(slot: str, made: Factory) -> str:
    """The import path of a class or function; one that cannot be imported is kept for the processes forked from this one.

    Such a path carries a few digits of the object's code, so that another object of the same name is another study. One
    without a name of its own (a lambda, a partial) goes by its slot's.
    """
    name = getattr(made, "__qualname__", "")
    if "." not in name and importable(made):
        return f"{made.__module__}:{name}"
    word = name.rpartition(".")[2]
    digest = hashlib.sha256("\n".join(Reader().told(made)).encode()).hexdigest()[:6]
    path = f"{technique.MAIN}.{digest}:{word if word.isidentifier() else slot}"
    technique.LIVE[path] = made
    technique.find.cache_clear()
    return path


def importable(made: Any) -> bool:
    """Whether another process finds the class or function under its own name."""
    module = getattr(made, "__module__", technique.MAIN)
    try:
        return module != technique.MAIN and functools.reduce(getattr, made.__qualname__.split("."), sys.modules.get(module)) is made
    except AttributeError:
        return False


class Reader:
    """Reads what an object does, in plain values: its source, or else its bytecode, and all that it holds on to or looks up.

    Each object is told once, one after the other, so that none is nested too deep; within another it goes by its number. What shows no
    values (the state of a generator, an open file), or raises where it is read, goes by its type, so that a script that is run again
    finds its study. Of what can be imported the source is read, and nothing further.
    """

    def __init__(self, seen: Mapping[int, tuple[int, Any]] | None = None):
        self.seen = dict(seen or {})  # with the objects, since the id of one that is gone may become another's
        self.ordered = seen is None
        self.waiting: list[Any] = []

    def told(self, made: Any) -> list[str]:
        """What an object is, and everything that is reached from it, as texts."""
        self.read(made)
        return [self.text(each) for each in self.waiting]  # which grows meanwhile

    def read(self, made: Any) -> Any:
        """A plain value itself, or the number of an object, which is told in its turn."""
        if isinstance(made, PLAIN_TYPES):
            return made
        if id(made) not in self.seen:
            self.seen[id(made)] = len(self.seen), made
            self.waiting.append(made)
        return [self.seen[id(made)][0]]

    def text(self, made: Any) -> str:
        try:
            return repr(self.values(made))
        except Exception:  # of a `__repr__`, or an attribute, of the user's own
            return type(made).__qualname__

    def values(self, made: Any) -> Any:
        """The plain values of an object, and the numbers of those that it holds."""
        if isinstance(made, dict):
            return [[self.read(key), self.read(value)] for key, value in made.items()]
        if isinstance(made, tuple | list):
            return [self.read(part) for part in made]
        if isinstance(made, set | frozenset):
            return [self.read(part) for part in sorted(made, key=self.alone)] if self.ordered else len(made)
        if isinstance(made, functools.partial):
            return [self.read(part) for part in (made.func, made.args, made.keywords)]
        if isinstance(made, types.CodeType):
            return [made.co_code.hex(), made.co_names, self.read(made.co_consts)]
        if isinstance(made, types.FunctionType | type) and importable(made):
            return [made.__module__, made.__qualname__, source_of(made)]
        if isinstance(made, types.FunctionType | type):
            return self.of_class(made) if isinstance(made, type) else self.of_function(made)
        if isinstance(made, types.MethodType):
            return [self.read(made.__func__), self.read(made.__self__)]
        if isinstance(made, types.ModuleType | logging.Logger):  # what they hold is the whole process
            return getattr(made, "__name__", None) or made.name
        return self.of_object(made)

    def alone(self, made: Any) -> str:
        """What a part of a set is by itself, since the order of sets differs from run to run; sets inside of it count by their length."""
        if isinstance(made, PLAIN_TYPES) or id(made) in self.seen:
            return repr(self.read(made))
        return "\n".join(Reader(self.seen).told(made))

    def of_class(self, made: type) -> Any:
        """A class that cannot be imported, with its methods, its public attributes and its bases."""
        kept = {name: part for name, part in vars(made).items() if isinstance(part, METHODS) or not name.startswith("_")}
        methods = {name: getattr(part, "__func__", getattr(part, "fget", part)) for name, part in kept.items()}
        return [source_of(made), self.read(methods), self.read(made.__bases__)]

    def of_function(self, made: types.FunctionType) -> Any:
        """A function that cannot be imported. A lambda goes by its bytecode, since one line may hold several."""
        source = "" if made.__name__ == "<lambda>" else source_of(made)
        used = {name: made.__globals__[name] for name in globals_in(made.__code__) if name in made.__globals__}
        held = [contents_of(cell) for cell in made.__closure__ or ()]
        return [source or self.read(made.__code__), *map(self.read, (held, made.__defaults__, made.__kwdefaults__, used))]

    def of_object(self, made: Any) -> Any:
        """An object: the values of an array or a config of OmegaConf, else its attributes, or what it shows of itself."""
        if hasattr(type(made), "__array__"):
            columns = getattr(made, "column_names", getattr(made, "columns", ()))
            about = [str(getattr(made, "dtype", "")), str(getattr(made, "shape", "")), *map(self.read, columns)]
            try:
                return [*about, self.cells(made)]
            except Exception:  # a weight that is to be trained, or a type that numpy lacks
                return about
        if (omegaconf := sys.modules.get("omegaconf")) and isinstance(made, omegaconf.Container):  # its attributes change as it is read
            return self.read(omegaconf.OmegaConf.to_container(made, resolve=False))
        shown = repr(made) if not hasattr(made, "__dict__") else ""
        return [type(made).__qualname__, self.read(type(made)), self.read(vars(made)) if not shown else "" if " at 0x" in shown else shown]

    def cells(self, made: Any) -> Any:
        if (pandas := sys.modules.get("pandas")) and isinstance(made, pandas.DataFrame):  # as one array, its numbers would be objects
            return [self.cells(column) for _, column in made.items()]
        large = getattr(made, "nbytes", 0) > LARGE
        array = (made[:: len(made) // SAMPLED + 1] if large else made).__array__()
        return self.read(array.tolist()) if array.dtype.hasobject else hashlib.sha256(array.tobytes()).hexdigest()


def globals_in(code: types.CodeType) -> Iterator[str]:
    """The names that code, and code inside of it, looks up outside of itself."""
    yield from (each.argval for each in dis.get_instructions(code) if each.opname in ("LOAD_GLOBAL", "LOAD_NAME"))
    for part in code.co_consts:
        if isinstance(part, types.CodeType):
            yield from globals_in(part)


def contents_of(cell: types.CellType) -> Any:
    """What a function holds on to; nothing if that is not assigned yet."""
    try:
        return cell.cell_contents
    except ValueError:
        return None


def source_of(made: Any) -> str:
    try:
        return inspect.getsource(made)
    except (TypeError, OSError):
        return ""
