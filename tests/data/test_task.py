"""What is to be learnt: the split, the scales, and what is refused."""

import dataclasses

import lightning.pytorch as L
import numpy as np
import pytest
import torch
from lightning.pytorch.utilities import CombinedLoader
from torch.utils.data import DataLoader, TensorDataset

from autoopt.data import make_task as module
from autoopt.data import rows
from autoopt.data.examples import Examples, fingerprint
from autoopt.data.feed import Feed
from autoopt.data.make_task import make_task
from autoopt.data.parts import PARTS
from autoopt.data.scale import Scale
from autoopt.data.task import Task
from autoopt.errors import BadInput
from autoopt.plugins.data.csv import csv
from autoopt.plugins.data.text import text

SPLIT = {"validation": 0.2, "test": 0.2, "seed": 0, "stratify": True, "normalise": True}


def classes(count: int = 100, share: float = 0.3) -> Examples:
    """Examples whose first column is their number; a share of them is of class 1."""
    numbers = torch.arange(count)
    inputs = torch.stack([numbers.float(), torch.rand(count)], 1)
    return Examples(inputs, (numbers < share * count).long(), "classification", ("no", "yes"))


def values(count: int = 100) -> Examples:
    inputs = torch.randn(count, 3, generator=torch.Generator().manual_seed(0)) * 5 + 2
    return Examples(inputs, inputs[:, :1] * 10 + 300, "regression")


def numbers(task: Task, part: str) -> list[int]:
    """Which of `classes()` are in a part."""
    assert task.inputs is not None
    return task.inputs.invert(task.parts[part][0])[:, 0].round().int().tolist()


def test_the_parts_are_disjoint_and_complete():
    task = make_task(classes(), SPLIT)
    parts = [numbers(task, part) for part in PARTS]
    assert [len(p) for p in parts] == [60, 20, 20]
    assert sorted(number for part in parts for number in part) == [*range(100)]


def test_the_parts_have_the_same_share_of_each_class():
    task = make_task(classes(), SPLIT)
    assert [int(task.parts[part][1].sum()) for part in PARTS] == [18, 6, 6]
    assert task.class_counts.tolist() == [42, 18]


def test_without_strata_the_shares_are_left_to_chance():
    found = {tuple(int(make_task(classes(), {**SPLIT, "stratify": False, "seed": s}).parts[p][1].sum()) for p in PARTS) for s in range(5)}
    assert len(found) > 1


def test_the_split_is_that_of_its_seed():
    torch.manual_seed(1)
    once = make_task(classes(), SPLIT)
    torch.manual_seed(2)
    assert [numbers(make_task(classes(), SPLIT), p) for p in PARTS] == [numbers(once, p) for p in PARTS]
    other = make_task(classes(), {**SPLIT, "seed": 1})
    assert all(numbers(other, p) != numbers(once, p) for p in PARTS)


def test_a_split_that_the_source_fixes_stays():
    splits = {"train": torch.arange(50), "validation": torch.arange(50, 60), "test": torch.arange(60, 100)}
    task = make_task(dataclasses.replace(classes(), splits=splits), SPLIT)
    assert [numbers(task, part) for part in PARTS] == [[*range(50)], [*range(50, 60)], [*range(60, 100)]]


