import torch
from sklearn.datasets import load_breast_cancer

from autoopt.data.examples import Examples


def breast_cancer() -> Examples:
    """569 tumours, 30 measurements each; malignant or benign.

    Wolberg et al. 1995, DOI 10.24432/C5DW2B.
    """
    source = load_breast_cancer()
    return Examples(
        torch.from_numpy(source.data).float(),
        torch.from_numpy(source.target).long(),
        "classification",
        tuple(str(name) for name in source.target_names),
    )
