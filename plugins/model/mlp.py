import math
from typing import Annotated

import torch
from torch import Tensor, nn

from autoopt.data.task import Task
from autoopt.domain import Bounds, Choice, Range
from autoopt.plugins.model.mean_embedding import MeanEmbedding


class Residual(nn.Module):
    """`x + branch(x)`."""

    def __init__(self, branch: nn.Module):
        super().__init__()
        self.branch = branch

    def forward(self, inputs: Tensor) -> Tensor:
        return inputs + self.branch(inputs)


class Dense(nn.Module):
    """The inputs (N, F) and the outputs of a layer over them (N, W), joined: (N, F + W)."""

    def __init__(self, layer: nn.Module):
        super().__init__()
        self.layer = layer

    def forward(self, inputs: Tensor) -> Tensor:
        return torch.cat([inputs, self.layer(inputs)], dim=1)


def mlp(
    task: Task,
    *,
    width: Annotated[int, Range(16, 512, log=True), Bounds(1)] = 128,
    depth: Annotated[int, Range(1, 6), Bounds(1)] = 2,
    connection: Annotated[str, Choice("plain", "residual", "dense")] = "plain",
) -> nn.Module:
    """`depth` hidden layers of `width` units with ReLU, over the flattened input, and a linear layer.

    Residual: from the second layer on, each takes the ReLU of its input, and adds to the input. Dense: each layer sees the input and
    all the layers before it. For tokens, the input is the mean of the words' embeddings, which are `width` wide.

    Rumelhart et al. 1986; residual: He et al. 2016, arXiv:1603.05027; dense: Huang et al. 2017, arXiv:1608.06993;
    tokens: Iyyer et al. 2015, DOI 10.3115/v1/P15-1162.
    """
    layers: list[nn.Module] = [MeanEmbedding(task.tokens, width) if task.tokens else nn.Flatten()]
    features = width if task.tokens else math.prod(task.input_shape)
    for number in range(depth):
        layer = nn.Linear(features, width)
        if connection == "residual":  # with the ReLU last, a branch could only add to its input, and would never leave 0
            layers.append(Residual(nn.Sequential(nn.ReLU(), layer)) if number else layer)
        else:
            active = nn.Sequential(layer, nn.ReLU())
            layers.append(Dense(active) if connection == "dense" else active)
        features = width + (features if connection == "dense" else 0)
    end = [nn.ReLU()] if connection == "residual" else []
    return nn.Sequential(*layers, *end, nn.Linear(features, task.outputs))
