import math

from torch import nn

from autoopt.task import Task


def linear(task: Task) -> nn.Module:
    """One linear layer over the flattened input: logistic regression, or linear regression.

    Cox 1958 (logistic), Gauss 1809 (least squares).
    """
    return nn.Sequential(nn.Flatten(), nn.Linear(math.prod(task.input_shape), task.outputs))
