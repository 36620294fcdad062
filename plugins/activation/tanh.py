from torch import nn


def tanh() -> nn.Module:
    """`(exp(x) - exp(-x)) / (exp(x) + exp(-x))`.

    LeCun et al. 1998, DOI 10.1007/3-540-49430-8_2.
    """
    return nn.Tanh()
