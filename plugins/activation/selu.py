from torch import nn


def selu() -> nn.Module:
    """`λ x` where x is positive, else `λ α (exp(x) - 1)`, with λ = 1.0507 and α = 1.6733.

    With weights of mean 0 and variance `1 / fan_in`, it drives the activations to mean 0 and variance 1.

    Klambauer et al. 2017, arXiv:1706.02515.
    """
    return nn.SELU()
