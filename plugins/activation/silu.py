from torch import nn


def silu() -> nn.Module:
    """`x * σ(x)`, σ the logistic function; also called swish.

    Elfwing et al. 2017, arXiv:1702.03118; Ramachandran et al. 2017, arXiv:1710.05941.
    """
    return nn.SiLU()
