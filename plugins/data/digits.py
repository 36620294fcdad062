from typing import Annotated

import numpy
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from autoopt.data.examples import Examples
from autoopt.domain import Bounds
from autoopt.errors import BadInput


def digits(*, train: Annotated[int | None, Bounds(10)] = None) -> Examples:
    """1,797 handwritten digits in grey, (1, 8, 8) in [0, 1], ten classes.

    `train` is the number of training examples, with the classes in proportion; a quarter of the rest validates, three quarters test.

    Alpaydin & Kaynak 1998, DOI 10.24432/C50P49.

    Raises:
        BadInput: `train` is less than 10, or leaves less than 40 images for validation and test.
    """
    images, labels = load_digits(return_X_y=True)
    inputs = torch.from_numpy(images).float().reshape(-1, 1, 8, 8) / 16
    targets = torch.from_numpy(labels).long()
    splits = None if train is None else split(labels, train)
    return Examples(inputs, targets, "classification", tuple("0123456789"), splits)


def split(labels: numpy.ndarray, train: int) -> dict[str, torch.Tensor]:
    most = len(labels) - 40
    if not 10 <= train <= most:
        raise BadInput(f"data.digits.train={train}: expected 10 to {most}")
    chosen, rest = train_test_split(numpy.arange(len(labels)), train_size=train, stratify=labels, random_state=0)
    validation, test = train_test_split(rest, test_size=0.75, stratify=labels[rest], random_state=0)
    parts = {"train": chosen, "validation": validation, "test": test}
    return {name: torch.from_numpy(numpy.sort(part)) for name, part in parts.items()}
