from typing import Annotated

from torch import Tensor, nn

from autoopt.data.task import Task
from autoopt.domain import Bounds, Range, Unavailable


class Residual(nn.Module):
    """`ReLU(shortcut(x) + branch(x))`."""

    def __init__(self, channels: int, width: int, stride: int):
        super().__init__()
        self.branch = nn.Sequential(
            nn.Conv2d(channels, width, 3, stride, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width),
        )
        same = channels == width and stride == 1
        self.shortcut = nn.Identity() if same else nn.Sequential(nn.Conv2d(channels, width, 1, stride, bias=False), nn.BatchNorm2d(width))
        self.activation = nn.ReLU()

    def forward(self, inputs: Tensor) -> Tensor:
        return self.activation(self.shortcut(inputs) + self.branch(inputs))


def resnet(
    task: Task,
    *,
    depth: Annotated[int, Range(1, 9), Bounds(1)] = 3,
    width: Annotated[int, Range(8, 64, log=True), Bounds(1)] = 16,
) -> nn.Module:
    """The residual network for small images: three stages of n = `depth` blocks of two convolutions, 6n + 2 layers in all.

    The stages have `width`, 2 `width` and 4 `width` channels; the second and the third begin with a stride of 2 and a projected
    shortcut (option B). The mean over all pixels and a linear layer follow.

    He et al. 2015, arXiv:1512.03385, section 4.2; there n = 3, 5, 7, 9 and width 16.

    Raises:
        Unavailable: the inputs are not images (C, H, W).
    """
    if not task.images:
        raise Unavailable(f"resnet needs images (C, H, W), the inputs have the shape {task.input_shape}")
    layers: list[nn.Module] = [nn.Conv2d(task.input_shape[0], width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
    channels = width
    for stage in range(3):
        for number in range(depth):
            layers.append(Residual(channels, width * 2**stage, 2 if stage and not number else 1))
            channels = width * 2**stage
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, task.outputs))
