from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits, load_wine

from autoopt.data.rows import Joined, Mapped, cached
from autoopt.data.task import Examples, make_task
from autoopt.domain import Unavailable
from autoopt.errors import BadInput
from autoopt.plugins.data.breast_cancer import breast_cancer
from autoopt.plugins.data.csv import csv
from autoopt.plugins.data.diabetes import diabetes
from autoopt.plugins.data.digits import digits
from autoopt.plugins.data.image_folder import image_folder
from autoopt.plugins.data.npz import npz
from autoopt.plugins.data.parquet import parquet
from autoopt.plugins.data.text import text
from autoopt.plugins.data.wine import wine

SPLIT = {"validation": 0.2, "test": 0.2, "seed": 0, "stratify": True, "normalise": True}


def encoded(examples: Examples) -> torch.Tensor:
    """The inputs, where all of them are for training."""
    return examples.inputs.encoded(torch.arange(len(examples.inputs)), (), True).inputs


def test_digits_are_images_in_the_unit_interval():
    examples = digits()
    assert examples.inputs.shape == (1797, 1, 8, 8) and examples.inputs.max() == 1 and examples.inputs.min() == 0
    assert examples.splits is None and examples.classes == tuple("0123456789")
    assert torch.equal(examples.inputs[5, 0] * 16, torch.tensor(load_digits().images[5]).float())


def test_digits_with_few_to_train_on_fix_their_splits():
    examples = digits(train=200)
    splits = examples.splits
    assert {name: len(part) for name, part in splits.items()} == {"train": 200, "validation": 399, "test": 1198}
    assert torch.equal(torch.cat(list(splits.values())).sort().values, torch.arange(1797))
    share = torch.bincount(examples.targets) / 1797
    for part in splits.values():
        counts = torch.bincount(examples.targets[part], minlength=10)
        assert (counts - share * len(part)).abs().max() <= 1.5
    again = digits(train=200).splits
    assert all(torch.equal(part, again[name]) for name, part in splits.items())


@pytest.mark.parametrize("train", [10, 1757])
def test_digits_have_every_class_in_every_part_at_the_ends(train):
    examples = digits(train=train)
    assert len(examples.splits["train"]) == train
    assert all(len(examples.targets[part].unique()) == 10 for part in examples.splits.values())


@pytest.mark.parametrize("train", [-1, 0, 9, 1758, 5000])
def test_digits_refuse_what_cannot_be_split(train):
    with pytest.raises(BadInput, match=f"data.digits.train={train}: expected 10 to 1757"):
        digits(train=train)


def test_breast_cancer():
    examples = breast_cancer()
    assert examples.inputs.shape == (569, 30) and examples.classes == ("malignant", "benign")
    assert torch.bincount(examples.targets).tolist() == [212, 357]


def test_diabetes():
    examples = diabetes()
    assert examples.inputs.shape == (442, 10) and examples.targets.shape == (442, 1) and examples.kind == "regression"
    assert (examples.targets.min(), examples.targets.max()) == (25, 346)


@pytest.fixture
def table(tmp_path):
    def read(text, target="y", **settings):
        file = tmp_path / "table.csv"
        file.write_bytes(text if isinstance(text, bytes) else text.encode())
        return csv(path=str(file), target=target, **settings)

    return read


def test_csv_numbers_texts_truths_and_gaps(table):
    examples = table("a,b,c,y\n1,x,True,u\n,z,False,v\n3,,True,u\n8,x,False,v\n")
    assert encoded(examples).tolist() == [
        [1, 0, 1, 0, 0, 1],  # a, a is missing, b=x, b=z, b is missing, c
        [3, 1, 0, 1, 0, 0],
        [3, 0, 0, 0, 1, 1],
        [8, 0, 1, 0, 0, 0],
    ]
    assert examples.targets.tolist() == [0, 1, 0, 1] and examples.classes == ("u", "v") and examples.splits is None
    assert encoded(examples).dtype == torch.float32 and examples.targets.dtype == torch.int64


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (["red", "blue"] * 20, "classification"),
        (["True", "False"] * 20, "classification"),
        ([str(n % 20) for n in range(40)], "classification"),
        ([str(n % 21) for n in range(42)], "regression"),
        (["1.5", "2.0"] * 20, "regression"),
    ],
)
def test_csv_tells_classes_from_values(table, values, kind):
    examples = table("a,y\n" + "".join(f"{n},{value}\n" for n, value in enumerate(values)))
    assert examples.kind == kind
    assert examples.targets.shape == ((len(values),) if kind == "classification" else (len(values), 1))


