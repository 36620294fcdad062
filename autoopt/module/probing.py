"""Passes through a model that leave it as it was."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from torch import nn
from torch.utils.hooks import RemovableHandle


@contextmanager
def probing(model: nn.Module, hooks: Iterable[RemovableHandle] = ()) -> Iterator[None]:
    """Put a model in evaluation mode for a while; then the mode of each module is that before, and the hooks are removed."""
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
        for module, mode in modes.items():
            module.training = mode
