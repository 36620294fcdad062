"""The value of each batch of what a user's module logs."""

import lightning.pytorch as L
import pytest
import torch
from torch.utils.data import DataLoader
from torchmetrics import MeanMetric

from autoopt.trial.by_batch import ByBatch

VALUES = torch.tensor([1.0, 3.0, 5.0, 7.0, 9.0])


class Logging(L.LightningModule):
    def __init__(self):
        super().__init__()
        self.mean = MeanMetric()

    def validation_step(self, batch, number):
        self.log("mean", batch.mean(), batch_size=len(batch))
        self.log("forked", batch.mean(), on_step=True, on_epoch=True, batch_size=len(batch))
        self.log("sum", batch.sum(), reduce_fx="sum")
        if number != 1:
            self.log("some", batch.mean(), batch_size=len(batch))
        self.mean(batch)
        self.log("metric", self.mean)

    def on_validation_epoch_end(self):
        self.log("late", torch.tensor(1.0))


def taken(metric: str, size: int = 2) -> ByBatch:
    by_batch = ByBatch(metric)
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "enable_model_summary": False}
    L.Trainer(accelerator="cpu", callbacks=[by_batch], **quiet).validate(Logging(), DataLoader(VALUES, size), verbose=False)
    return by_batch


@pytest.mark.parametrize("metric", ["mean", "forked", "forked_epoch"])
def test_a_mean_over_batches_is_taken_apart(metric):
    by_batch = taken(metric)
    assert by_batch.sums == [(0, 0), (4, 2), (16, 4), (25, 5)]
    drawn, units = by_batch.resamples()
    assert units == 3 and len(drawn) == 200 and min(drawn) >= 2 and max(drawn) <= 9 and len({*drawn}) > 3


@pytest.mark.parametrize("metric", ["sum", "metric", "late", "forked_step", "absent"])
def test_what_is_no_mean_over_batches_has_no_values_of_batches(metric):
    assert taken(metric).resamples() == ([], 0)


def test_batches_for_which_a_metric_is_not_logged_do_not_count():
    by_batch = taken("some")
    drawn, units = by_batch.resamples()
    assert units == 2 and {*drawn} == {4 / 2, (4 + 9) / (2 + 1), 9 / 1}, "no mean of nothing"


def test_one_batch_alone_tells_nothing():
    assert taken("mean", size=5).resamples() == ([], 0)


class OfTwo(L.LightningModule):
    def validation_step(self, batch, _, dataloader_idx=0):
        self.log("mean", batch.mean(), batch_size=len(batch))


@pytest.mark.parametrize(
    ("metric", "sums"),
    [
        ("mean/dataloader_idx_0", [(0, 0), (4, 2), (16, 4), (25, 5)]),
        ("mean/dataloader_idx_1", [(0, 0), (20, 2), (30, 3)]),
        ("mean", [(0, 0)]),
    ],
)
def test_of_two_loaders_the_batches_of_one_are_taken_apart(metric, sums):
    by_batch = ByBatch(metric)
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "enable_model_summary": False}
    trainer = L.Trainer(accelerator="cpu", callbacks=[by_batch], **quiet)
    trainer.validate(OfTwo(), [DataLoader(VALUES, 2), DataLoader(10 * torch.ones(3), 2)], verbose=False)
    assert by_batch.sums == sums
    if metric in trainer.callback_metrics:
        total, weight = sums[-1]
        assert total / weight == pytest.approx(float(trainer.callback_metrics[metric]))


class OfATest(L.LightningModule):
    """Logs as its validation does, and under a name of the test."""

    def test_step(self, batch, _):
        self.log("test_mean", batch.mean(), batch_size=len(batch))
        self.log("val_mean", 7 * batch.mean(), batch_size=len(batch))


def test_of_two_names_for_one_metric_that_of_the_test_is_taken():
    by_batch = ByBatch("val_mean")
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "enable_model_summary": False}
    L.Trainer(accelerator="cpu", callbacks=[by_batch], **quiet).test(OfATest(), DataLoader(VALUES, 2), verbose=False)
    assert by_batch.sums == [(0, 0), (4, 2), (16, 4), (25, 5)]
