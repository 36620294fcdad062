from typing import Annotated, Any

import torch
from torch.optim import SGD, Optimizer

from autoopt.domain import Bounds, Range
from autoopt.plugins.optimizer.closure import with_gradients


class FullBatch(SGD):
    """SGD that gathers the gradients of an epoch, and has none to step with before the last batch.

    Gradients are cleared before each batch, also before one whose step is skipped since its 16-bit gradients are not finite.
    """

    def __init__(self, params: Any, steps_per_epoch: int, lr: float, weight_decay: float):
        super().__init__(params, lr=lr, weight_decay=weight_decay)
        self.steps_per_epoch, self.cleared = steps_per_epoch, 0
        with_gradients(self, self.gather)  # first of the hooks: the others see the mean
        self.register_step_post_hook(restore_rates)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        super().add_param_group({"passed": 0, "gathered": 0, **param_group})

    def zero_grad(self, set_to_none: bool = True) -> None:
        super().zero_grad(set_to_none)
        self.begin_batch()

    def begin_batch(self) -> None:
        """Count a batch; keep the rates of the first one of an epoch."""
        self.cleared += 1
        for group in self.param_groups:
            group["begins"] = (group["passed"] + self.cleared) % self.steps_per_epoch == 1 % self.steps_per_epoch
            if group["begins"]:
                group["first_lr"] = group["lr"]

    def eval(self) -> None:
        """Nothing to do: a batch norm is renewed if its optimizer has `eval`, since no batch has passed through the last weights."""

    def train(self) -> None:
        """Nothing to do."""

    @torch.no_grad()
    def gather(self) -> None:
        """Add the gradients to the sums; at the end of the epoch the gradients are the mean, before there are none."""
        if not self.cleared:
            self.begin_batch()
        for group in self.param_groups:
            if group.pop("begins"):  # hooks before the step may have set another rate since the gradients were cleared
                group["first_lr"] = group["lr"]
            group["passed"] += self.cleared
            group["gathered"] += 1
            ended = group["passed"] >= self.steps_per_epoch  # later than by one, if the step of the last batch was skipped
            for p in group["params"]:
                gradient, p.grad = p.grad, None
                if gradient is not None:
                    self.state[p]["sum"] = self.state[p].get("sum", 0) + gradient
                if ended and "sum" in self.state.get(p, ()):
                    p.grad = self.state[p].pop("sum") / group["gathered"]
            if ended:
                group.update(passed=group["passed"] % self.steps_per_epoch, gathered=0, lr=group["first_lr"], last_lr=group["lr"])
        self.cleared = 0


def restore_rates(optimizer: Optimizer, *_: Any) -> None:
    """Give the groups the rates of the schedule again, unless something set others within the step."""
    for group in optimizer.param_groups:
        last = group.pop("last_lr", None)
        if last is not None and group["lr"] == group["first_lr"]:
            group["lr"] = last


def gd(
    params,
    steps_per_epoch: int,
    *,
    lr: Annotated[float, Range(1e-2, 10.0, log=True), Bounds(0)] = 0.1,
    weight_decay: Annotated[float, Range(1e-6, 1e-2, log=True), Bounds(0)] = 5e-4,
) -> SGD:
    """Full-batch gradient descent: `w -= lr * (g + weight_decay * w)` once per epoch, g the mean of the gradients of its batches.

    All batches count equally, even a smaller last batch. Penalties and clipping act on the gradient of each batch, before the mean: for
    a penalty the result is the same; clipping bounds the mean too, but differs from clipping the mean. The rate is that of the epoch's
    first batch. A batch without finite gradients (in 16 bits) is left out of the mean.

    Cauchy 1847; Ruder 2016, arXiv:1609.04747.
    """
    return FullBatch(params, steps_per_epoch, lr, weight_decay)
