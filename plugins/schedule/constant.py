from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR


def constant(optimizer: Optimizer) -> LambdaLR:
    """The base rate at every step.

    Source: the plain form of every optimizer; Bottou et al. 2018, arXiv:1606.04838.
    """
    return LambdaLR(optimizer, lambda step: 1.0)
