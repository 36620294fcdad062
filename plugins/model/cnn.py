from typing import Annotated

from torch import nn

from autoopt.data.task import Task
from autoopt.domain import Bounds, Choice, Range, Unavailable


def cnn(
    task: Task,
    *,
    width: Annotated[int, Range(8, 128, log=True), Bounds(1)] = 32,
    depth: Annotated[int, Range(1, 6), Bounds(1)] = 3,
    convolution: Annotated[str, Choice("full", "depthwise_separable")] = "full",
) -> nn.Module:
    """`depth` blocks of 3x3 convolution to `width` channels, batch norm and ReLU, the mean over all pixels, and a linear layer.

    While the image is larger than 4 pixels, 2x2 max pooling follows a block.
    Depthwise separable: from the second block on, a convolution per channel and one over the channels, each with its norm and ReLU.

    LeCun et al. 1998; batch norm: Ioffe & Szegedy 2015, arXiv:1502.03167; separable: Howard et al. 2017, arXiv:1704.04861.

    Raises:
        Unavailable: the inputs are not images (C, H, W).
    """
    if len(task.input_shape) != 3:
        raise Unavailable(f"cnn needs images (C, H, W), the inputs have the shape {task.input_shape}")
    channels, size = task.input_shape[0], min(task.input_shape[1:])
    layers: list[nn.Module] = []
    for number in range(depth):
        if convolution == "depthwise_separable" and number > 0:
            layers += [*block(channels, channels, 3, groups=channels), *block(channels, width, 1)]
        else:
            layers += block(channels, width, 3)
        channels = width
        if size > 4:
            layers.append(nn.MaxPool2d(2))
            size //= 2
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, task.outputs))


def block(channels: int, width: int, size: int, groups: int = 1) -> list[nn.Module]:
    convolution = nn.Conv2d(channels, width, size, padding=size // 2, groups=groups, bias=False)
    return [convolution, nn.BatchNorm2d(width), nn.ReLU()]