def test_csv_kind_overrides(table):
    text = "a,y\n1,3\n2,5\n"
    assert table(text).classes == ("3", "5")
    assert table(text, kind="regression").targets.tolist() == [[3], [5]]
    assert table("a,y\n1,0.5\n2,1.5\n", kind="classification").classes == ("0.5", "1.5")


@pytest.mark.parametrize("separator", [";", "\t", "\\t"])
def test_csv_separators(table, separator):
    text = "a;y\n1;u\n2;v\n".replace(";", separator.replace("\\t", "\t"))
    assert encoded(table(text, separator=separator)).tolist() == [[1], [2]]


@pytest.mark.parametrize(
    ("text", "settings", "message"),
    [
        ("", {}, r"data\.csv\.path: .*table\.csv is empty$"),
        ("a,y\n", {}, "is empty: it has a header but no rows"),
        ("a,y\n1,2\n4,5,6\n", {}, "cannot be read as a table: .* Expected 2 fields in line 3, saw 3"),
        ("a,y\n1,2,3\n4,5,6\n", {}, "its lines have more fields than its header"),
        (b"\xff\xfe\x00", {}, "cannot be read as a table: 'utf-8' codec"),
        ("a,y\n1,2\n", {"separator": ""}, "cannot be read as a table"),
        ("a,price\n1,2\n", {"target": "prices"}, r"has no column 'prices'\. Did you mean 'price'\? Known: a, price\."),
        ("a,y\n1,u\n2,\n3,v\n4,\n", {}, "the target 'y' has gaps: 2 of 4, the first in row 2"),
        ("a,y\n1,u\n2,u\n", {}, "the target 'y' has one class only: 'u'"),
        ("y\nu\nv\n", {}, "has no column to learn from besides the target"),
        ("a,y\n,1\n,2\n", {}, "has no column to learn from besides the target"),
        ("a,y\n1,u\n2,v\n", {"train": "x.csv"}, r"data\.csv\.path=.*, data\.csv\.train=x\.csv: give one of the two"),
        ("a,y\n1,u\n2,v\n", {"test": "x.csv"}, r"data\.csv\.path: there is no file x\.csv"),
        ("a,y\n1,u\n2,v\n", {"kind": "regression"}, "a regression needs numbers, the target 'y' holds 'u'"),
        ("a,y\n1,u\n2,v\n", {"kind": "clustering"}, r"data\.csv\.kind=clustering: expected classification or regression"),
        ("a,b,y\n1,inf,u\n2,3,v\n", {}, "column 'b' holds infinite values"),
        ("a,y\n1e300,u\n2,v\n", {}, "column 'a' holds infinite values"),
        ("a,y\n1,inf\n2,1.5\n", {}, "column 'y' holds infinite values"),
    ],
)
def test_csv_refuses_in_one_line(table, text, settings, message):
    with pytest.raises(BadInput, match=message) as caught:
        encoded(table(text, **settings))
    assert len(caught.value.problems) == 1 and "\n" not in str(caught.value)


def test_csv_without_a_file(tmp_path):
    with pytest.raises(BadInput, match=r"data\.csv\.path: there is no file .*missing\.csv"):
        csv(path=str(tmp_path / "missing.csv"), target="y")


def test_csv_without_any_file_says_what_to_give():
    with pytest.raises(Unavailable, match=r"data\.csv\.path is missing: say data\.csv\.path=…, or data\.csv\.train=… with"):
        csv(target="y")


