"""A user's loaders: set up alike for all trials, with their own batch size or another one."""

import itertools
import random
from functools import partial
from typing import Any

import lightning.pytorch as L
import numpy as np
import pandas
import pytest
import torch
from lightning.pytorch.utilities.combined_loader import CombinedLoader
from lightning.pytorch.utilities.model_helpers import is_overridden
from torch.utils.data import BatchSampler, DataLoader, Dataset, IterableDataset, RandomSampler, TensorDataset, random_split

from autoopt.api import compose_tree
from autoopt.config import compose
from autoopt.data.datamodule import task_of_module
from autoopt.data.feed import Feed
from autoopt.data.given import as_datamodule
from autoopt.data.loaders import drawn_alike, of_size, probed, sized
from autoopt.data.make_task import make_task
from autoopt.errors import BadInput
from autoopt.space import Space
from autoopt.technique import LIVE, find
from autoopt.trial.world import prepare

HERE = __name__


@pytest.fixture(autouse=True)
def nothing_is_left_behind():
    yield
    if LIVE:  # else nothing found depends on it, and to read all signatures anew takes a tenth of a second
        LIVE.clear()
        find.cache_clear()


def rows(count: int = 40) -> TensorDataset:
    return TensorDataset(torch.arange(count)[:, None].float(), torch.arange(count) % 2)


class Base(L.LightningDataModule):
    def val_dataloader(self):
        return DataLoader(rows(20), 10)


class PerDevice(Base):
    """`setup` works out the size that the loaders use, by the Trainer's number of processes."""

    def __init__(self, batch_size: int = 32):
        super().__init__()
        self.save_hyperparameters()

    def setup(self, stage):
        self.per_device = self.hparams.batch_size // self.trainer.world_size

    def train_dataloader(self):
        return DataLoader(rows(), self.per_device)


class Named(Base):
    """Another name for the size, of which no attribute is left."""

    def __init__(self, bs: int = 10):
        super().__init__()
        self.loader = DataLoader(rows(), bs)

    def train_dataloader(self):
        return self.loader


class Batched(Base):
    """Its examples come in batches that the loader does not know of."""

    def __init__(self, batch_size: int = 8):
        super().__init__()
        self.batch_size = batch_size

    def train_dataloader(self):
        return DataLoader(torch.arange(40.0).view(40, 1).split(self.batch_size), batch_size=None)


class Fixed(Base):
    def __init__(self, batch_size: int = 8):
        super().__init__()

    def train_dataloader(self):
        return DataLoader(rows(), 16)


class Lit(L.LightningModule):
    def training_step(self, batch, _):
        pass


def world_of(*overrides: str, model: str = "Lit"):
    return prepare({"tree": compose([f"model={HERE}:{model}", *overrides]), "store": "."})


# ----------------------------------------------------------------------------------------------------------------------- batch size


@pytest.mark.parametrize(("name", "usual"), [("PerDevice", 32), ("Named", 10), ("Batched", 8)])
def test_a_batch_size_that_is_asked_for_is_that_of_the_batches(name, usual):
    world, facts = world_of(f"data={HERE}:{name}")
    assert facts["batch_size"] == usual and "batches" not in facts["absent"]
    for size in (3, 20):
        feed = Feed(world.task, {"size": size}, 0, chunked=False)
        batch = next(iter(feed.datamodule.train_dataloader()))
        assert len(batch if isinstance(batch, torch.Tensor) else batch[0]) == size
        assert len(next(iter(feed.held_out("validation")))[0]) == 10, "all trials are measured on the same batches"


def test_a_batch_size_that_nothing_follows_is_left_out_or_refused():
    _, facts = world_of(f"data={HERE}:Fixed")
    reason = "Fixed has no batch_size that its training loader follows"
    assert facts["batch_size"] == 16 and facts["absent"]["batches"] == {"size": reason}
    with pytest.raises(BadInput, match=rf"^batches\.size=choice\(32,64\): {reason}; leave batches\.size out$"):
        world_of(f"data={HERE}:Fixed", "batches.size=32,64")


