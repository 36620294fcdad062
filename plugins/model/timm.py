from typing import Any

import torch
from torch import Tensor, nn

from autoopt.catalogue import installation
from autoopt.data.task import Task
from autoopt.domain import Unavailable
from autoopt.errors import summary

try:
    from timm import create_model
except (ImportError, RuntimeError) as error:  # timm needs torchvision, which raises RuntimeError where it does not fit torch
    create_model, missing = None, summary(error)


class Normalized(nn.Module):
    """A model whose inputs are normalised by the mean and the deviation of its pretraining."""

    def __init__(self, model: nn.Module, mean: Tensor, deviation: Tensor):
        super().__init__()
        self.model = model
        self.register_buffer("mean", mean, persistent=False)
        self.register_buffer("deviation", deviation, persistent=False)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.model((inputs - self.mean) / self.deviation)


def timm(task: Task, *, name: str, pretrained: bool = False) -> nn.Module:
    """The model of this name from timm's collection, for the channels, the size and the classes of the task.

    With `pretrained` it downloads timm's weights, and normalises the images as in their training, in place of `split.normalise`.

    Wightman 2019, DOI 10.5281/zenodo.4414861.

    Raises:
        Unavailable: timm cannot be imported, or the inputs are not images (C, H, W).
    """
    if create_model is None:
        fit = f"{installation('autoopt', 'timm')}, with a torchvision that fits torch"
        raise Unavailable(f"timm cannot be imported here: {missing} ({fit})")
    if not task.images:
        raise Unavailable(f"timm needs images (C, H, W), the inputs have the shape {task.input_shape}")
    channels, *size = task.input_shape
    arguments: dict[str, Any] = {"pretrained": pretrained, "num_classes": task.outputs, "in_chans": channels}
    try:
        model = create_model(name, img_size=tuple(size), **arguments)
    except TypeError as refused:  # models for images of every size, such as convolutional networks, do not have this argument
        if "img_size" not in str(refused):
            raise
        model = create_model(name, **arguments)
    return as_trained(model, task) if pretrained else model


def as_trained(model: nn.Module, task: Task) -> nn.Module:
    """The model for images in the scale of the task."""
    mean, deviation = (torch.tensor(model.pretrained_cfg[key]).view(-1, 1, 1) for key in ("mean", "std"))
    if task.input_shape[0] != len(mean):
        mean, deviation = mean.mean(0, keepdim=True), deviation.mean(0, keepdim=True)
    if task.pixels is not None:
        mean, deviation = task.pixels.apply(mean), (deviation / task.pixels.deviation).float()
    return Normalized(model, mean, deviation)
