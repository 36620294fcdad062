from collections.abc import Callable
from typing import Any


def keep(own: Callable[..., Any] | None) -> Callable[..., Any] | None:
    """The module's own loss, as its `training_step` computes it.

    Source: the module's author.
    """
    return own
