from math import isfinite
from typing import Annotated

from torch.optim import Optimizer
from torch.optim.lr_scheduler import ReduceLROnPlateau

from autoopt.domain import Bounds, Range


class Plateau(ReduceLROnPlateau):
    def _is_better(self, a: float, best: float) -> bool:
        """Compare by a share of the best value's size: torch's own comparison is wrong for values below 0."""
        ahead = a - best if self.mode == "max" else best - a
        return ahead > (self.threshold * abs(best) if isfinite(best) else 0.0)


def plateau(
    optimizer: Optimizer,
    total_steps: int,
    steps_per_epoch: int,
    direction: str,
    *,
    factor: Annotated[float, Range(0.05, 0.7, log=True), Bounds(0, below=1)] = 0.1,
    patience: Annotated[float, Range(0.02, 0.3), Bounds(0, 1)] = 0.1,
) -> ReduceLROnPlateau:
    """Multiplies the rate by `factor` when the objective has not improved for more than the fraction `patience` of the epochs.

    An improvement is more than a ten-thousandth of the best value's size. It follows the validation loss if no objective is
    measured while training.

    He et al. 2015, arXiv:1512.03385, who divided by 10 at each plateau of the error.
    """
    epochs = total_steps // steps_per_epoch
    mode = {"maximize": "max", "minimize": "min"}[direction]
    return Plateau(optimizer, mode=mode, factor=factor, patience=round(patience * epochs))
