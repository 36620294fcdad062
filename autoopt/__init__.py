"""autoopt finds a better way to train a PyTorch model under a budget, and says honestly how much better it is."""

import importlib
import os
from typing import TYPE_CHECKING, Any

from autoopt.domain import Acts, Bounds, Choice, Range, Unavailable
from autoopt.errors import check_place
from autoopt.namesakes import join

if TYPE_CHECKING:
    from autoopt.api import apply, load, search, train

# As Lightning does: a script that asks whether there is a GPU does not begin to use it, which would keep the trials forked from it off.
os.environ.setdefault("PYTORCH_NVML_BASED_CUDA_CHECK", "1")

__all__ = ["Acts", "Bounds", "Choice", "Range", "Unavailable", "apply", "load", "search", "train"]


def __dir__() -> list[str]:
    return __all__


def __getattr__(name: str) -> Any:
    """Import the functions that need torch on their first use."""
    if name in ("apply", "load", "search", "train"):
        check_place()
        join()  # before Lightning is imported, under whichever name a script has done so
        return getattr(importlib.import_module("autoopt.api"), name)
    raise AttributeError(f"module 'autoopt' has no attribute '{name}'")
