import pytest
import torch
from sklearn.datasets import load_digits

from autoopt.errors import BadInput
from autoopt.plugins.data.breast_cancer import breast_cancer
from autoopt.plugins.data.csv import csv
from autoopt.plugins.data.diabetes import diabetes
from autoopt.plugins.data.digits import digits


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
    assert examples.inputs.tolist() == [
        [1, 0, 1, 0, 0, 0, 1],  # a, a is missing, b=x, b=z, b is missing, c=False, c=True
        [3, 1, 0, 1, 0, 1, 0],
        [3, 0, 0, 0, 1, 0, 1],
        [8, 0, 1, 0, 0, 1, 0],
    ]
    assert examples.targets.tolist() == [0, 1, 0, 1] and examples.classes == ("u", "v") and examples.splits is None
    assert examples.inputs.dtype == torch.float32 and examples.targets.dtype == torch.int64


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


def test_csv_keeps_the_most_frequent_levels_of_a_text(table):
    rows = [f"name{n},1.5\n" for n in range(30)] + ["often,2.5\n"] * 3
    examples = table("a,y\n" + "".join(rows))
    assert examples.inputs.shape == (33, 20) and examples.inputs[-1].sum() == 1
    assert examples.inputs[:30].sum() == 19


@pytest.mark.parametrize("separator", [";", "\t", "\\t"])
def test_csv_separators(table, separator):
    text = "a;y\n1;u\n2;v\n".replace(";", separator.replace("\\t", "\t"))
    assert table(text, separator=separator).inputs.tolist() == [[1], [2]]


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
        ("a,y\n1,u\n2,\n3,v\n4,\n", {}, "the target 'y' has gaps: 2 of 4, the first in line 3"),
        ("a,y\n1,u\n2,u\n", {}, "the target 'y' has one class only: 'u'"),
        ("y\nu\nv\n", {}, "has no column to learn from besides the target"),
        ("a,y\n,1\n,2\n", {}, "has no column to learn from besides the target"),
        ("a,y\n1,u\n2,v\n", {"kind": "regression"}, "a regression needs numbers, the target 'y' holds 'u'"),
        ("a,y\n1,u\n2,v\n", {"kind": "clustering"}, r"data\.csv\.kind=clustering: expected classification or regression"),
        ("a,b,y\n1,inf,u\n2,3,v\n", {}, "column 'b' holds infinite values"),
        ("a,y\n1e300,u\n2,v\n", {}, "column 'a' holds infinite values"),
        ("a,y\n1,inf\n2,1.5\n", {}, "column 'y' holds infinite values"),
    ],
)
def test_csv_refuses_in_one_line(table, text, settings, message):
    with pytest.raises(BadInput, match=message) as caught:
        table(text, **settings)
    assert len(caught.value.problems) == 1 and "\n" not in str(caught.value)


def test_csv_without_a_file(tmp_path):
    with pytest.raises(BadInput, match=r"data\.csv\.path: there is no file .*missing\.csv"):
        csv(path=str(tmp_path / "missing.csv"), target="y")