def test_the_batch_size_of_a_data_module_is_searched_around_its_own():
    tree = compose([f"model={HERE}:Lit", f"data={HERE}:PerDevice"])
    assert str(Space.of(tree).around(32).settings["batches"]["size"]) == "choice(null, 16, 64)"
    assert str(Space.of(tree).around(1).settings["batches"]["size"]) == "choice(null, 2)"
    assert Space.of(tree).around(32).baseline().tree["batches"]["size"] is None
    left = Space.of(tree).fitting({"batches": {"size": "it is fixed"}})
    assert left.dropped == {"batches/size": "it is fixed"} and not any(d.key == "batches.size" for d in left.domains())
    pinned = compose([f"model={HERE}:Lit", f"data={HERE}:PerDevice", "batches.size=half"])
    assert Space.of(pinned).around(32).baseline().tree["batches"]["size"] == 16


def test_a_size_may_be_relative_to_the_usual_one():
    assert prepare({"tree": compose(["data=digits", "batches.size=half"]), "store": "."})[1]["batch_size"] == 64
    with pytest.raises(BadInput, match=r"batches\.size=thirds: expected int, got 'thirds'"):
        compose(["data=digits", "batches.size=thirds"])


class Several(Base):
    """Loaders of 5, 3 and 10 batches."""

    how: Any = staticmethod(list)

    def train_dataloader(self):
        return self.how([DataLoader(rows(), size) for size in (8, 16, 4)])


def named(loaders: list) -> dict:
    first, *others = loaders
    return {"labelled": first, "unlabelled": others}


@pytest.mark.parametrize(
    ("how", "steps"),
    [
        (list, 10),
        (named, 10),
        (partial(CombinedLoader, mode="min_size"), 3),
        (partial(CombinedLoader, mode="max_size"), 10),
    ],
)
def test_an_epoch_of_several_loaders(how, steps):
    datamodule = Several()
    datamodule.how = how
    assert probed(datamodule, None) == (None, None), "no one batch size"
    task = task_of_module(datamodule, False, 0, None)
    assert task.kind == "unknown" and task.sized
    assert Feed(task, {"size": None}, 0, chunked=False).steps() == steps == epoch_of(how)


def epoch_of(how) -> int:
    """The batches of Lightning's own epoch."""
    counted = []

    class Counting(L.LightningModule):
        def training_step(self, batch, index):
            counted.append(index)

        def configure_optimizers(self):
            return None

    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "enable_model_summary": False}
    datamodule = Several()
    datamodule.how = how
    L.Trainer(max_epochs=1, accelerator="cpu", **quiet).fit(Counting(), datamodule=datamodule)
    return len(counted)


def test_one_of_several_loaders_without_a_length_leaves_the_epoch_without_one():
    assert not sized([DataLoader(rows(), 4), iter(())]) and sized([(torch.zeros(2, 3), torch.zeros(2))] * 3)


# ----------------------------------------------------------------------------------------------------------------------- stages


class Drawing(Base):
    """Draws its parts anew at every stage, and keeps those of the last one."""

    def setup(self, stage):
        self.parts, self.stage = random_split(rows(), [0.5, 0.5]), stage

    def train_dataloader(self):
        return DataLoader(self.parts[0], 8)

    def test_dataloader(self):
        return DataLoader(self.parts[1], 8)


def numbers(loader) -> set[float]:
    return {float(x) for batch, _ in loader for x in batch}


def test_what_a_later_stage_draws_fits_to_the_earlier_and_takes_nothing_of_its_place():
    task = make_task(Drawing(), {}, scan=False, seed=3)
    feed = Feed(task, {"size": None}, 0, chunked=False)
    assert not numbers(feed.datamodule.train_dataloader()) & numbers(feed.held_out("test"))
    assert (task.datamodule.stage, task.testing.stage) == ("fit", "test")
    again = make_task(Drawing(), {}, scan=False, seed=3)
    assert numbers(again.datamodule.train_dataloader()) == numbers(task.datamodule.train_dataloader())


def test_nothing_drawn_for_the_data_moves_what_is_drawn_afterwards():
    torch.manual_seed(1)
    with drawn_alike(5):
        inside = torch.rand(1)
    after = torch.rand(1)
    torch.manual_seed(1)
    assert torch.equal(after, torch.rand(1)) and not torch.equal(inside, after)


