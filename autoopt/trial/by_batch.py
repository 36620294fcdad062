"""The value of each batch of a metric that a user's module logs as a mean over batches."""

from typing import Any

import lightning.pytorch as L
import torch
from torch import Tensor

from autoopt.trial import metrics


class ByBatch(L.Callback):
    """Takes the values of one metric apart, batch by batch, out of the sums that Lightning adds up for its mean.

    A value that is no mean over batches (a torchmetrics object, a sum, what is logged at the end of the epoch) has none. Of several
    loaders the metric is that of one, which its name says.
    """

    def __init__(self, metric: str | None):
        self.metric = metric
        self.sums: list[tuple[float, float]] = [(0.0, 0.0)]

    def on_validation_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, *_: Any) -> None:
        results = trainer._results
        assert results is not None
        for _, result in results.valid_items():
            meta = result.meta
            named = self.metric in results._forked_name(result, on_step=False)  # logged by step too it has both names
            if meta.on_epoch and named and result.is_tensor and meta.is_mean_reduction:
                self.sums.append((float(result.value), float(result.cumulated_batch_size)))

    def resamples(self) -> tuple[list[float], int]:
        """The mean on resamples of the batches, and how many batches there are; nothing where there is one alone, or none."""
        sums = torch.tensor(self.sums, dtype=torch.float64).diff(dim=0)
        if len(sums) < 2:
            return [], 0
        return metrics.on_resamples(mean_of, sums[:, 0], sums[:, 1])


def mean_of(values: Tensor, weights: Tensor) -> float:
    """The mean over batches, of their values times their weights."""
    return float(values.sum() / weights.sum())