def test_csv_in_a_file_a_part(tmp_path):
    for name, rows in {"a": "1,u\n2,v\n", "b": "3,u\n", "c": "4,v\n5,u\n"}.items():
        (tmp_path / name).write_text(f"x,y\n{rows}")
    files = {part: str(tmp_path / name) for part, name in {"train": "a", "val": "b", "test": "c"}.items()}
    examples = csv(target="y", **files)
    assert {part: rows.tolist() for part, rows in examples.splits.items()} == {"train": [0, 1], "validation": [2], "test": [3, 4]}
    assert encoded(examples)[:, 0].tolist() == [1, 2, 3, 4, 5] and examples.targets.tolist() == [0, 1, 0, 1, 0]
    (tmp_path / "c").write_text("z,y\n1,u\n")
    with pytest.raises(BadInput, match=r"data\.csv: .*c has no column 'x', which .*a has"):
        csv(target="y", **files)


def test_classes_that_training_has_not_seen_are_refused(tmp_path):
    for name, rows in {"a": "1,u\n2,v\n", "b": "3,u\n", "c": "4,w\n"}.items():
        (tmp_path / name).write_text(f"x,y\n{rows}")
    examples = csv(target="y", train=str(tmp_path / "a"), val=str(tmp_path / "b"), test=str(tmp_path / "c"))
    with pytest.raises(BadInput, match="data: the test part has classes that the training part has not: 'w'"):
        make_task(examples, SPLIT)


def test_parquet_is_treated_as_csv(tmp_path):
    frame = pandas.DataFrame({"a": [1.0, None, 3], "b": ["x", "z", None], "c": [True, False, True], "y": ["u", "v", "u"]})
    frame.to_csv(tmp_path / "t.csv", index=False)
    frame.to_parquet(tmp_path / "t.parquet")
    theirs, ours = csv(path=str(tmp_path / "t.csv"), target="y"), parquet(path=str(tmp_path / "t.parquet"), target="y")
    assert torch.equal(encoded(ours), encoded(theirs)) and torch.equal(ours.targets, theirs.targets) and ours.classes == theirs.classes
    (tmp_path / "bad.parquet").write_bytes(b"PAR1 nothing")
    with pytest.raises(BadInput, match=r"data\.parquet\.path: .*bad\.parquet cannot be read as a table: ") as caught:
        parquet(path=str(tmp_path / "bad.parquet"), target="y")
    assert "\n" not in str(caught.value)


def test_wine():
    examples = wine()
    assert examples.inputs.shape == (178, 13) and torch.bincount(examples.targets).tolist() == [59, 71, 48]
    assert torch.equal(examples.inputs, torch.tensor(load_wine().data).float())


# ----------------------------------------------------------------------------------------------------------------------- images


@pytest.fixture
def pictures(tmp_path) -> Path:
    for part in ("train", "val", "test"):
        for number, name in enumerate(("cat", "dog")):
            (tmp_path / part / name).mkdir(parents=True)
            for i in range(3):
                pixels = np.full((6, 4, 3), (40 * i, 100 * number, 200), dtype="uint8")
                Image.fromarray(pixels).save(tmp_path / part / name / f"{i}.png")
    return tmp_path


