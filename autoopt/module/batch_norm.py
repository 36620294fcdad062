"""New running statistics of batch norms, for weights that no training batch has passed through."""

from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from autoopt.data.batch_layout import as_pair
from autoopt.domain import Unavailable
from autoopt.errors import out_of_memory, summary

NUMBERS = 2**27
"""How many numbers of an epoch's inputs are kept for the batch norms: half a gigabyte of float32."""


def batch_norms(model: nn.Module) -> list[_BatchNorm]:
    """The batch norms that gather statistics in training; a module may have others in evaluation mode, which stay fixed."""
    return [m for m in model.modules() if isinstance(m, _BatchNorm) and m.training and m.running_mean is not None]


def batch_inputs(batch: Any) -> list[Tensor]:
    """The inputs of a batch (inputs, targets), of a mapping with images, or of one that is a tensor; empty for a batch in another form."""
    batch = as_pair(batch)
    inputs = batch[0] if isinstance(batch, list | tuple) and batch else batch
    return [inputs] if isinstance(inputs, Tensor) else []


class Passed:
    """The inputs that have passed through a network in an epoch, up to about `NUMBERS` numbers."""

    def __init__(self) -> None:
        self.inputs: list[Tensor] = []
        self.numbers = 0

    def add(self, inputs: list[Tensor]) -> None:
        if self.numbers < NUMBERS:
            self.inputs += inputs
            self.numbers += sum(batch.numel() for batch in inputs)

    def update_bn(self, model: nn.Module) -> None:
        """Set the running statistics to the mean over these batches, and forget the batches.

        Raises:
            Unavailable: the model's `forward` does not take what its batches hold, as a decoder's may not.
        """
        try:
            update_bn(model, self.inputs)
        except Exception as error:
            if out_of_memory(error):
                raise
            told = "it takes the statistics of batch norms again, by forward(inputs of a batch), which the model's forward does not take"
            raise Unavailable(f"{told} ({summary(error)})") from error
        self.inputs, self.numbers = [], 0


@torch.no_grad()
def update_bn(model: nn.Module, batches: Iterable[Tensor]) -> None:
    """Set the running statistics of `batch_norms(model)` to the mean over these batches of inputs."""
    norms = [(norm, norm.momentum) for norm in batch_norms(model)]
    for norm, _ in norms:
        norm.momentum = None  # the running statistics become the mean over all batches
        norm.num_batches_tracked.zero_()  # type: ignore[union-attr]
    for inputs in batches:
        model(inputs)
    for norm, momentum in norms:
        norm.momentum = momentum


def first_numbers(batches: Iterable[Tensor]) -> Iterator[Tensor]:
    """The first batches, up to about `NUMBERS` numbers; those of one example are left out, since they have no variance."""
    seen = 0
    for inputs in batches:
        if seen >= NUMBERS:
            return
        if len(inputs) > 1:
            seen += inputs.numel()
            yield inputs
