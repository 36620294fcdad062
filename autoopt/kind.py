"""Whether an object that an import path names is of the kind that its slot or plug-point takes, told before it is called."""

from functools import partial
from inspect import isroutine
from typing import Any

from autoopt.arguments import return_type
from autoopt.errors import BadInput
from autoopt.namesakes import PAIRS
from autoopt.slots import PLUGGABLE
from autoopt.technique import LIVE, REQUIRED, Technique, resolve

KIND_NAMES = {"builtins:tuple": "tuple[DataLoader, DataLoader] (training, validation)"}
"""What a message calls an expected type, where its own name says too little."""


def check_kind(slot: str, technique: Technique) -> None:
    """Raise BadInput where the object is neither a subclass of what the slot returns nor a function annotated to return it."""
    expected = PLUGGABLE[slot].returns
    found = technique.load()
    returned = return_type(found)
    check_namesake(slot, technique, returned)
    if technique.path in LIVE and not isinstance(found, type):
        return
    if not any(
        returned is None if path is None else isinstance(returned, type) and issubclass(returned, resolve(path)) for path in expected
    ):
        names = " or ".join(KIND_NAMES.get(path, path.replace(":", ".")) if path else "None" for path in expected)
        says = "does not say what it returns" if returned is REQUIRED else f"returns {getattr(returned, '__name__', returned)}"
        function = isroutine(found) or isinstance(found, partial)
        other = f"a function that {says}" if function else f"an object of class {type(found).__name__}"
        seen = "a class" if isinstance(found, type) else other
        raise BadInput(f"{slot}={technique.path} is {seen}; expected a subclass of {names}, or a function annotated to return one")


def check_namesake(slot: str, technique: Technique, kind: Any) -> None:
    """Raise BadInput where a class is built on a copy of Lightning that is not the one in use, whose hooks nobody would call."""
    ours = resolve("lightning:pytorch")
    for base in kind.__mro__ if isinstance(kind, type) else ():
        if base.__module__.split(".")[0] in PAIRS and getattr(ours, base.__name__, base) is not base:
            name = f"{base.__module__.split('.')[0]}.{base.__name__}"
            raise BadInput(
                f"{slot}={technique.path} is a {name}, which was imported beside lightning.pytorch's class of that name; "
                f"import one of the two packages, or say `from autoopt import search` before both"
            )