def test_a_table_is_scaled_by_its_training_part_alone():
    examples = values()
    examples.inputs[:, 2] = 7.0  # a constant column
    splits = {"train": torch.arange(50), "validation": torch.arange(50, 75), "test": torch.arange(75, 100)}
    examples.inputs[75:] += 1000.0
    task = make_task(dataclasses.replace(examples, splits=splits), SPLIT)
    x = task.parts["train"][0]
    torch.testing.assert_close(x.mean(0), torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(x.std(0, correction=0)[:2], torch.ones(2))
    assert (x[:, 2] == 0).all() and task.inputs.deviation[2] == 1
    torch.testing.assert_close(task.inputs.mean, examples.inputs[:50].double().mean(0))
    assert task.parts["test"][0].mean() > 50


FIXED = dict(zip(PARTS, torch.arange(100).split([60, 20, 20]), strict=True))


def scaled(inputs, lazily: bool = False, **settings) -> Task:
    """The task of 100 examples, of which the first 60 are for training."""
    given = rows.Mapped(inputs.numpy()) if lazily else inputs
    return make_task(Examples(given, torch.arange(100) % 2, "classification", splits=FIXED), SPLIT | settings)


@pytest.mark.parametrize("lazily", [False, True])
@pytest.mark.parametrize(
    ("shape", "axes", "constants"), [((100, 7, 3), (0, 1), (1, 3)), ((100, 3, 6, 5), (0, 2, 3), (3, 1, 1)), ((100, 3), (0,), (3,))]
)
def test_sequences_are_scaled_by_feature_and_images_by_channel(shape, axes, constants, lazily, monkeypatch):
    monkeypatch.setattr(rows, "READ_BYTES", 512)  # so that all are read in several pieces
    inputs = torch.rand(shape, generator=torch.Generator().manual_seed(0))
    units = torch.tensor([1.0, 20.0, 300.0]).view(-1, *[1] * (len(shape) == 4) * 2)
    inputs = inputs * units + units
    inputs[60:] *= 2  # other parts have no part in the constants
    task = scaled(inputs, lazily)
    assert task.inputs.mean.shape == constants
    train = task.parts["train"][0][:]
    assert train.dtype == torch.float32
    torch.testing.assert_close(train.mean(axes), torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(train.std(axes, correction=0), torch.ones(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(task.inputs.invert(task.parts["test"][0][:]).float(), inputs[80:])
    assert task.parts["test"][0][:].mean() > 1
    as_they_are = scaled(inputs, lazily, normalise=False)
    assert as_they_are.inputs is None and torch.equal(as_they_are.parts["train"][0][:], inputs[:60])


def test_eight_bit_images_are_scaled_when_they_are_read():
    images = torch.randint(0, 256, (100, 3, 4, 4), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    images[:, 1] //= 4
    eight, floats = scaled(images), scaled(images / 255)
    assert eight.parts["train"][0].source is images and eight.inputs.mean.max() < 1
    for found in (eight, scaled(images, lazily=True)):
        torch.testing.assert_close(found.inputs.lists(), floats.inputs.lists())
        torch.testing.assert_close(found.parts["test"][0][:], floats.parts["test"][0], atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(found.pixels.invert(found.parts["test"][0][:]).float(), images[80:] / 255)


@pytest.mark.parametrize("shape", [(5,), (4, 3), (2, 3, 2, 2)])
@pytest.mark.parametrize("normalise", [True, False])
def test_numbers_of_eight_bits_are_no_pixels(shape, normalise):
    numbers = torch.randint(0, 256, (100, *shape), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    for lazily in (False, True):
        eight, floats = (scaled(inputs, lazily, normalise=normalise) for inputs in (numbers, numbers.float()))
        assert torch.equal(eight.parts["test"][0][:], floats.parts["test"][0][:]) and eight.encoding == floats.encoding == {"numbers": True}


def test_images_that_their_source_has_scaled_stay_as_they_are():
    images = torch.randn(100, 3, 4, 4, generator=torch.Generator().manual_seed(0)) * 2
    task = scaled(images)
    assert task.inputs is None and task.pixels is None and torch.equal(task.parts["train"][0], images[:60])


def test_many_images_are_scaled_by_a_sample_of_the_training_part(monkeypatch):
    class Read(rows.Mapped):
        count = 0

        def __getitem__(self, numbers):
            self.count += len(numbers)
            assert numbers.max() < 60, "of the training part"
            return super().__getitem__(numbers)

    monkeypatch.setattr(module, "SAMPLED_IMAGES", 20)
    images = torch.arange(100, dtype=torch.uint8)[:, None, None, None].expand(-1, 1, 2, 2).contiguous()
    source = Read(images.numpy())
    task = make_task(Examples(source, torch.arange(100) % 2, "classification", splits=FIXED), SPLIT)
    assert source.count == 20 and 15 < float(task.inputs.mean) * 255 < 45, "they are drawn at random, not the first ones"
    again = make_task(Examples(Read(images.numpy()), torch.arange(100) % 2, "classification", splits=FIXED), SPLIT)
    assert again.inputs.lists() == task.inputs.lists()


def test_texts_are_not_scaled(tmp_path):
    (tmp_path / "lines.tsv").write_text("\n".join(f"{i % 2}\tgood thing {i}" for i in range(40)))
    assert make_task(text(path=str(tmp_path / "lines.tsv")), SPLIT).inputs is None


def test_regression_targets_are_scaled_and_can_be_had_back():
    examples = values()
    task = make_task(examples, SPLIT)
    y = task.parts["train"][1]
    torch.testing.assert_close(y.mean(0), torch.zeros(1), atol=1e-5, rtol=0)
    together = task.targets.invert(torch.cat([task.parts[p][1] for p in PARTS]))
    torch.testing.assert_close(together.sort(0).values, examples.targets.double().sort(0).values, rtol=1e-6, atol=1e-5)
    assert (task.kind, task.outputs, task.class_counts) == ("regression", 1, None)


def test_nothing_is_scaled_where_that_is_switched_off():
    task = make_task(values(), {**SPLIT, "normalise": False})
    assert task.inputs is None and task.targets is None and task.parts["train"][1].mean() > 200


def test_the_classes_are_counted_where_they_have_no_names():
    task = make_task(dataclasses.replace(classes(), classes=()), SPLIT)
    assert task.outputs == 2 and task.classes == ()


def test_a_scale_goes_where_the_values_are():
    scale = Scale.of(torch.rand(5, 2))
    assert scale.invert(scale.apply(torch.rand(3, 2, device="meta"))).device.type == "meta"
    assert Scale.read(scale.lists()).apply(torch.ones(1, 2)).equal(scale.apply(torch.ones(1, 2)))


def test_a_batch_of_training_examples_is_at_hand():
    task = make_task(classes(), SPLIT)
    assert [len(t) for t in task.example()] == [60, 60]
    assert Task("unknown").example() is None


def test_a_batch_of_training_examples_stands_for_all_of_them():
    """LSUV takes it: of sorted classes the first examples would be one class alone."""
    parts = {"train": (torch.arange(1000.0)[:, None], torch.arange(1000) // 100)}
    inputs, targets = Task("classification", (1,), 10, parts=parts).example()
    assert len(targets.unique()) == 10 and torch.equal(inputs.flatten().long() // 100, targets)
    assert torch.equal(Task("classification", (1,), 10, parts=parts).example()[0], inputs)


# --------------------------------------------------------------------------------------------------------------- what is refused


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.parametrize("where", ["inputs", "targets"])
def test_what_is_not_finite_is_refused(bad, where):
    examples = values()
    getattr(examples, where)[3, 0] = bad
    with pytest.raises(BadInput, match=r"data: some values are not finite \(NaN or infinity\)"):
        make_task(examples, SPLIT)


def test_one_value_is_refused():
    with pytest.raises(BadInput, match=r"data: all targets are 2\.5: there is nothing to learn"):
        make_task(dataclasses.replace(values(), targets=torch.full((len(values().targets),), 2.5)), SPLIT)


def test_one_class_is_refused():
    with pytest.raises(BadInput, match="data: all targets are of one class"):
        make_task(classes(share=0.0), SPLIT)


def test_inputs_without_targets_are_refused():
    examples = values()
    with pytest.raises(BadInput, match="data: 100 inputs but 99 targets"):
        make_task(dataclasses.replace(examples, targets=examples.targets[:-1]), SPLIT)


def test_too_few_of_a_class_are_refused_with_the_way_out():
    few = classes(60, share=2 / 60)
    with pytest.raises(BadInput, match=r"data: 60 examples cannot be split: .*split\.stratify=false"):
        make_task(few, SPLIT)
    assert len(make_task(few, {**SPLIT, "stratify": False}).parts["train"][0]) == 36


def test_too_few_examples_are_refused():
    with pytest.raises(BadInput, match=r"data: 2 examples cannot be split: [^(]*$"):
        make_task(values(2), SPLIT)


def test_a_class_that_a_part_lacks_is_said():
    splits = {"train": torch.arange(50), "validation": torch.arange(50, 60), "test": torch.tensor([1, 60])}
    task = make_task(dataclasses.replace(classes(), splits=splits), SPLIT)
    assert task.notes == ("the validation part has no example of 'yes', so its metrics do not cover that",)
    many = Examples(torch.rand(40, 2), torch.arange(40) % 8, "classification", splits=splits | {"train": torch.arange(20)} | {
        "validation": torch.arange(21, 22), "test": torch.arange(20, 30)})  # fmt: skip
    assert make_task(many, SPLIT).notes == (
        "the validation part has no example of 0, 1, 2, 3, 4 and 2 more classes, so its metrics do not cover that",
    )


@pytest.mark.parametrize("dtype", [torch.int32, torch.uint8, torch.bool])
def test_labels_of_any_whole_type_are_classes(dtype):
    examples = classes()
    task = make_task(dataclasses.replace(examples, targets=examples.targets.to(dtype)), SPLIT)
    assert task.parts["train"][1].dtype == torch.int64 and task.class_counts.tolist() == [42, 18]


def test_a_small_spread_around_a_large_mean_is_kept():
    values = 2459000 + torch.rand(100, 1, dtype=torch.float64) / 5
    task = make_task(Examples(values, values, "regression"), SPLIT)
    for x in task.parts["train"]:
        assert x.dtype == torch.float32 and len(x.unique()) == 60 and x.std() > 0.9
    torch.testing.assert_close(task.targets.invert(task.parts["train"][1]).mean(), values.mean(), atol=0.03, rtol=0)
    unscaled = make_task(Examples(values, values, "regression"), {**SPLIT, "normalise": False})
    assert {x.dtype for part in unscaled.parts.values() for x in part} == {torch.float32}


def test_many_rare_classes_are_refused_in_one_short_line():
    examples = Examples(torch.rand(300, 2), torch.arange(300), "classification")
    with pytest.raises(
        BadInput, match=r"data: 300 examples cannot be split: 300 of 300 classes have too few examples to be in every part \(split"
    ):
        make_task(examples, SPLIT)
    with pytest.raises(BadInput, match="there are 40 classes, more than a part of 32 examples can hold"):
        make_task(Examples(torch.rand(80, 2), torch.arange(80) % 40, "classification"), SPLIT)


# ------------------------------------------------------------------------------------------------------------ a user's data module


class Rows(L.LightningDataModule):
    def __init__(self, targets: torch.Tensor):
        super().__init__()
        self.targets, self.done = targets, []

    def prepare_data(self):
        assert self.trainer.num_devices == 1, "Lightning's have a Trainer in every hook"
        self.done.append("prepare")

    def setup(self, stage):
        self.done.append(stage)

    def train_dataloader(self):
        return DataLoader(TensorDataset(torch.rand(len(self.targets), 2, 5), self.targets), 10)


class Mapped(Rows):
    def train_dataloader(self):
        return [{"x": x, "y": y} for x, y in super().train_dataloader()]


def test_a_data_module_is_set_up_and_its_classes_counted():
    datamodule = Rows(torch.tensor([0] * 25 + [3] * 8))
    task = make_task(datamodule, SPLIT)
    assert datamodule.done == ["prepare", "fit"]
    assert (task.kind, task.input_shape, task.outputs) == ("classification", (2, 5), 4)
    assert task.class_counts.tolist() == [25, 0, 0, 8] and task.datamodule is datamodule


@pytest.mark.parametrize(("setting", "value"), [("folds", 3), ("column", "part"), ("test", 0.3)])
def test_a_split_of_a_data_module_is_refused(setting, value):
    with pytest.raises(BadInput, match=rf"split\.{setting}={value}: a data module makes its own split; leave this setting out"):
        make_task(Rows(torch.arange(33) % 2), {**SPLIT, setting: value})


@pytest.mark.parametrize("dtype", [torch.int32, torch.uint8, torch.bool])
def test_labels_of_a_data_module_may_be_of_any_whole_type(dtype):
    task = make_task(Rows((torch.arange(33) % 2).to(dtype)), SPLIT)
    assert (task.kind, task.outputs, task.class_counts.tolist()) == ("classification", 2, [17, 16])


@pytest.mark.parametrize(
    ("targets", "said"),
    [
        (
            torch.ones(30, 3, 1, dtype=torch.long),
            r"have the shape \(N, 3, 1\); expected the class of each example as \(N,\), or as rows with a single 1; several values",
        ),
        (
            torch.ones(30, 8, 8, dtype=torch.uint8),
            r"have the shape \(N, 8, 8\); .*; masks need a LightningModule with its own loss",
        ),
        (torch.full((30,), -1), "hold the class -1; expected classes from 0 upwards"),
    ],
)
def test_whole_numbers_that_are_no_classes_are_refused(targets, said):
    with pytest.raises(BadInput, match=f"data: the data module's targets {said}"):
        make_task(Rows(targets), SPLIT)
    with pytest.raises(BadInput, match=f"data: the targets {said}"):
        make_task(Examples(torch.rand(30, 2), targets, "classification"), SPLIT)
    assert make_task(Rows(targets), SPLIT, scan=False).kind == "classification"


@pytest.mark.parametrize("several", [list, lambda loaders: {"a": loaders[0], "b": loaders[1]}, CombinedLoader])
def test_several_loaders_in_place_of_one_are_refused(several):
    class Several(Rows):
        def val_dataloader(self):
            return several([self.train_dataloader(), self.train_dataloader()])

    with pytest.raises(BadInput, match=r"data: the data module's val_dataloader gives 2 loaders; join their data sets in one \(torch"):
        make_task(Several(torch.arange(20) % 2), SPLIT)
    assert make_task(Several(torch.arange(20) % 2), SPLIT, scan=False).kind == "classification"


@pytest.mark.parametrize(
    "nothing", [None, [], DataLoader(TensorDataset(torch.rand(9, 2)), 10, drop_last=True)], ids=["none", "list", "few"]
)
def test_a_part_without_batches_is_refused(nothing):
    class Empty(Rows):
        def val_dataloader(self):
            return nothing

    with pytest.raises(BadInput, match=r"^data: the data module's val_dataloader gives no batch$"):
        make_task(Empty(torch.arange(20) % 2), SPLIT)


def test_a_loader_in_a_list_is_that_loader():
    class Listed(Rows):
        def train_dataloader(self):
            return [super().train_dataloader()]

    task = make_task(Listed(torch.arange(20) % 2), SPLIT)
    assert (task.kind, task.input_shape, task.class_counts.tolist()) == ("classification", (2, 5), [10, 10])
    for limit in (None, 1):
        (inputs, _), *_ = Feed(task, {"size": None}, 0, chunked=True, limit=limit).train().batches
        assert inputs.shape == (10, 2, 5)


@pytest.mark.parametrize(
    ("targets", "seen"),
    [
        (torch.arange(20) % 2.0, "0.0 and 1.0"),
        ((torch.arange(20) % 2.0)[:, None], "0.0 and 1.0"),
        (torch.arange(20) % 3.0 - 1, "-1.0, 0.0 and 1.0"),
    ],
)
def test_real_targets_that_may_be_classes_are_told_to_be_values(targets, seen):
    task = make_task(Rows(targets), SPLIT)
    told = f"the data module's targets are {seen} in torch.float32: they are taken as values; integers are taken as classes"
    assert (task.kind, task.notes) == ("regression", (told,))
    targets[-1] = 0.5
    assert make_task(Rows(targets), SPLIT).notes == ()


@pytest.mark.parametrize("dtype", [torch.long, torch.bool, torch.float32])
def test_rows_of_0_and_1_are_told_by_all_batches(dtype):
    """The first batch shows a single 1 in each row, as classes do."""
    rows = torch.eye(3).repeat(10, 1)
    assert make_task(Rows(rows.to(dtype)), SPLIT).kind == "classification"
    rows[-1] = torch.tensor([1, 1, 0])
    task = make_task(Rows(rows.to(dtype)), SPLIT)
    assert (task.kind, task.outputs, task.class_counts) == ("multilabel", 3, None)
    assert make_task(Rows((1 - rows).to(dtype)), SPLIT, scan=False).kind == "multilabel"


def test_values_that_begin_like_classes_are_a_regression():
    rows = torch.eye(3).repeat(10, 1)
    rows[-1, 0] = 0.5
    assert make_task(Rows(rows), SPLIT).kind == "regression"


def labels(*columns: torch.Tensor, splits=None, dtype=torch.float32) -> Examples:
    rows = torch.stack(columns, 1).to(dtype)
    return Examples(torch.rand(len(rows), 2), rows, "multilabel", tuple("abcd"[: len(columns)]), splits)


@pytest.mark.parametrize("dtype", [torch.long, torch.bool, torch.float32])
def test_labels_are_split_by_chance_and_are_not_scaled(dtype):
    numbers = torch.arange(50)
    task = make_task(labels(numbers % 2 == 0, numbers % 3 == 0, dtype=dtype), SPLIT)
    assert (task.kind, task.outputs, task.classes, task.class_counts, task.targets) == ("multilabel", 2, ("a", "b"), None, None)
    found = torch.cat([targets for _, targets in task.parts.values()])
    assert found.dtype == torch.float32 and found.sum(0).tolist() == [25, 17] and task.notes == ()


def test_labels_that_a_part_lacks_are_told():
    numbers = torch.arange(30)
    splits = dict(zip(("train", "validation", "test"), numbers.split(10), strict=True))
    task = make_task(labels(numbers % 2 == 0, numbers >= 10, numbers < 20, numbers < 0, splits=splits), SPLIT)
    assert task.notes == (
        "no training example has the label 'b', 'd', which cannot be learnt",
        "the test part has no example of 'c', whose f1, recall and precision count as 0",
    )


@pytest.mark.parametrize(
    ("targets", "said"),
    [
        (torch.arange(60).view(30, 2) / 59, r"labels are rows \(N, K\) of 0 and 1; the targets are \(30, 2\) and hold 0 to 1"),
        (torch.arange(30) % 2, r"labels are rows \(N, K\) of 0 and 1; the targets are \(30,\) and hold 0 to 1"),
        (torch.ones(30, 2), "all targets are the same labels"),
    ],
)
def test_what_is_no_labels_is_refused(targets, said):
    with pytest.raises(BadInput, match=f"data: {said}"):
        make_task(Examples(torch.rand(30, 2), targets, "multilabel"), SPLIT)


def test_a_module_that_knows_its_classes_is_spared_the_scan():
    task = make_task(Rows(torch.zeros(33, dtype=torch.long)), SPLIT, scan=False)
    assert (task.kind, task.outputs, task.class_counts) == ("classification", 0, None)


@pytest.mark.parametrize(("shape", "outputs"), [((30,), 1), ((30, 1), 1), ((30, 2), 2)])
def test_real_targets_are_a_regression(shape, outputs):
    task = make_task(Rows(torch.rand(shape)), SPLIT)
    assert (task.kind, task.outputs, task.class_counts) == ("regression", outputs, None)


def test_batches_that_are_no_tensors_are_for_a_module_that_takes_them():
    datamodule = Mapped(torch.zeros(20, dtype=torch.long))
    with pytest.raises(BadInput, match=r"data: the data module's batches are not tensors \(inputs, targets\); give a LightningModule"):
        make_task(datamodule, SPLIT)
    assert make_task(datamodule, SPLIT, scan=False).kind == "unknown"


def test_a_column_that_rounding_alone_moves_is_constant():
    values = torch.full((1000, 1), 0.1)
    assert 0 < values.std(0, correction=0).item() < 1e-6 or values.std(0, correction=0).item() == 0
    scale = Scale.of(values)
    assert scale.deviation.item() == 1.0 and scale.apply(torch.tensor([[0.11]])).abs().item() < 0.02


def test_the_groups_of_the_test_part_are_kept():
    groups = np.arange(60) // 6
    examples = Examples(torch.rand(60, 2), torch.arange(60) % 2, "classification", ("a", "b"), columns={"street": groups})
    split = {"validation": 0.2, "test": 0.2, "seed": 0, "stratify": True, "normalise": True, "group": "street"}
    task = make_task(examples, split)
    assert task.groups is not None and task.groups.bincount().tolist() == [6] * (len(task.parts["test"][1]) // 6)


def test_other_examples_have_another_fingerprint():
    inputs, targets = torch.rand(30, 2), torch.arange(30) % 2
    pixels = (255 * inputs).to(torch.uint8)
    prints = [fingerprint(Examples(x, y, "classification", ("a", "b"))) for x, y in (
        (inputs, targets), (inputs.clone(), targets.clone()), (inputs + 1e-3, targets), (inputs, 1 - targets),
        (pixels, targets), (255 - pixels, targets), (rows.Mapped(inputs.numpy()), targets), (rows.Mapped((inputs + 1).numpy()), targets),
    )]  # fmt: skip
    assert prints[0] == prints[1] == prints[6] and len(set(prints)) == 6


def test_other_features_have_another_fingerprint(tmp_path):
    prints = []
    for rooms in (range(40), range(40), range(1, 41), [*range(39), 5]):
        path = tmp_path / "table.csv"
        path.write_text("rooms,price\n" + "\n".join(f"{r},{100.5 + i}" for i, r in enumerate(rooms)))
        prints.append(fingerprint(csv(path=str(path), target="price")))
    assert prints[0] == prints[1] and len(set(prints)) == 3
    prints = []
    for word in ("good", "good", "bad"):
        path = tmp_path / "lines.tsv"
        path.write_text("\n".join(f"{i % 2}\t{word} thing {i}" for i in range(20)))
        prints.append(fingerprint(text(path=str(path))))
    assert prints[0] == prints[1] != prints[2]


def test_what_the_source_says_is_told_first():
    splits = {"train": torch.arange(8), "validation": torch.arange(8, 10), "test": torch.arange(10, 14)}
    targets = torch.tensor([0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 0, 1, 2, 3])
    task = make_task(Examples(torch.randn(14, 3), targets, "classification", tuple("abcd"), splits, notes=("first",)), SPLIT)
    assert task.notes == ("first", "the validation part has no example of 'c', 'd', so its metrics do not cover that")


@pytest.mark.parametrize(
    ("low", "high", "top"),
    [(0, 1, 1), (0.25, 0.5, 1), (0, 255, 255), (0, 4000, 4095), (0, 1.5, 1.5), (0, 16, 31), (-2, 2, None)],
)
def test_the_range_of_images_is_what_training_shows(low, high, top):
    images = torch.linspace(low, high, 100)[:, None, None, None].expand(-1, 3, 4, 4).double()
    targets = torch.arange(100) % 2
    splits = {"train": torch.cat([torch.arange(60), torch.arange(90, 100)]), "validation": torch.arange(60, 90)}
    splits["test"] = splits["validation"]
    task = make_task(Examples(images, targets, "classification", splits=splits), SPLIT)
    assert task.encoding["values"] == [pytest.approx(low), pytest.approx(high)]
    found = task.parts["train"][0]
    assert found.dtype == torch.float32
    if top is None:
        assert task.pixels is None and torch.equal(found, images[splits["train"]].float())
    else:
        torch.testing.assert_close(task.pixels.invert(found), images[splits["train"]] / top, atol=1e-6, rtol=1e-5)
    assert task.notes == (
        () if top in (1, None) else (f"the images have values from {low:g} to {high:g}; their range is taken as 0 to {top:g}",)
    )
    assert task.unoffered.keys() == (set() if top else {"images", "pixels"})
    raw = make_task(Examples(images, targets, "classification", splits=splits), {**SPLIT, "normalise": False})
    assert raw.inputs is None and raw.unoffered.keys() == (set() if top == 1 else {"images", "pixels"})


def test_targets_become_what_a_loss_computes_with():
    inputs = torch.rand(20, 3).double()
    classes = torch.arange(20) % 2
    for targets in (classes.int(), classes.bool(), classes[:, None], torch.eye(2)[classes]):
        task = make_task(Examples(inputs, targets, "classification"), SPLIT)
        assert task.parts["train"][1].dtype == torch.int64 and task.class_counts.tolist() == [6, 6]
    values = make_task(Examples(inputs, torch.arange(20), "regression"), SPLIT)
    assert values.parts["train"][1].shape == (12, 1) and values.parts["train"][1].dtype == torch.float32
    assert values.parts["train"][0].dtype == torch.float32
    for targets, said in ((classes + 0.5, r"hold the class 0\.5; expected whole numbers"), (classes / 0, "some values are not finite")):
        with pytest.raises(BadInput, match=said):
            make_task(Examples(inputs, targets, "classification"), SPLIT)


@pytest.mark.parametrize(("outlier", "told"), [(1e7, True), (4.0, False)])
def test_a_target_that_outweighs_all_others_is_told(outlier, told):
    """The score of its part is nearly that of this example alone."""
    targets = torch.randn(100, 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    targets[70] = outlier
    fixed = {"train": torch.arange(60), "validation": torch.arange(60, 80), "test": torch.arange(80, 100)}
    notes = make_task(Examples(torch.rand(100, 3), targets, "regression", (), fixed), SPLIT).notes
    seen = "one of the 20 targets of the validation part, 1e+07, is so far from the others that it makes 100% of a squared error: "
    assert notes == ((f"{seen}mend it, or give objective=val_mae loss=huber, which weigh it less",) if told else ())