def test_what_is_drawn_alike_leaves_cuda_as_it_was(monkeypatch):
    """Where it is not in use, it is not begun to be used, and will begin with the seed that was given before."""
    seeds = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "_lazy_init", lambda: pytest.fail("CUDA is used"))
    monkeypatch.setattr(torch.cuda, "manual_seed_all", seeds.append)
    torch.manual_seed(7)
    with drawn_alike(5):
        assert seeds[-1] == 5
    assert seeds[-1] == torch.initial_seed() == 7


class NoTest(Base):
    def setup(self, stage):
        if stage == "test":
            raise FileNotFoundError("test.csv is kept by the referees")

    def train_dataloader(self):
        return DataLoader(rows(), 8)

    test_dataloader = train_dataloader


def test_a_test_stage_that_cannot_be_set_up_is_told_and_the_rest_goes_on():
    _, facts = world_of(f"data={HERE}:NoTest")
    assert facts["test"] is False
    assert facts["notes"] == ("the test stage cannot be set up (FileNotFoundError: test.csv is kept by the referees)",)


class Stream(IterableDataset):
    def __iter__(self):
        return iter(rows())


class Streamed(Base):
    def __init__(self, batch_size: int = 8):
        super().__init__()
        self.batch_size = batch_size

    def train_dataloader(self):
        return DataLoader(Stream(), self.batch_size)


@pytest.mark.slow
def test_a_loader_without_a_length_is_offered_to_nothing_that_asks_for_one():
    _, facts = world_of(f"data={HERE}:Streamed")
    for slot in ("optimizer", "schedule", "regularizer"):
        assert "does not say how many batches it has" in facts["absent"][slot]["total_steps"]
    assert "total_steps" not in world_of(f"data={HERE}:PerDevice")[1]["absent"]["schedule"]


class Endless(Streamed):
    def train_dataloader(self):
        return itertools.repeat((torch.rand(2, 3), torch.tensor([0, 1])))


def test_a_network_refuses_a_stream_that_does_not_end():
    told = r"^data: the data module's train_dataloader gave 10,000 batches without an end, but a network is trained in epochs"
    with pytest.raises(BadInput, match=told):
        make_task(Endless(), {})
    assert not make_task(Endless(), {}, scan=False).sized


# ------------------------------------------------------------------------------------------------------------- loaders as they are


def test_data_sets_and_loaders_are_a_data_module():
    sets = as_datamodule((rows(), rows(20)))
    assert len(sets.train_dataloader()) == 1 and isinstance(sets.train_dataloader().sampler, RandomSampler)
    assert make_task(sets, {}, scan=False).testing is None
    loaders = as_datamodule([DataLoader(rows(), 8), DataLoader(rows(20), 5), DataLoader(rows(7), 5)])
    task = make_task(loaders, {}, scan=False)
    assert (task.batch_size.usual, len(Feed(task, {"size": 10}, 0, chunked=False).datamodule.train_dataloader())) == (8, 4)
    assert len(Feed(task, {"size": None}, 0, chunked=False).held_out("test").dataset) == 7
    stream = as_datamodule((Stream(), rows(20)))
    assert len(next(iter(stream.train_dataloader()))[0]) == 40


def test_another_batch_size_of_a_loader_is_of_the_same_examples():
    loader = DataLoader(rows(), 8, drop_last=True, collate_fn=lambda items: [int(x) for x, _ in items])
    assert [*of_size(loader, 15)] == [[*range(15)], [*range(15, 30)]] and len(of_size(loader, 15)) == 2
    assert len(loader) == 5 and of_size(loader, 8) is loader
    own = DataLoader(rows(), batch_sampler=Pairs(RandomSampler(rows()), 2, False))
    assert of_size(own, 5) is own
    assert probed(as_datamodule((own, rows())), None) == (2, None)


def test_the_loaders_of_a_lightning_module_are_as_the_author_left_them_when_a_trial_begins():
    """A generator, or a sampler that shuffles its list in place, goes on from epoch to epoch: another first epoch is another training."""
    generator, order = torch.Generator().manual_seed(5), Shuffled([*range(40)])
    before = generator.get_state()
    for drawn in ({"shuffle": True, "generator": generator}, {"sampler": order}):
        task = task_of_module(as_datamodule((DataLoader(rows(), 4, **drawn), rows())), False, 0, None)
        assert (task.batch_size.usual, task.input_shape, task.sized) == (4, (1,), True)
    assert torch.equal(generator.get_state(), before) and order == [*range(40)]


