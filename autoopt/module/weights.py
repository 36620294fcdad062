"""The weights of a module as a training leaves them, and as callbacks exchange them for a validation."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import lightning.pytorch as L
import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from torch.linalg import vector_norm
from torch.nn.parameter import is_lazy

from autoopt.errors import summary
from autoopt.module.hooks import overridden

ENTERING = ("on_validation_start", "on_validation_epoch_start", "on_test_start", "on_test_epoch_start")
LEAVING = ("on_validation_epoch_end", "on_validation_end", "on_test_epoch_end", "on_test_end")
OURS = ("autoopt", "lightning", "pytorch_lightning")
"""Packages whose callbacks leave the weights that they validate at the end of a training."""
HOLDERS = ("_parameters", "_buffers", "_modules")
"""Where torch keeps what a layer consists of."""
SAME = 1e-9
"""How far norms of the same weights may differ, as a share: after a training they are added up on another device."""


def tensors_of(module: nn.Module) -> list[Tensor]:
    """The weights and the buffers, as far as they are there."""
    tensors = [t for t in (*module.parameters(), *module.buffers()) if not is_lazy(t)]
    return [t.to_local() if isinstance(t, DTensor) else t for t in tensors]


def tensor_norms(module: nn.Module) -> Tensor:
    """The norm of each weight and each buffer that is stored, float64, on the CPU: other buffers, such as noise, are drawn anew."""
    passing = {id(part._buffers[name]) for part in module.modules() for name in part._non_persistent_buffers_set if name in part._buffers}
    stored = [t for t in tensors_of(module) if id(t) not in passing]
    dense = [t.detach() for t in stored if t.layout == torch.strided and (t.is_floating_point() or t.is_complex())]
    return torch.tensor([norm_of(t) for t in dense], dtype=torch.float64)


def norm_of(tensor: Tensor) -> float:
    tensor = tensor.cpu() if tensor.device.type == "mps" else tensor  # which has no float64
    return float(vector_norm(tensor, dtype=torch.complex128 if tensor.is_complex() else torch.float64))


def same(some: Tensor, others: Tensor | None) -> bool:
    """Whether norms are those of the same weights."""
    return others is not None and some.shape == others.shape and torch.allclose(some, others, rtol=SAME, atol=0.0)


def copies(tensors: Iterable[Tensor]) -> list[Tensor]:
    return [t.detach().clone() for t in tensors]


@torch.no_grad()
def set_tensors(tensors: Iterable[Tensor], values: Iterable[Tensor]) -> None:
    """Give tensors these values, in place."""
    for tensor, value in zip(tensors, values, strict=True):
        tensor.copy_(value)


@contextmanager
def keeping_layers(module: nn.Module) -> Iterator[None]:
    """Keep a module's layers and weights through what may make new ones; what is added stays."""
    held = [(layer, {kind: dict(vars(layer)[kind]) for kind in HOLDERS}) for layer in module.modules()]
    tensors = tensors_of(module)
    values = copies(tensors)
    yield
    for layer, holders in held:
        for kind, entries in holders.items():
            vars(layer)[kind].update(entries)
    set_tensors(tensors, values)


def exchanging(callbacks: Iterable[L.Callback]) -> list[L.Callback]:
    """An author's callbacks that may exchange the weights for a validation, such as with their mean."""
    own = [c for c in callbacks if type(c).__module__.partition(".")[0] not in OURS]
    return [c for c in own if any(overridden(hook, c) for hook in ENTERING)]


@contextmanager
def as_they_are(trainer: L.Trainer, module: L.LightningModule) -> Iterator[None]:
    """Let a validation beside a training see the weights that a module has.

    A callback that exchanges them, or raises as it lacks what a training gives it, takes no part in the validation.
    """
    configure, guards = module.configure_callbacks, list[Guard]()

    def guarded(callbacks: Sequence[L.Callback] | L.Callback) -> Sequence[L.Callback] | L.Callback:
        for callback in exchanging([callbacks] if isinstance(callbacks, L.Callback) else callbacks):
            if not any(guard.callback is callback for guard in guards):
                guards.append(Guard(callback, module))
        return callbacks

    guarded(trainer.callbacks)  # type: ignore[attr-defined]
    vars(module)["configure_callbacks"] = lambda: guarded(configure())  # which may be new ones
    try:
        yield
    finally:
        del vars(module)["configure_callbacks"]
        for guard in guards:
            guard.end()


class Guard:
    """Stands before the hooks of a callback around a validation, until it ends."""

    def __init__(self, callback: L.Callback, module: nn.Module):
        self.callback, self.module, self.out = callback, module, False
        self.own = {hook: vars(callback)[hook] for hook in (*ENTERING, *LEAVING) if hook in vars(callback)}
        vars(callback).update((hook, partial(self.enter, getattr(callback, hook))) for hook in ENTERING)
        vars(callback).update((hook, partial(self.leave, getattr(callback, hook))) for hook in LEAVING)

    def enter(self, hook: Callable[..., None], *args: Any) -> None:
        if self.out:
            return
        held, before = copies(tensors_of(self.module)), tensor_norms(self.module)
        try:
            hook(*args)
        except Exception as error:
            print(f"{type(self.callback).__name__} takes no part in this validation: {summary(error)}")
            self.out = True
        self.out = self.out or not same(tensor_norms(self.module), before)
        if self.out:
            set_tensors(tensors_of(self.module), held)

    def leave(self, hook: Callable[..., None], *args: Any) -> None:
        if not self.out:
            hook(*args)

    def end(self) -> None:
        """Give the callback its hooks again."""
        for hook in (*ENTERING, *LEAVING):
            del vars(self.callback)[hook]
        vars(self.callback).update(self.own)
