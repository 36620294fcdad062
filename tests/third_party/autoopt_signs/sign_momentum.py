from typing import Annotated

import torch
from torch.optim import Optimizer

from autoopt.domain import Range


class SignMomentum(Optimizer):
    @torch.no_grad()
    def step(self, closure=None):
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                state = self.state[parameter]
                if not state:
                    state["mean"] = torch.zeros_like(parameter)
                mean = state["mean"].lerp_(parameter.grad, 1 - group["momentum"])
                parameter.mul_(1 - group["lr"] * group["weight_decay"]).add_(mean.sign(), alpha=-group["lr"])
        return loss


def sign_momentum(
    params,
    *,
    lr: Annotated[float, Range(1e-5, 1e-2, log=True)] = 1e-4,
    momentum: Annotated[float, Range(0.5, 0.99)] = 0.9,
    weight_decay: Annotated[float, Range(1e-6, 1.0, log=True)] = 1e-4,
) -> Optimizer:
    """signSGD with momentum (Signum): every weight moves by `lr`, against the sign of its running mean gradient.

    `m = momentum * m + (1 - momentum) * g`, then `w -= lr * (sign(m) + weight_decay * w)`.

    Bernstein et al. 2018, arXiv:1802.04434.
    """
    return SignMomentum(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})