class Shuffled(list):
    def __iter__(self):
        random.shuffle(self)
        return super().__iter__()


class Pairs(BatchSampler):
    """A sampler that makes its own batches."""


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (rows(), r"a single TensorDataset; give \(train, validation\) or \(train, validation, test\)"),
        ((rows(),) * 4, "4 parts; give"),
        ((np.array([["a"], ["b"]]), np.zeros(2)), r"the inputs are <U1 \(2, 1\); expected numbers"),
        ((rows(), [1, 2]), "a part is list; expected torch.utils.data.DataLoader or Dataset"),
    ],
)
def test_what_is_no_parts_is_refused(found, said):
    with pytest.raises(BadInput, match=rf"^data(\.arrays)?: {said}"):
        as_datamodule(found)


def parts() -> tuple[Dataset, Dataset]:
    return rows(), rows(20)


@pytest.mark.slow
def test_loaders_are_given_by_import_path_or_from_python():
    assert world_of(f"data={HERE}:parts")[1]["batch_size"] == 64
    trees = [compose_tree([], lambda: Lit(), (rows(count), rows(20), rows(9))) for count in (40, 40, 50)]
    names = [next(iter(tree["data"].values()))["from"] for tree in trees]
    assert names[0] == names[1] != names[2], "other data are another study"
    assert prepare({"tree": trees[0], "store": "."})[1]["test"]
    with pytest.raises(BadInput, match="a single TensorDataset"):
        prepare({"tree": compose_tree([], lambda: Lit(), rows()), "store": "."})


@pytest.mark.slow
@pytest.mark.parametrize("kind", [np.asarray, torch.as_tensor, pandas.DataFrame])
def test_arrays_are_inputs_and_targets(kind):
    x, y = np.arange(80.0).reshape(40, 2), np.arange(40) % 2
    trees = [compose_tree(["model=mlp"], None, (kind(inputs), kind(y))) for inputs in (x, x.copy(), x + 1)]
    names = [next(iter(tree["data"].values()))["from"] for tree in trees]
    assert names[0] == names[1] != names[2], "other values are another study"
    world, _ = prepare({"tree": trees[0], "store": "."})
    task = world.task
    assert (task.kind, task.outputs, task.input_shape) == ("classification", 2, (2,)) and sum(len(y) for _, y in task.parts.values()) == 40
    with pytest.raises(BadInput, match=r"^data: 40 inputs but 39 targets"):
        prepare({"tree": compose_tree(["model=mlp"], None, (kind(x), kind(y[1:]))), "store": "."})


@pytest.mark.slow
def test_arrays_have_the_settings_of_a_file_of_them():
    squares = (np.zeros((40, 3, 3), "float32"), np.arange(40) % 2)
    with pytest.raises(BadInput, match=r"give data\.arrays\.layout=NHW or data\.arrays\.layout=numbers"):
        prepare({"tree": compose_tree(["model=mlp"], None, squares), "store": "."})
    listed = (squares[0], squares[1].tolist())
    tree = compose_tree(["model=mlp", "data.arrays.layout=numbers", "data.arrays.kind=regression"], None, listed)
    task = prepare({"tree": tree, "store": "."})[0].task
    assert (task.kind, task.input_shape) == ("regression", (3, 3))


def alone() -> DataLoader:
    return DataLoader(rows(), 8)


@pytest.mark.slow
def test_a_module_takes_a_training_loader_alone_and_a_network_does_not():
    assert world_of(f"data={HERE}:alone")[1]["batch_size"] == 8
    given = as_datamodule((alone(),))
    assert len(given.train_dataloader()) == 5 and not is_overridden("val_dataloader", given)
    with pytest.raises(BadInput, match="data=alone: it has no val_dataloader, which a network is judged on"):
        prepare({"tree": compose([f"data={HERE}:alone", "model=mlp"]), "store": "."})


# ----------------------------------------------------------------------------------------------------- loaders of a module's own


