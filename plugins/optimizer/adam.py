from typing import Annotated

from torch.optim import Adam

from autoopt.domain import Bounds, Range
from autoopt.plugins.optimizer.fused import fused


def adam(
    params,
    *,
    lr: Annotated[float, Range(1e-5, 1e-1, log=True), Bounds(0)] = 1e-3,
    beta1: Annotated[float, Range(0.8, 0.99), Bounds(0, below=1)] = 0.9,
    weight_decay: Annotated[float, Bounds(0)] = 0.0,
) -> Adam:
    """Steps of `lr * m / (sqrt(v) + eps)`, m and v the bias-corrected running means of g and g².

    `weight_decay` is a penalty, added to g as in the paper's successors; the paper has none (`adamw` decays the weights themselves).

    Kingma & Ba 2014, arXiv:1412.6980.
    """
    return Adam(params, lr=lr, betas=(beta1, 0.999), weight_decay=weight_decay, fused=fused(params))