def test_images_in_a_folder_a_class(pictures):
    examples = image_folder(path=str(pictures / "train"), size=5)
    images = examples.inputs[torch.arange(6)]
    assert examples.classes == ("cat", "dog") and examples.targets.tolist() == [0, 0, 0, 1, 1, 1] and examples.splits is None
    assert images.shape == (6, 3, 5, 5) and images.dtype == torch.uint8
    assert images[:, :, 2, 2].tolist() == [[40 * (i % 3), 100 * (i // 3), 200] for i in range(6)]
    grey = image_folder(path=str(pictures / "train"), size=2, grey=True).inputs[torch.tensor([4])]
    assert grey.shape == (1, 1, 2, 2) and abs(int(grey[0, 0, 0, 0]) - (0.299 * 40 + 0.587 * 100 + 0.114 * 200)) <= 1


def test_folders_around_the_classes_fix_the_parts(pictures, tmp_path):
    examples = image_folder(path=str(pictures), size=4)
    assert {part: len(rows) for part, rows in examples.splits.items()} == {"train": 6, "test": 6, "validation": 6}
    task = make_task(examples, SPLIT)
    kept = make_task(replace(examples, inputs=cached(examples.inputs, "memory", tmp_path)), SPLIT)
    images = task.parts["validation"][0][:]
    assert task.input_shape == (3, 4, 4) and images.max() == 200 / 255 and images.dtype == torch.float32
    assert torch.equal(images, kept.parts["validation"][0][:])


def test_an_image_that_cannot_be_read_is_named_before_the_first_trial(pictures):
    (pictures / "train" / "dog" / "1.png").write_bytes(b"\x89PNG\r\n\x1a\n nothing")
    with pytest.raises(BadInput, match=r"data: .*dog/1\.png cannot be read as an image: "):
        make_task(image_folder(path=str(pictures)), SPLIT)


@pytest.mark.parametrize(
    ("inside", "settings", "said"),
    [
        ("nowhere", {}, "there is no folder"),
        ("train/cat", {}, "has 0 folders with images in them"),
        ("train", {"size": 0}, "expected 1 or more"),
    ],
)
def test_folders_without_images_are_refused(pictures, inside, settings, said):
    with pytest.raises(BadInput, match=said):
        image_folder(path=str(pictures / inside), **settings)


# -------------------------------------------------------------------------------------------------------------------------- npz


def test_npz_maps_what_is_not_compressed(tmp_path):
    x, y = np.random.default_rng(0).integers(0, 256, (20, 6, 5), dtype="uint8"), np.arange(20) % 2
    np.savez(tmp_path / "a.npz", x=x, y=y, who=np.arange(20) // 4)
    examples = npz(path=str(tmp_path / "a.npz"))
    assert isinstance(examples.inputs, Mapped) and isinstance(examples.inputs.array, np.memmap) and examples.inputs.shape == (20, 1, 6, 5)
    assert torch.equal(examples.inputs[torch.arange(20)][:, 0], torch.tensor(x)) and examples.targets.tolist() == y.tolist()
    assert examples.columns["who"].tolist() == (np.arange(20) // 4).tolist() and examples.classes == ("0", "1")
    np.savez_compressed(tmp_path / "b.npz", x=x, y=y)
    small = npz(path=str(tmp_path / "b.npz"))
    assert not isinstance(small.inputs.array, np.memmap) and torch.equal(small.inputs[torch.arange(20)][:, 0], torch.tensor(x))


def test_npz_in_parts_and_with_channels_last(tmp_path):
    draw = np.random.default_rng(0)
    x = {part: draw.integers(0, 256, (count, 6, 5, 3), dtype="uint8") for part, count in {"train": 10, "test": 4}.items()}
    np.savez(tmp_path / "a.npz", **{f"im_{p}": v for p, v in x.items()}, **{f"lab_{p}": np.arange(len(v)) % 2 for p, v in x.items()})
    examples = npz(path=str(tmp_path / "a.npz"), inputs="im", targets="lab")
    assert isinstance(examples.inputs, Joined) and {p: len(v) for p, v in examples.splits.items()} == {"train": 10, "test": 4}
    together = torch.tensor(np.concatenate([*x.values()])).permute(0, 3, 1, 2)
    numbers = torch.tensor([12, 3, 10, 9])
    assert torch.equal(examples.inputs[numbers], together[numbers])


def test_npz_numbers_are_a_table_and_real_targets_a_regression(tmp_path):
    np.savez(tmp_path / "a.npz", x=np.arange(12.0).reshape(6, 2), y=np.arange(6.0), f=np.asfortranarray(np.arange(12).reshape(6, 2)))
    examples = npz(path=str(tmp_path / "a.npz"))
    assert examples.inputs[torch.tensor([1])].tolist() == [[2, 3]] and examples.inputs.dtype == torch.float32
    assert examples.kind == "regression" and examples.targets.shape == (6, 1)
    assert npz(path=str(tmp_path / "a.npz"), inputs="f").inputs[torch.tensor([5, 1])].tolist() == [[10, 11], [2, 3]]
    assert npz(path=str(tmp_path / "a.npz"), kind="classification").classes == ("0.0", "1.0", "2.0", "3.0", "4.0", "5.0")


@pytest.mark.parametrize(
    ("arrays", "settings", "said"),
    [
        ({"a": np.ones((3, 2)), "y": np.ones(3)}, {}, r"has no array 'x'\. .*Known: a, y"),
        ({"x": np.ones((3, 2)), "z": np.ones(3)}, {}, "has no array 'y'"),
        ({"x": np.array([["a"]]), "y": np.ones(1)}, {}, "expected numbers"),
        ({"x": np.array([[object()]]), "y": np.ones(1)}, {}, "it holds Python objects"),
        ({"x": np.ones((3, 2)), "y": np.ones(3)}, {"kind": "other"}, r"data\.npz\.kind=other"),
    ],
)
def test_npz_refuses_in_one_line(tmp_path, arrays, settings, said):
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(BadInput, match=said) as caught:
        npz(path=str(tmp_path / "a.npz"), **settings)
    assert "\n" not in str(caught.value)


def test_npz_that_is_none(tmp_path):
    with pytest.raises(BadInput, match=r"data\.npz\.path: there is no file"):
        npz(path=str(tmp_path / "a.npz"))
    (tmp_path / "a.npz").write_bytes(b"PK nothing")
    with pytest.raises(BadInput, match="cannot be read as npz: File is not a zip file"):
        npz(path=str(tmp_path / "a.npz"))


# ------------------------------------------------------------------------------------------------------------------------- text


def test_texts_are_indices_of_the_words_of_the_training_part(tmp_path):
    (tmp_path / "a").write_text("pos\tGood, good film\nneg\tbad film\nneg\tbad\n")
    (tmp_path / "b").write_text("pos\tgood unseen film film film\n")
    examples = text(train=str(tmp_path / "a"), test=str(tmp_path / "b"))
    found = examples.inputs.encoded(examples.splits["train"], (), True)
    assert found.words["vocabulary"] == ["bad", "film", "good", ","] and found.tokens == 6
    assert found.inputs.tolist() == [[4, 5, 4, 3], [2, 3, 0, 0], [2, 0, 0, 0], [4, 1, 3, 3]] and found.inputs.dtype == torch.int64
    assert examples.classes == ("neg", "pos") and examples.targets.tolist() == [1, 0, 0, 1]


def test_texts_are_cut_and_rare_words_are_unknown(tmp_path):
    (tmp_path / "a.csv").write_text('pos,"a, b b"\nneg,b a a\n')
    examples = text(path=str(tmp_path / "a.csv"), separator=",", length=2, vocabulary=3)
    found = examples.inputs.encoded(torch.tensor([0, 1]), (), True)
    assert found.words["vocabulary"] == ["a"] and found.inputs.tolist() == [[2, 1], [1, 2]] and found.tokens == 3
    task = make_task(
        Examples(
            examples.inputs, examples.targets, "classification", splits=dict.fromkeys(("train", "validation", "test"), torch.arange(2))
        ),
        SPLIT,
    )
    assert task.tokens == 3 and task.inputs is None and task.input_shape == (2,) and task.parts["train"][0].dtype == torch.int64


@pytest.mark.parametrize(
    ("content", "settings", "said"),
    [
        ("", {}, "is empty"),
        ("pos\tfine\nonly a label\n", {}, r"line 2 is not a label, '\\t' and a text"),
        ("pos\t \n", {}, "line 1 is not a label"),
        ("pos\tfine\n", {"length": 0}, "length=0, vocabulary=10000: expected 1 or more"),
    ],
)
def test_texts_that_are_none_are_refused(tmp_path, content, settings, said):
    (tmp_path / "a").write_text(content)
    with pytest.raises(BadInput, match=said):
        text(path=str(tmp_path / "a"), **settings)
