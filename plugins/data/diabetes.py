import torch
from sklearn.datasets import load_diabetes

from autoopt.data.examples import Examples


def diabetes() -> Examples:
    """442 patients, 10 measurements each; a regression of the progress of the disease after a year (25 to 346).

    Efron et al. 2004, DOI 10.1214/009053604000000067.
    """
    inputs, targets = load_diabetes(return_X_y=True, scaled=False)
    return Examples(torch.from_numpy(inputs).float(), torch.from_numpy(targets).float()[:, None], "regression")
