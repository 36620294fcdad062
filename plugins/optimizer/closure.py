"""Shared by what acts within a step of an optimizer: around its closure."""

from collections.abc import Callable
from typing import Any

from torch import Tensor

Arguments = tuple[tuple[Any, ...], dict[str, Any]]
"""Those of an optimizer's `step`, as a hook before it gets them."""
Closure = Callable[[], Tensor]


def with_closure(arguments: Arguments, around: Callable[[Closure], Tensor]) -> Arguments | None:
    """The arguments with another closure, which calls `around` with the one that was given; None where a step has none."""
    args, kwargs = arguments
    closure: Closure | None = dict(zip(("self", "closure"), args, strict=False), **kwargs).get("closure")
    return None if closure is None else (args[:1], {"closure": lambda: around(closure)})
