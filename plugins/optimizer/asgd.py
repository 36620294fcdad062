from typing import Annotated, Any

import torch
from torch.optim import SGD, Optimizer

from autoopt.domain import Bounds, Range
from autoopt.plugins.optimizer.fused import fused


class Averaged(SGD):
    """SGD that is evaluated at the mean of its weights."""

    def __init__(self, params: Any, start: int, lr: float, weight_decay: float):
        self.start = start
        super().__init__(params, lr=lr, weight_decay=weight_decay, fused=fused(params))
        self.register_step_post_hook(update_average)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """A group that a callback adds later has a mean of its own steps, from the same step on."""
        taken = self.param_groups[0]["steps"] if self.param_groups else 0
        super().add_param_group({"start": max(0, self.start - taken), "steps": 0, "shows_mean": False, **param_group})

    def train(self) -> None:
        self.show(False)

    def eval(self) -> None:
        self.show(True)

    @torch.no_grad()
    def show(self, mean: bool) -> None:
        """Exchange the weights and their means."""
        for group in self.param_groups:
            held = [p for p in group["params"] if p in self.state and group["shows_mean"] != mean]
            for p in held:
                self.state[p]["other"], _ = p.clone(), p.copy_(self.state[p]["other"])
            group["shows_mean"] = mean


@torch.no_grad()
def update_average(optimizer: Optimizer, args: Any, kwargs: Any) -> None:
    """Add the weights after a step to their mean."""
    for group in optimizer.param_groups:
        group["steps"] += 1
        if (count := group["steps"] - group["start"]) > 0:
            for p in group["params"]:
                optimizer.state[p].setdefault("other", p.detach().clone()).lerp_(p, 1 / count)


def asgd(
    params,
    total_steps: int,
    *,
    lr: Annotated[float, Range(1e-3, 1.0, log=True), Bounds(0)] = 0.1,
    weight_decay: Annotated[float, Range(1e-6, 1e-2, log=True), Bounds(0)] = 5e-4,
    start: Annotated[float, Range(0.0, 0.9), Bounds(0, 1)] = 0.5,
) -> SGD:
    """Stochastic gradient descent, evaluated at the mean of the weights after all steps beyond the fraction `start`.

    The schedule decides how the rate falls.

    Polyak & Juditsky 1992, DOI 10.1137/0330046.
    """
    return Averaged(params, int(start * total_steps), lr, weight_decay)