class Bringing(L.LightningModule):
    """Draws its parts in `setup`, on itself."""

    def __init__(self, hidden: int = 4, batch_size: int = 8):
        super().__init__()
        self.save_hyperparameters()

    def setup(self, stage):
        self.parts, self.stage = random_split(rows(), [0.5, 0.5]), stage

    def training_step(self, batch, _):
        pass

    def train_dataloader(self):
        return DataLoader(self.parts[0], self.hparams.batch_size)

    def val_dataloader(self):
        return DataLoader(self.parts[1], 5)

    def test_dataloader(self):
        return DataLoader(self.parts[1], 5)


class Gathering(L.LightningModule):
    """Learns from what it gathers itself."""

    def __init__(self, batch_size: int = 8):
        super().__init__()
        self.batch_size = batch_size

    def training_step(self, batch, _):
        pass

    def train_dataloader(self):
        return DataLoader(rows(), self.batch_size)


class Demanding(Bringing):
    def __init__(self, width: int):
        super().__init__(hidden=width)


class Plain(torch.nn.Module):
    pass


def own_world(model: str, *overrides: str):
    return prepare({"tree": compose([f"model={HERE}:{model}", *overrides]), "store": "."})


def test_without_data_a_module_brings_its_own_loaders():
    world, facts = own_world("Bringing")
    assert facts["notes"] == ("no other data are named, so the loaders are those of Bringing itself",)
    assert (facts["batch_size"], facts["test"]) == (8, True) and "batches" not in facts["absent"]
    feed = Feed(world.task, {"size": 3}, 0, chunked=False)
    train = feed.datamodule.train_dataloader()
    assert len(next(iter(train))[0]) == 3 and len(next(iter(feed.held_out("validation")))[0]) == 5
    assert not numbers(train) & numbers(feed.held_out("validation"))
    assert not numbers(train) & numbers(feed.held_out("test")), "each stage draws the same parts"
    assert (world.task.datamodule.module.stage, world.task.testing.module.stage) == ("fit", "test")
    assert world.task.datamodule.module.hparams.batch_size == 8, "another size is that of a copy"
    again = Feed(own_world("Bringing")[0].task, {"size": None}, 0, chunked=False)
    assert numbers(again.datamodule.train_dataloader()) == numbers(train)


def test_the_pins_of_a_module_are_those_of_its_loaders():
    tree = compose([f"model={HERE}:Bringing", "model.Bringing.batch_size=10", "model.Bringing.hidden=2,4"])
    assert tree["data"]["Bringing"] == {"from": f"{HERE}:Bringing", "hidden": 4, "batch_size": 10}
    assert prepare({"tree": tree, "store": "."})[1]["batch_size"] == 10
    assert own_world("Bringing", "data.Bringing.batch_size=20")[1]["batch_size"] == 20


def test_an_argument_that_is_searched_is_given_to_the_loaders_module_only_if_it_needs_it():
    _, facts = own_world("Demanding", "model.Demanding.width=6,12")
    assert facts["notes"] == ("no other data are named, so the loaders are those of Demanding itself",)
    with pytest.raises(BadInput, match=r"data\.Demanding\.width"):
        own_world("Demanding", "model.Demanding.width=range(6,12)")


def test_data_that_are_named_take_the_place_of_a_modules_own():
    _, facts = own_world("Bringing", f"data={HERE}:PerDevice")
    assert facts["batch_size"] == 32 and facts["notes"] == ()


def test_a_batch_size_is_not_searched_where_the_trials_share_the_loaders():
    with pytest.raises(
        BadInput, match=r"^model\.Bringing\.batch_size is searched, but all trials share the loaders; search batches\.size$"
    ):
        own_world("Bringing", "model.Bringing.batch_size=4,8")


def test_without_validation_each_trial_has_the_loader_of_its_own_module():
    world, facts = own_world("Gathering", "model.Gathering.batch_size=4,8")
    assert world.task.datamodule.each_its_own
    assert facts["absent"]["batches"]["size"].startswith("Gathering has no val_dataloader, so each trial trains on the loader of its own")


@pytest.mark.parametrize(
    ("model", "said"), [("Lit", "Lit has no train_dataloader of its own"), ("Plain", "Plain has no loaders of its own")]
)
def test_a_model_that_brings_no_loaders_needs_data(model, said):
    with pytest.raises(BadInput, match=rf"^data=… is missing: give one of .*, or module:LightningDataModule; {said}$"):
        own_world(model)
