import math

from torch import nn

from autoopt.data.task import Task
from autoopt.plugins.model.mean_embedding import MeanEmbedding


def linear(task: Task) -> nn.Module:
    """One linear layer over the flattened input: logistic regression, or linear regression.

    For tokens, the input is the share of each word in the text: the output is the mean of a vector per word.

    Cox 1958 (logistic), Gauss 1809 (least squares).
    """
    if task.tokens:
        return MeanEmbedding(task.tokens, task.outputs)
    return nn.Sequential(nn.Flatten(), nn.Linear(math.prod(task.input_shape), task.outputs))
