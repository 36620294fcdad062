from collections.abc import Callable
from typing import Annotated, Any

import torch
from torch import Tensor
from torch.optim import SGD, Optimizer

from autoopt.domain import Range


class FullBatch(SGD):
    """SGD that gathers the gradients of an epoch, and has none to step with before the last batch."""

    def __init__(self, params: Any, steps_per_epoch: int, lr: float, weight_decay: float):
        super().__init__(params, lr=lr, weight_decay=weight_decay)
        self.steps_per_epoch = steps_per_epoch
        for group in self.param_groups:
            group["gathered"] = 0
        self.register_step_pre_hook(gathering)  # first of the hooks: the others see the mean

    def eval(self) -> None:
        """Nothing to do: a batch norm is renewed if its optimizer has `eval`, since no batch has passed through the last weights."""

    def train(self) -> None:
        """Nothing to do."""

    @torch.no_grad()
    def gather(self) -> None:
        """Add the gradients to the sums; at the end of the epoch the gradients are the mean, before there are none."""
        for group in self.param_groups:
            group["gathered"] = (group["gathered"] + 1) % self.steps_per_epoch
            for p in group["params"]:
                gradient, p.grad = p.grad, None
                if gradient is not None:
                    self.state[p]["sum"] = self.state[p].get("sum", 0) + gradient
                if not group["gathered"] and "sum" in self.state.get(p, ()):
                    p.grad = self.state[p].pop("sum") / self.steps_per_epoch


def gathering(optimizer: Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
    """Let `step(closure)` gather the gradients of the closure; without a closure they exist already."""
    assert isinstance(optimizer, FullBatch)
    closure: Callable[[], Tensor] | None = dict(zip(("self", "closure"), args, strict=False), **kwargs).get("closure")
    if closure is None:
        optimizer.gather()
        return None

    def gathered() -> Tensor:
        loss = closure()
        optimizer.gather()
        return loss

    return args[:1], {"closure": gathered}


def gd(
    params,
    steps_per_epoch: int,
    *,
    lr: Annotated[float, Range(1e-2, 10.0, log=True)] = 0.1,
    weight_decay: Annotated[float, Range(1e-6, 1e-2, log=True)] = 5e-4,
) -> SGD:
    """Full-batch gradient descent: `w -= lr * (g + weight_decay * w)` once per epoch, g the mean of the gradients of its batches.

    All batches count equally, even a smaller last batch. Penalties and clipping act on the gradient of each batch, before the mean: for
    a penalty the result is the same; clipping bounds the mean too, but differs from clipping the mean. The rate is that of the last step.

    Cauchy 1847; Ruder 2016, arXiv:1609.04747.
    """
    return FullBatch(params, steps_per_epoch, lr, weight_decay)
