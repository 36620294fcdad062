from collections.abc import Callable
from typing import Annotated, Any

import torch
from torch import Tensor
from torch.optim import SGD, Optimizer

from autoopt.domain import Range


class FullBatch(SGD):
    """SGD that gathers gradients, and shows itself none until the last of them has come."""

    def __init__(self, params: Any, steps_per_epoch: int, lr: float, weight_decay: float):
        super().__init__(params, lr=lr, weight_decay=weight_decay)
        self.steps_per_epoch = steps_per_epoch
        for group in self.param_groups:
            group["gathered"] = 0
        self.register_step_pre_hook(gathering)  # first of the hooks: the others see the mean

    def eval(self) -> None:
        """The weights are those of the last step, which no batch has passed through: batch norms have to be told so."""

    def train(self) -> None:
        """They are the same."""

    @torch.no_grad()
    def gather(self) -> None:
        """Add the gradients to the sums; leave their mean where the epoch ends, and no gradient before."""
        for group in self.param_groups:
            group["gathered"] = (group["gathered"] + 1) % self.steps_per_epoch
            for p in group["params"]:
                gradient, p.grad = p.grad, None
                if gradient is not None:
                    self.state[p]["sum"] = self.state[p].get("sum", 0) + gradient
                if not group["gathered"] and "sum" in self.state.get(p, ()):
                    p.grad = self.state[p].pop("sum") / self.steps_per_epoch


def gathering(optimizer: Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
    """Let `step(closure)` gather what the closure has computed; without a closure the gradients are there already."""
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
    """Full-batch gradient descent: `w -= lr * (g + weight_decay * w)` once an epoch, g the mean of the gradients of its batches.

    Each batch counts alike, a smaller last one too. A penalty or a clip acts on the gradient of each batch, before the mean is taken:
    for a penalty that is the same; a clip bounds the mean as well, but is not that of the mean. The rate is that of the epoch's last step.

    Cauchy 1847; Ruder 2016, arXiv:1609.04747.
    """
    return FullBatch(params, steps_per_epoch, lr, weight_decay)
