from functools import partial
from typing import Annotated

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import WeightAveraging
from torch import Tensor

from autoopt.domain import Acts, Bounds, Choice


class EMA(WeightAveraging):
    """Puts the mean in place of the weights at the end of the training, and leaves the module alone from then on."""

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        for module in pl_module.modules():  # what `weight_norm` computes from its parameters at each pass cannot be copied with its graph
            vars(module).update({name: v.detach() for name, v in vars(module).items() if isinstance(v, Tensor) and not v.is_leaf})
        super().setup(trainer, pl_module, stage)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        super().on_train_end(trainer, pl_module)
        self._average_model = None  # else each later validation would be one of the last mean


def ema(*, decay: Annotated[float, Choice(0.9, 0.99, 0.999, 0.9999), Bounds(0, below=1)] = 0.999) -> Annotated[Callback, Acts(last=True)]:
    """After each step `mean = d * mean + (1 - d) * weights`; validation and the final model use the mean, for batch norms too.

    After n steps d is the smaller of `decay` and `(1 + n) / (10 + n)`, so that a short training does not stay near its start.

    Polyak & Juditsky 1992, DOI 10.1137/0330046; with the growing d: Abadi et al. 2016, arXiv:1603.04467 (its `ExponentialMovingAverage`).
    """
    return EMA(multi_avg_fn=partial(average, decay))


def average(decay: float, means: list[Tensor], weights: list[Tensor], count: Tensor) -> None:
    steps = int(count)
    if means[0].is_floating_point() or means[0].is_complex():
        torch._foreach_lerp_(means, weights, 1 - min(decay, (1 + steps) / (10 + steps)))
    else:
        torch._foreach_copy_(means, weights)
