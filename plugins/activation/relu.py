from torch import nn


def relu() -> nn.Module:
    """`max(0, x)`.

    Nair & Hinton 2010 (ICML).
    """
    return nn.ReLU()
