from typing import Annotated, Any

import torch
from pytorch_optimizer import AdaBelief

from autoopt.domain import Bounds, Range
from autoopt.plugins.optimizer.closure import with_gradients


class Belief(AdaBelief):
    """A weight whose first gradient comes late begins as if the earlier ones had been the same, and as surprising as a first one.

    The bias is corrected by the steps of its group: after a thousand its steps would be three times as long as those of the others.
    """

    def __init__(self, *arguments: Any, **named: Any):
        super().__init__(*arguments, **named)
        with_gradients(self, self.begin)

    @torch.no_grad()
    def begin(self) -> None:
        for group in self.param_groups:
            (beta1, beta2), steps = group["betas"], group.get("step", 0)
            for p in group["params"]:
                if steps and p.grad is not None and p.is_floating_point() and not self.state.get(p):
                    surprise = (beta1 * p.grad) ** 2
                    surprise = torch.maximum(surprise, surprise.mean())  # by chance a single number is much too small
                    self.state[p].update(exp_avg=(1 - beta1**steps) * p.grad, exp_avg_var=(1 - beta2**steps) * surprise)


def adabelief(
    params,
    *,
    lr: Annotated[float, Range(1e-5, 1e-1, log=True), Bounds(0)] = 1e-3,
    weight_decay: Annotated[float, Range(1e-6, 1.0, log=True), Bounds(0)] = 1e-2,
    beta1: Annotated[float, Range(0.8, 0.99), Bounds(0, below=1)] = 0.9,
) -> AdaBelief:
    """Steps of `lr * m / (sqrt(s) + eps)`, s the running mean of (g - m)², the surprise; both corrected for their bias, decay decoupled.

    Zhuang et al. 2020, arXiv:2010.07468.
    """
    return Belief(params, lr=lr, betas=(beta1, 0.999), weight_decay=weight_decay)
