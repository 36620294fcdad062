from typing import Annotated

from torch.optim import AdamW

from autoopt.domain import Bounds, Range
from autoopt.plugins.optimizer.fused import fused


def adamw(
    params,
    *,
    lr: Annotated[float, Range(1e-5, 1e-1, log=True), Bounds(0)] = 1e-3,
    weight_decay: Annotated[float, Range(1e-6, 1.0, log=True), Bounds(0)] = 1e-2,
    beta1: Annotated[float, Range(0.8, 0.99), Bounds(0, below=1)] = 0.9,
    beta2: Annotated[float, Bounds(0, below=1)] = 0.999,
) -> AdamW:
    """Adam with weight decay decoupled from the gradient step: `w *= 1 - lr * weight_decay`, then Adam's step.

    Loshchilov & Hutter 2019, arXiv:1711.05101.
    """
    return AdamW(params, lr=lr, betas=(beta1, beta2), weight_decay=weight_decay, fused=fused(params))
