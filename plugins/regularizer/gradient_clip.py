from typing import Annotated

from lightning.pytorch import Callback, LightningModule, Trainer
from torch.nn.utils import clip_grad_norm_
from torch.optim import Optimizer

from autoopt.domain import Acts, Bounds, Range


class GradientClip(Callback):
    def __init__(self, norm: float):
        self.norm = norm

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer) -> None:
        clip_grad_norm_((p for group in optimizer.param_groups for p in group["params"]), self.norm)


def gradient_clip(
    *, norm: Annotated[float, Range(0.1, 10.0, log=True), Bounds(above=0)] = 1.0
) -> Annotated[Callback, Acts(order="middle", clips=True)]:
    """Scales the gradient of all parameters together down to the length `norm` if it is longer, after penalties and before noise.

    Pascanu et al. 2013, arXiv:1211.5063.
    """
    return GradientClip(norm)
