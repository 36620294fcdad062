from collections.abc import Callable
from typing import Annotated

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from autoopt.deployment.packed import unpacked
from autoopt.deployment.quantized import HISTOGRAM_LEVELS, calibrated
from autoopt.domain import Acts, Range, Unavailable

LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)


class FakeWeight(nn.Module):
    """A weight rounded to one of -64 to 64 times a scale for each output channel; the gradient goes through as it is."""

    def forward(self, weight: Tensor) -> Tensor:
        scale = (weight.detach().abs().flatten(1).amax(1) / HISTOGRAM_LEVELS).clamp(min=torch.finfo(weight.dtype).tiny)
        scale = scale.view(-1, *[1] * (weight.ndim - 1))
        rounded = (weight.detach() / scale).round() * scale
        return weight + (rounded - weight.detach())


class FakeActivation(nn.Module):
    """An activation rounded to uint8, in a range that follows what is seen in training; no gradient comes from outside of it."""

    def __init__(self, momentum: float):
        super().__init__()
        self.momentum = momentum
        self.register_buffer("range", None)

    def forward(self, inputs: Tensor) -> Tensor:
        if self.training or self.range is None:
            seen = torch.stack([inputs.detach().amin().clamp(max=0), inputs.detach().amax().clamp(min=0)])  # 0 is a value of its own
            self.range = seen if self.range is None else self.range.lerp(seen, self.momentum)
        low, high = self.range
        scale = ((high - low) / 255).clamp(min=torch.finfo(inputs.dtype).tiny)
        return torch.fake_quantize_per_tensor_affine(inputs, scale, (-low / scale).round().int(), 0, 255)


def quantize_aware(
    model: nn.Module,
    batches,
    finetune: Callable[..., nn.Module],
    *,
    epochs: Annotated[int, Range(1, 10)] = 5,
    momentum: float = 0.01,
) -> Annotated[nn.Module, Acts(last=True)]:
    """Fine-tuning with weights and activations rounded as int8 will round them: r = S (q - Z), q = clamp(round(r / S) + Z); then int8.

    The weights of linear and convolutional layers have a scale for each output channel; the range of what goes into such a layer is a
    moving average of the least and greatest values. Rounding passes the gradient on. Runs in ONNX Runtime, on the CPU, as
    `quantize_static` does.

    Args:
        momentum: the share of the newest batch in the moving average.

    Jacob et al. 2018, arXiv:1712.05877.

    Raises:
        Unavailable: most of the weights are in layers that have no int8 form.
    """
    trained = unpacked(model)
    layers = [layer for layer in trained.modules() if type(layer) in LAYERS]
    if not layers:
        raise Unavailable("the model has no linear or convolutional layer")
    hooks = [faked(layer, momentum) for layer in layers]
    finetune(trained, epochs)
    for layer, hook in zip(layers, hooks, strict=True):
        hook.remove()
        parametrize.remove_parametrizations(layer, "weight", leave_parametrized=True)
    return calibrated(trained, batches, "minmax")


def faked(layer: nn.Module, momentum: float) -> torch.utils.hooks.RemovableHandle:
    """Round the weight of a layer and what goes into it; the hook ends the latter."""
    parametrize.register_parametrization(layer, "weight", FakeWeight())
    activation = FakeActivation(momentum).train()

    def rounded(layer: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return (activation.train(layer.training)(inputs[0]), *inputs[1:])

    return layer.register_forward_pre_hook(rounded)
