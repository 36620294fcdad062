from typing import Annotated

from torch.optim import Adagrad

from autoopt.domain import Bounds, Range
from autoopt.plugins.optimizer.fused import fused


def adagrad(
    params,
    *,
    lr: Annotated[float, Range(1e-3, 1.0, log=True), Bounds(0)] = 1e-2,
    weight_decay: Annotated[float, Bounds(0)] = 0.0,
) -> Adagrad:
    """Steps of `lr * g / (sqrt(G) + eps)`, G the sum of all g² so far.

    Duchi et al. 2011, JMLR 12:2121-2159.
    """
    return Adagrad(params, lr=lr, weight_decay=weight_decay, fused=fused(params, "cuda", "mps"))
