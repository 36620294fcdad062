"""Shared by what acts within a step of an optimizer: around its closure."""

from collections.abc import Callable
from typing import Any

from torch import Tensor
from torch.optim import Optimizer

Arguments = tuple[tuple[Any, ...], dict[str, Any]]
"""Those of an optimizer's `step`, as a hook before it gets them."""
Closure = Callable[[], Tensor]


def with_closure(arguments: Arguments, around: Callable[[Closure], Tensor]) -> Arguments | None:
    """The arguments with another closure, which calls `around` with the one that was given; None where a step has none."""
    args, kwargs = arguments
    closure: Closure | None = dict(zip(("self", "closure"), args, strict=False), **kwargs).get("closure")
    return None if closure is None else (args[:1], {"closure": lambda: around(closure)})


def with_gradients(optimizer: Optimizer, act: Callable[[], None]) -> None:
    """Let the steps of an optimizer call `act` once the gradients are there: after every call of their closure, or at their begin."""

    def before(_: Optimizer, *arguments: Any) -> Arguments | None:
        def around(closure: Closure) -> Tensor:
            loss = closure()
            act()
            return loss

        if (changed := with_closure(arguments, around)) is None:
            act()
        return changed

    optimizer.register_step_pre_hook(before)
