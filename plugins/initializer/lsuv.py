from typing import Any

import torch
from torch import Tensor, nn

from autoopt.domain import Unavailable
from autoopt.module.probing import probing
from autoopt.plugins.initializer.fans import initialize, layers_of, orthonormal, set_weight


def lsuv(model: nn.Module, batch: tuple[Tensor, Tensor] | None) -> None:
    """Orthonormal weights, divided in each layer by the standard deviation of its outputs for a training batch; biases zero.

    It sets linear and convolution layers, in the order in which they act. Without a bias the outputs scale with the weights, so
    that one division makes their variance 1; meanwhile norm layers and dropout are in evaluation mode.

    Mishkin & Matas 2015, arXiv:1511.06422.

    Raises:
        Unavailable: there is no training batch.
    """
    if batch is None:
        raise Unavailable("lsuv needs a training batch, and there is none here")
    initialize(model, orthonormal)
    hooks = [layer.register_forward_hook(UnitVariance()) for layer in layers_of(model)]
    with torch.no_grad(), probing(model, hooks):
        model(batch[0])


class UnitVariance:
    """Scales a layer's outputs to the variance 1 when it acts for the first time."""

    def __init__(self) -> None:
        self.done = False

    def __call__(self, layer: Any, inputs: Any, outputs: Tensor) -> Tensor | None:
        deviation = outputs.std()
        if self.done or not deviation > 0:
            return None
        self.done = True
        set_weight(layer, layer.weight / deviation)
        return outputs / deviation
