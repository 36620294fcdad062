"""An optimizer of your own, as a plain function with its ranges."""

from typing import Annotated

import torch

from autoopt import Range


class Signum(torch.optim.Optimizer):
    @torch.no_grad()
    def step(self, closure=None):
        loss = closure and torch.enable_grad()(closure)()
        for group in self.param_groups:
            for w in (w for w in group["params"] if w.grad is not None):
                m = self.state[w].setdefault("m", torch.zeros_like(w)).lerp_(w.grad, 1 - group["momentum"])
                w -= group["lr"] * m.sign()
        return loss


def sign_momentum(
    params,
    *,
    lr: Annotated[float, Range(1e-5, 1e-1, log=True)] = 1e-3,
    momentum: Annotated[float, Range(0.5, 0.99)] = 0.9,
) -> torch.optim.Optimizer:
    """Steps of `lr * sign(m)`, m the running mean of the gradient.

    Bernstein et al. 2018, arXiv:1802.04434.
    """
    return Signum(params, {"lr": lr, "momentum": momentum})
