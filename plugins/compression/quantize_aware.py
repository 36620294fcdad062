from collections.abc import Callable
from typing import Annotated

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from autoopt.deployment.packed import unpacked
from autoopt.deployment.quantized import HISTOGRAM_LEVELS, calibrated
from autoopt.domain import Acts, Bounds, Range, Unavailable

LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)


class FakeWeight(nn.Module):
    """A weight rounded to one of -64 to 64 times a scale for each output channel; the gradient goes through as it is."""

    def forward(self, weight: Tensor) -> Tensor:
        scale = (weight.detach().abs().flatten(1).amax(1) / HISTOGRAM_LEVELS).clamp(min=torch.finfo(weight.dtype).tiny)
        scale = scale.view(-1, *[1] * (weight.ndim - 1))
        rounded = (weight.detach() / scale).round() * scale
        return weight + (rounded - weight.detach())


class FakeActivation(nn.Module):
    """An activation rounded to uint8, in a range that follows the training; values outside of it get no gradient.

    The range is stored with the weights, so that those of the best epoch have the range of that epoch.
    """

    def __init__(self, momentum: float):
        super().__init__()
        self.momentum = momentum
        self.register_buffer("range", torch.full((2,), torch.nan))  # until the first batch

    def forward(self, inputs: Tensor) -> Tensor:
        if self.training or self.range.isnan().any():
            seen = torch.stack([inputs.detach().amin().clamp(max=0), inputs.detach().amax().clamp(min=0)])  # 0 is represented exactly
            seen = seen.float()  # in 16 bits a moving average stands still, and the kernel of a GPU takes no such scale
            self.range = torch.where(self.range.isnan(), seen, self.range.float().lerp(seen, self.momentum))
        low, high = self.range
        scale = ((high - low) / 255).clamp(min=torch.finfo(self.range.dtype).tiny)
        return torch.fake_quantize_per_tensor_affine(inputs, scale, (-low / scale).round().int(), 0, 255)


def quantize_aware(
    model: nn.Module,
    batches,
    finetune: Callable[..., nn.Module],
    *,
    epochs: Annotated[int, Range(1, 10), Bounds(1)] = 5,
    momentum: Annotated[float, Bounds(high=1, above=0)] = 0.01,
) -> Annotated[nn.Module, Acts(last=True, dense=True)]:
    """Fine-tunes with weights and activations rounded as in int8: r = S (q - Z), q = clamp(round(r / S) + Z); then converts to int8.

    The weights of linear and convolutional layers have a scale for each output channel; the range of a layer's inputs is a moving
    average of the least and greatest values, and is the same once deployed. Rounding passes the gradient on. Other tensors have the
    ranges that 512 training examples show. Runs in ONNX Runtime, on the CPU, as `quantize_static` does.

    Args:
        momentum: the share of the newest batch in the moving average.

    Jacob et al. 2018, arXiv:1712.05877.

    Raises:
        Unavailable: most of the weights are in layers that have no int8 form.
    """
    trained = unpacked(model)
    layers = {name: layer for name, layer in trained.named_modules() if type(layer) in LAYERS}
    if not layers:
        raise Unavailable("the model has no linear or convolutional layer")
    activations = {name: FakeActivation(momentum).to(layer.weight.device).train() for name, layer in layers.items()}
    hooks = [faked(layer, activations[name]) for name, layer in layers.items()]
    finetune(trained, epochs)
    for layer, hook in zip(layers.values(), hooks, strict=True):
        hook.remove()
        del layer.fake
        parametrize.remove_parametrizations(layer, "weight", leave_parametrized=True)
    ranges = {name: (float(fake.range[0]), float(fake.range[1])) for name, fake in activations.items() if not fake.range.isnan().any()}
    return calibrated(trained, batches, "minmax", ranges)


def faked(layer: nn.Module, activation: FakeActivation) -> torch.utils.hooks.RemovableHandle:
    """Round the weight and the inputs of a layer; removing the hook ends the rounding of the inputs."""
    parametrize.register_parametrization(layer, "weight", FakeWeight())
    layer.fake = activation

    def rounded(layer: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return (activation.train(layer.training)(inputs[0]), *inputs[1:])

    return layer.register_forward_pre_hook(rounded)
