"""The value of each batch of a metric that a user's module logs as a mean over batches."""

from typing import Any

import lightning.pytorch as L
import torch
from torch import Tensor

from autoopt.data.parts import named_on_test, on_test
from autoopt.trial import metrics


class ByBatch(L.Callback):
    """Collects one metric batch by batch, from the running sums of which Lightning makes its mean.

    A metric that is no mean over batches (a torchmetrics object, a sum, a value logged at the end of the epoch) has no such sums. With
    several loaders, the name of the metric says which loader it belongs to.
    """

    def __init__(self, metric: str | None):
        self.metric = metric
        self.sums: list[tuple[float, float]] = [(0.0, 0.0)]

    def on_test_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, *_: Any) -> None:
        self.on_validation_batch_end(trainer, pl_module)

    def on_validation_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, *_: Any) -> None:
        if self.metric is None:
            return
        results = trainer._results
        assert results is not None
        of_epochs = [each for _, each in results.valid_items() if each.meta.on_epoch]
        named = {name: each for each in of_epochs for name in results._forked_name(each, on_step=False)}  # logged by step too it has both
        result = named_on_test(named).get(on_test(self.metric))
        if result is not None and result.is_tensor and result.meta.is_mean_reduction:
            self.sums.append((float(result.value), float(result.cumulated_batch_size)))

    def resamples(self) -> tuple[list[float], int]:
        """The mean on resamples of the batches, and the number of batches; nothing if there are fewer than two batches."""
        sums = torch.tensor(self.sums, dtype=torch.float64).diff(dim=0)
        sums = sums[sums[:, 1] > 0]  # it may be logged for some batches alone
        if len(sums) < 2:
            return [], 0
        return metrics.on_resamples(mean_of, sums[:, 0], sums[:, 1])


def mean_of(values: Tensor, weights: Tensor) -> float:
    """The mean over batches, of their values times their weights."""
    return float(values.sum() / weights.sum())
