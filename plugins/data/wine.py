import torch
from sklearn.datasets import load_wine

from autoopt.data.examples import Examples


def wine() -> Examples:
    """178 wines, 13 chemical measurements each; three classes, the growers.

    Aeberhard & Forina 1992, DOI 10.24432/C5PC7J.
    """
    source = load_wine()
    targets = torch.from_numpy(source.target).long()
    return Examples(torch.from_numpy(source.data).float(), targets, "classification", tuple(str(name) for name in source.target_names))
