"""The batches that a training is fed with."""

import lightning.pytorch as L
import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from autoopt.data.batches import Batches, Chunk, PerBatch
from autoopt.data.feed import Feed
from autoopt.data.make_task import make_task
from autoopt.data.task import Task


def numbered(count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Examples whose only input is their number."""
    numbers = torch.arange(count)
    return numbers[:, None].float(), numbers


def flat(batches: list[list[int]]) -> list[int]:
    return [number for batch in batches for number in batch]


def epoch(batches: Batches) -> list[list[int]]:
    return [targets.tolist() for _, targets in batches]


def table(count: int = 40) -> Task:
    x, y = numbered(count)
    return Task("regression", (1,), 1, parts={part: (x, y[:, None].float()) for part in ("train", "validation", "test")})


class Rows(L.LightningDataModule):
    def __init__(self):
        super().__init__()
        self.batch_size, self.stages = 10, []

    def setup(self, stage):
        self.stages.append(stage)
        if stage == "test":
            self.unseen = TensorDataset(*numbered(7))

    def train_dataloader(self):
        return DataLoader(TensorDataset(*numbered(40)), self.batch_size)

    def val_dataloader(self):
        return DataLoader(TensorDataset(*numbered(20)), self.batch_size)

    def test_dataloader(self):
        return DataLoader(self.unseen, self.batch_size)


class Sorted(L.LightningDataModule):
    batch_size = 8

    def train_dataloader(self):
        return DataLoader(TensorDataset(*numbered(4000)), self.batch_size)

    def val_dataloader(self):
        return DataLoader(TensorDataset(*numbered(4000)), 8)


class Parametrised(L.LightningDataModule):
    def __init__(self, batch_size=10):
        super().__init__()
        self.save_hyperparameters()

    def train_dataloader(self):
        return DataLoader(TensorDataset(*numbered(40)), self.hparams.batch_size)


def test_each_epoch_has_every_example_once_in_an_order_of_its_own():
    batches = Batches(*numbered(30), 8, seed=1)
    first, second = epoch(batches), epoch(batches)
    assert sorted(flat(first)) == sorted(flat(second)) == [*range(30)]
    assert first != second and flat(first) != [*range(30)]
    assert [len(b) for b in first] == [8, 8, 8, 6] and batches.steps == len(batches) == 4


def test_an_epoch_is_derived_from_seed_and_number_alone():
    through = Batches(*numbered(30), 8, seed=1)
    orders = [epoch(through) for _ in range(4)]
    torch.manual_seed(99)
    taken_up = Batches(*numbered(30), 8, seed=1)
    taken_up.epoch = 3
    assert epoch(taken_up) == orders[3]
    assert epoch(Batches(*numbered(30), 8, seed=2)) != orders[0]


def test_seeds_and_epochs_are_not_mixed_up():
    one, other = Batches(*numbered(30), 8, seed=1), Batches(*numbered(30), 8, seed=2)
    one.epoch = 1
    assert epoch(one) != epoch(other)


@pytest.mark.parametrize(
    ("count", "size", "lengths"), [(9, 4, [4, 4]), (10, 4, [4, 4, 2]), (8, 4, [4, 4]), (1, 4, [1]), (3, 4, [3]), (3, 1, [1, 1, 1])]
)
def test_a_last_batch_of_one_is_left_out_of_training(count, size, lengths):
    batches = Batches(*numbered(count), size, seed=0)
    assert [len(b) for b in epoch(batches)] == lengths
    assert batches.steps == len(lengths)


def test_no_example_is_left_out_of_an_evaluation():
    assert epoch(Batches(*numbered(9), 4)) == [[0, 1, 2, 3], [4, 5, 6, 7], [8]]


def test_what_is_left_out_is_another_example_every_epoch():
    batches = Batches(*numbered(9), 4, seed=0)
    assert len({36 - sum(flat(epoch(batches))) for _ in range(8)}) > 1


def test_chunks_hold_the_same_batches():
    whole, single = Batches(*numbered(30), 8, seed=1, chunked=True), Batches(*numbered(30), 8, seed=1)
    for _ in range(2):
        (chunk,) = whole
        assert isinstance(chunk, Chunk)
        batches = list(single)
        pairs = list(zip(chunk, batches, strict=True))
        assert all(torch.equal(a[0], b[0]) and torch.equal(a[1], b[1]) for a, b in pairs)
    assert (len(whole), whole.steps) == (1, 4)


def test_batches_one_by_one_are_the_same_too():
    feed = Feed(table(), {"size": 8}, 1, chunked=True, limit=None)
    one_by_one, (whole,) = feed.train(whole_epochs=False), feed.train()
    assert isinstance(one_by_one, PerBatch) and len(one_by_one) == one_by_one.steps == 5
    for (batch,), other in zip(one_by_one, whole, strict=True):
        assert torch.equal(batch[1], other[1])


def test_inputs_and_targets_stay_together():
    feed = Feed(table(), {"size": 8}, 1, chunked=False, limit=None)
    assert all(torch.equal(x, y) for part in (feed.train(), feed.held_out("validation")) for x, y in part)


def test_a_limit_leaves_so_many_batches():
    feed = Feed(table(), {"size": 8}, 1, chunked=False, limit=2)
    assert len(feed.train()) == 2 and len(feed.held_out("validation").inputs) == 16


def test_a_limit_holds_for_a_data_module_too():
    feed = Feed(task(Rows()), {"size": 8}, 1, chunked=True, limit=2)
    train, held_out = feed.train(), feed.held_out("validation")
    assert len(train) == train.steps == 2 and [len(batch[0]) for (batch,) in train] == [8, 8]
    assert len(held_out) == len(feed.calibration()) == 2 and feed.steps() == 5
    loader = Feed(task(Rows()), {"size": 8}, 1, chunked=False, limit=2).train()
    assert isinstance(loader, DataLoader) and len(loader) == 5  # its Trainer counts


def test_an_example_is_of_the_part_asked_for():
    example = Feed(table(), {"size": 8}, 1, True, None).example("test")
    assert sorted(example.flatten().tolist()) == [*range(40)]


@pytest.mark.parametrize("data", ["examples", "data module"])
@pytest.mark.parametrize("limit", [None, 2])
def test_the_first_batches_stand_for_a_part_that_is_sorted(data, limit):
    """Of 4,000 sorted examples, 16 in file order would all be among the first 16."""
    x, y = numbered(4000)
    parts = dict.fromkeys(("train", "validation", "test"), (x, y))
    whole = task(Sorted()) if data == "data module" else Task("classification", (1,), 4000, parts=parts, groups=torch.arange(4000))
    feed = Feed(whole, {"size": 8}, 1, chunked=True, limit=limit)
    (first, _), (second, _), *_ = feed.calibration()
    assert torch.cat([first, second]).max() > 2000 and feed.example("validation").max() > 2000
    again = Feed(whole, {"size": 8}, 1, chunked=True, limit=limit)
    assert torch.equal(next(iter(again.calibration()))[0], first), "the seed fixes them"
    if limit:
        trained = torch.cat([inputs for batch in feed.train(whole_epochs=False) for inputs, _ in batch])
        assert len(trained) == 16 and trained.max() > 2000
    if limit and data == "examples":
        assert torch.equal(feed.groups, feed.parts["test"][1]), "each example keeps its group"


# --------------------------------------------------------------------------------------------------------- a user's data module


def task(datamodule: L.LightningDataModule) -> Task:
    return make_task(datamodule, {})


@pytest.mark.parametrize("kind", [Rows, Parametrised])
def test_a_searched_size_is_the_data_modules_in_this_trial_only(kind):
    shared = task(kind())
    assert len(Feed(shared, {"size": 8}, 0, chunked=False, limit=None).datamodule.train_dataloader()) == 5
    assert len(Feed(shared, {"size": None}, 0, chunked=False, limit=None).datamodule.train_dataloader()) == 4


def test_a_data_module_is_fed_one_batch_at_a_time_to_a_network():
    train = Feed(task(Rows()), {"size": 8}, 0, chunked=True, limit=None).train()
    assert [len(batch[0]) for (batch,) in train] == [8] * 5 and train.steps == 5
    loader = Feed(task(Rows()), {"size": None}, 0, chunked=False, limit=None).train()
    assert isinstance(loader, DataLoader)


def test_a_data_module_is_set_up_once_for_all_trials():
    """A setup that draws the parts would draw others each time, and test on what was trained on."""
    feed = Feed(task(Rows()), {"size": None}, 0, chunked=True, limit=None)
    assert len(feed.held_out("validation").dataset) == 20 and len(feed.held_out("test").dataset) == 7
    feed.datamodule.prepare_data()
    feed.datamodule.setup(stage="fit")
    assert feed.datamodule.stages == ["fit", "test"]


def test_a_part_that_a_data_module_does_not_have_is_nothing():
    feed = Feed(task(Parametrised()), {"size": None}, 0, chunked=True, limit=None)
    assert feed.held_out("validation") is None and feed.held_out("test") is None
