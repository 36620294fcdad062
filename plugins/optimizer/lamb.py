from math import inf
from typing import Annotated

from pytorch_optimizer import Lamb

from autoopt.domain import Bounds, Range


class Uncapped(Lamb):
    """The length of a tensor counts as it is."""

    clamp = inf


def lamb(
    params,
    *,
    lr: Annotated[float, Range(1e-4, 0.1, log=True), Bounds(0)] = 1e-3,
    weight_decay: Annotated[float, Range(1e-6, 1.0, log=True), Bounds(0)] = 1e-2,
    beta1: Annotated[float, Range(0.8, 0.99), Bounds(0, below=1)] = 0.9,
) -> Lamb:
    """Steps of `lr * |w| * u / |u|` for each tensor, with Adam's direction and the decay `u = m / (sqrt(v) + eps) + weight_decay * w`.

    Where |w| or |u| is 0, and for what is never decayed (biases, norms), the step is `lr * u`. As in the authors' own code, m and v are
    not corrected for their bias.

    You et al. 2020, arXiv:1904.00962.
    """
    groups = [{**group, "adam": group.get("weight_decay") == 0.0} for group in params]
    return Uncapped(groups, lr=lr, betas=(beta1, 0.999), weight_decay=weight_decay, weight_decouple=False, adam_debias=True)
