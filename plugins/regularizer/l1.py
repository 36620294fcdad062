from typing import Annotated

import torch
from lightning.pytorch import Callback
from torch import Tensor

from autoopt.domain import Bounds, Range
from autoopt.plugins.regularizer.penalty import Penalty


def l1(*, strength: Annotated[float, Range(1e-7, 1e-3, log=True), Bounds(0)] = 1e-5) -> Callback:
    """Adds `strength * sign(w)`, the subgradient of `strength * |w|`, to the gradient of every weight (not of what is never decayed).

    Tibshirani 1996, DOI 10.1111/j.2517-6161.1996.tb02080.x.
    """
    return Penalty(strength, signs)


def signs(weights: list[Tensor]) -> list[Tensor]:
    """Of complex weights w / |w|, which the faster function has not."""
    return [w.sgn() for w in weights] if any(w.is_complex() for w in weights) else list(torch._foreach_sign(weights))
