from typing import Annotated

from lightning.pytorch import Callback
from torch import Tensor

from autoopt.domain import Bounds, Range
from autoopt.plugins.regularizer.penalty import Penalty


def l2(*, strength: Annotated[float, Range(1e-6, 1e-1, log=True), Bounds(0)] = 1e-4) -> Callback:
    """Adds `strength * w`, the gradient of `strength / 2 * w²`, to the gradient of every weight (not of what is never decayed).

    The optimizer scales and averages it like the loss's gradient, unlike decoupled weight decay, which shrinks the weights directly.

    Hoerl & Kennard 1970, DOI 10.1080/00401706.1970.10488634.
    """
    return Penalty(strength, themselves)


def themselves(weights: list[Tensor]) -> list[Tensor]:
    return weights
