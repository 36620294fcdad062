import datetime
import os
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas
import pyarrow.parquet
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits, load_wine

from autoopt.data.archive import Archive
from autoopt.data.examples import Examples
from autoopt.data.make_task import make_task
from autoopt.data.rows import Joined, Mapped, cached
from autoopt.domain import Unavailable
from autoopt.errors import BadInput, no_file
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
    assert encoded(examples).dtype == torch.float64 and examples.targets.dtype == torch.int64


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


WEATHER = "a,wet,cold,rain,wind\n1,1,true,0.5,3\n2,0,true,1.5,4\n3,1,false,2,0\n4,0,false,0,1\n"


def test_csv_columns_of_0_and_1_are_labels_by_the_names_of_their_columns(table):
    examples = table(WEATHER, target=["wet", "cold"])
    assert (examples.kind, examples.classes, examples.targets.dtype) == ("multilabel", ("wet", "cold"), torch.float32)
    assert examples.targets.tolist() == [[1, 1], [0, 1], [1, 0], [0, 0]] and encoded(examples).shape == (4, 3)
    assert table(WEATHER, target=["wet", "cold"], kind="regression").kind == "regression"
    assert table(WEATHER, target=["wet"]).kind == table(WEATHER, target="wet").kind == "classification"


def test_csv_several_columns_of_numbers_are_a_regression(table):
    examples = table(WEATHER, target=["rain", "wind"])
    assert (examples.kind, examples.classes) == ("regression", ("rain", "wind"))
    assert examples.targets.tolist() == [[0.5, 3], [1.5, 4], [2, 0], [0, 1]] and make_task(examples, SPLIT).outputs == 2


@pytest.mark.parametrize(
    ("target", "settings", "message"),
    [
        (
            ["wet", "cold", "wind"],
            {},
            r"the target 'wind' holds other values than 0 and 1, .*; if all targets are values, give data\.csv\.kind=",
        ),
        (["rain", "wind"], {"kind": "multilabel"}, r"the target 'rain' holds other values than 0 and 1"),
        (["wet", "cold"], {"kind": "classification"}, r"kind=classification: a class is one column, but data\.csv\.target names 2"),
        ("wet", {"kind": "multilabel"}, r"kind=multilabel: a label is a column of 0 and 1; name several: 'data\.csv\.target=\[wet,…\]'"),
        (["wet", "wet"], {}, r"data\.csv\.target names the column 'wet' twice"),
        ([], {}, r"data\.csv\.target=\[\]: name a column, or several"),
        (["wet", "snow"], {}, r"data\.csv\.target: the table has no column 'snow'"),
        (
            ["wet", "a"],
            {"types": ["a:category"]},
            r"the target 'a' is a category such as '1'; several targets are numbers, or labels of 0 and 1",
        ),
    ],
)
def test_csv_refuses_several_targets_in_one_line(table, target, settings, message):
    with pytest.raises(BadInput, match=message) as caught:
        table(WEATHER, target=target, **settings)
    assert "\n" not in str(caught.value)


def test_parquet_has_several_targets_too(tmp_path):
    frame = pandas.DataFrame({"a": [1.5, 2.5, 3.5], "wet": [True, False, True], "cold": [0, 1, 0], "wind": [0.5, 1.0, 7.0]})
    frame.to_parquet(tmp_path / "t.parquet")
    examples = parquet(path=str(tmp_path / "t.parquet"), target=["wet", "cold"])
    assert examples.kind == "multilabel" and examples.targets.tolist() == [[1, 0], [0, 1], [1, 0]]
    assert parquet(path=str(tmp_path / "t.parquet"), target=["a", "wind"]).classes == ("a", "wind")


def test_long_identifiers_are_classes_to_their_last_digit(table, tmp_path):
    names = ("9007199254740992", "9007199254740993", "1234567890123456789")
    examples = table("a,y\n" + "".join(f"{i},{name}\n" for i, name in enumerate(names)))
    assert {*examples.classes} == {*names} and [examples.classes[i] for i in examples.targets.tolist()] == [*names]
    pandas.DataFrame({"a": range(3), "y": [*map(int, names)]}).to_parquet(tmp_path / "t.parquet")
    assert parquet(path=str(tmp_path / "t.parquet"), target="y").classes == examples.classes


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
        (b"\xff\xfe\x00", {}, "cannot be read as a table: 'utf-16.*' codec can't decode"),
        ("a,y\n1,2\n", {"separator": ""}, "cannot be read as a table"),
        ("a,price\n1,2\n", {"target": "prices"}, r"has no column 'prices'\. Did you mean 'price'\? Known: a, price\."),
        ("a,y\n1,u\n2,\n3,v\n4,\n", {}, "the target 'y' has gaps: 2 of 4, the first in row 2"),
        ("a,y\n1,u\n2,u\n", {}, "the target 'y' has one class only: 'u'"),
        ("y\nu\nv\n", {}, "has no column to learn from besides the target"),
        ("a,y\n,1\n,2\n", {}, "has no column to learn from besides the target"),
        ("a,y\n1,u\n2,v\n", {"train": "x.csv"}, r"data\.csv\.path=.*, data\.csv\.train=x\.csv: give one of the two"),
        ("a,y\n1,u\n2,v\n", {"test": "x.csv"}, r"data\.csv\.path: there is no file x\.csv"),
        ("a,y\n1,u\n2,v\n", {"kind": "regression"}, "a regression needs numbers, the target 'y' holds 'u'"),
        ("a,y\n1,u\n2,v\n", {"kind": "clustering"}, r"data\.csv\.kind=clustering: expected classification or multilabel or regression"),
        (
            "a,b,y\n1,inf,u\n2,3,v\n",
            {},
            r"column 'b' holds infinite values, such as inf; mend them, or leave the column out \(drop=\[b\]\)",
        ),
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
    unlisted = tmp_path / ("long" * 99) / "a.csv"  # a folder that may not be listed raises, too; but not for root
    assert no_file(unlisted) == f"there is no file {unlisted}"


def test_csv_without_any_file_says_what_to_give():
    with pytest.raises(Unavailable, match=r"data\.csv\.path is missing: give data\.csv\.path=…, or data\.csv\.train=… with"):
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


def numbered(cell, count: int = 60) -> str:
    return "\n".join(["a,y", *(f"{n},{cell(n)}" for n in range(count))])


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "latin-1", "utf-16", "utf-16-le"])
@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_csv_tells_encoding_and_separator(table, encoding, separator):
    text = "größe,stadt,y\n1,Köln,u\n2,Bonn,v\n".replace(",", separator)
    examples = table(text.encode(encoding))
    assert encoded(examples).tolist() == [[1, 0, 1], [2, 1, 0]] and list(examples.inputs.frame) == ["größe", "stadt"]
    assert examples.inputs.source == f"{encoding.replace('latin-1', 'cp1252')}, {separator!r} between fields"
    assert csv_source(examples) == examples.inputs.source


def csv_source(examples: Examples) -> str:
    return examples.inputs.encoded(torch.arange(2), (), True).words["source"]


def test_csv_encoding_and_decimal_can_be_said(table):
    assert table("я,y\n1,u\n2,v\n".encode("cp1251"), encoding="cp1251").inputs.frame.columns.tolist() == ["я"]
    text = "a;y\n1,234;u\n2,345;v\n"
    assert encoded(table(text)).flatten().tolist() == [1.234, 2.345]
    assert encoded(table(text, decimal=".")).flatten().tolist() == [1234, 2345]
    assert encoded(table('a,y\n"1,234",u\n"2,345",v\n')).flatten().tolist() == [1234, 2345]


def test_csv_types_drop_and_words_for_gaps(table):
    text = "id,zip,a,y\n" + "\n".join(f"{n},{n % 3},{'none' if n == 5 else n % 7},{n % 2}" for n in range(40))
    examples = table(text, types=["zip:category", "id:number"], drop=["a"])
    found = examples.inputs.encoded(torch.arange(40), (), True)
    assert found.inputs[4].tolist() == [4, 0, 1, 0] and found.notes == ()
    assert table(text, types="zip:category").inputs.schema.types == {"zip": "category"}
    found = table(text, na_values=["none"]).inputs.encoded(torch.arange(40), (), True)
    assert found.notes == ("columns left out: 'id' (every value is different, an identifier)",) and found.inputs[5, 2] == 1


def test_csv_types_are_those_of_the_training_file(tmp_path):
    for name, cells in {"train": range(50), "val": range(10), "test": ["error", *range(9)]}.items():
        (tmp_path / name).write_text("x,y\n" + "\n".join(f"{cell}.5,{'uv'[i % 2]}" for i, cell in enumerate(cells)))
    examples = csv(target="y", **{part: str(tmp_path / part) for part in ("train", "val", "test")})
    task = make_task(examples, SPLIT)
    assert task.input_shape == (1,) and len(task.parts["train"][0].unique()) == 50
    assert task.notes == (
        "column 'x': 1 cell cannot be read as a number and counts as missing; the first is 'error.5' in row 1 of the test file",
    )


@pytest.mark.parametrize(
    ("cells", "kind", "classes"),
    [
        (["0.0", "1.0"], "classification", ("0.0", "1.0")),
        (["1.0", "2.0", "3.0"], "regression", ()),
        (["true", "false"], "classification", ("False", "True")),
        (["01", "02", "10"], "classification", ("01", "02", "10")),
        (["1,230.50", "5.00", "7.25"], "regression", ()),
        (["2", "10", "9"], "classification", ("2", "9", "10")),
        (["12:30", "6:15", "7:20"], "regression", ()),
    ],
)
def test_csv_targets(table, cells, kind, classes):
    examples = table("a,y\n" + "\n".join(f'{n},"{cells[n % len(cells)]}"' for n in range(60)))
    assert (examples.kind, examples.classes) == (kind, classes)


@pytest.mark.parametrize(
    ("cell", "settings", "message"),
    [
        (lambda n: f'"${n},000.00"', {}, r"'y' holds 60 different texts in 60 rows, such as '\$0,000.00': too many to be classes; "
         r"if these are numbers, give data\.csv\.types=\[y:number\]$"),
        (lambda n: f"name {n}", {}, "the target 'y' holds 60 different texts in 60 rows, such as 'name 0': too many to be classes$"),
        (lambda n: "error" if n == 50 else n * 1.5, {}, "'y' is a number, but row 51 holds 'error', which is not a number; mend it"),
        (lambda n: ["x", "None"][n % 2], {}, r"the first in row 2 \('None'; if that is a class, give data\.csv\.types=\[y:cat"),
        (lambda n: f"2020-01-{n % 28 + 1:02}", {}, "the target 'y' holds dates such as '2020-01-01'; expected numbers or classes"),
        (lambda n: n, {"types": ["b:number"]}, r"data\.csv\.types: the table has no column 'b'\. Known: a, y"),
        (lambda n: n, {"types": ["a:numbr"]}, r"data\.csv\.types: expected column:type, got 'a:numbr'\. Did you mean 'number'\?"),
        (lambda n: n, {"types": ["number"]}, r"data\.csv\.types: expected column:type, got 'number'"),
        (lambda n: n, {"drop": ["b"]}, r"data\.csv\.drop: the table has no column 'b'"),
        (lambda n: n, {"decimal": ";"}, r"data\.csv\.decimal=;: expected \. or ,"),
        (lambda n: n, {"encoding": "none"}, "cannot be read as a table: unknown encoding: none"),
    ],
)  # fmt: skip
def test_csv_says_what_is_wrong_and_what_to_do(table, cell, settings, message):
    with pytest.raises(BadInput, match=message) as caught:
        table(numbered(cell), **settings)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 250


@pytest.mark.parametrize("settings", [{"types": ["y:category"]}, {"na_values": []}])
def test_csv_a_class_may_be_called_none(table, settings):
    assert table(numbered(lambda n: ["None", "NA", "x"][n % 3]), **settings).classes == ("NA", "None", "x")


def test_csv_an_amount_is_a_target_where_that_is_said(table):
    examples = table(numbered(lambda n: f'"${n},000.50"'), types=["y:number"])
    assert examples.kind == "regression" and examples.targets[:3].tolist() == [[0.5], [1000.5], [2000.5]]


def test_classes_that_training_has_not_seen_are_refused(tmp_path):
    for name, rows in {"a": "1,u\n2,v\n", "b": "3,u\n", "c": "4,w\n"}.items():
        (tmp_path / name).write_text(f"x,y\n{rows}")
    examples = csv(target="y", train=str(tmp_path / "a"), val=str(tmp_path / "b"), test=str(tmp_path / "c"))
    with pytest.raises(BadInput, match="data: the test part has classes that the training part lacks: 'w'"):
        make_task(examples, SPLIT)


@pytest.mark.parametrize(
    ("target", "other", "told"),
    [
        ("ababb", "ababb", True),
        ("ababb", "xyxyy", True),
        ("ababb", "xyxyx", False),
        ("ababb", "vwxyz", False),
        ([0.5, 1.5, 2.5, 0.5, 3.5], ["0.5", "1.5", "2.5", "0.5", "3.5"], True),
        ([0.5, 1.5, 2.5, 0.5, 3.5], [1, 2, 3, 1, 4], False),
    ],
)
def test_a_column_that_gives_the_target_away_is_told(tmp_path, target, other, told):
    pandas.DataFrame({"y": [*target] * 30, "other": [*other] * 30, "x": range(150)}).to_csv(tmp_path / "t.csv", index=False)
    why = "if it is made of the target, leave it out (data.csv.drop=[other])"
    notes = csv(path=str(tmp_path / "t.csv"), target="y").notes
    assert notes == ((f"column 'other' tells the target 'y' without fail in all 150 rows: {why}",) if told else ())
    assert csv(path=str(tmp_path / "t.csv"), target="y", drop=["other"]).notes == ()


def test_a_second_column_of_the_targets_name_is_told(tmp_path):
    (tmp_path / "t.csv").write_text("y,x,y\n" + "".join(f"{n % 2},{n},{n % 2}\n" for n in range(40)))
    assert csv(path=str(tmp_path / "t.csv"), target="y").notes[0].startswith("column 'y.1' tells the target 'y' without fail")


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


@pytest.mark.parametrize(
    "values",
    [
        [datetime.date(2020, 1, 1) + datetime.timedelta(n) for n in range(40)],
        [Decimal(n) / 4 for n in range(40)],
        [datetime.time(n % 24, n) for n in range(40)],
        pandas.array([None, *range(1, 40)], dtype="Int64"),
        pandas.array([None, *[True, False, False] * 13], dtype="boolean"),
        pandas.Categorical(["lo", "hi"] * 20, categories=["lo", "hi", "never"]),
        [f"{n:05}" for n in range(20)] * 2,
        [f"{n}" for n in range(40)],
        pandas.Series(pandas.date_range("2020-01-01", periods=40, freq="7h")),
    ],
    ids=["date", "decimal", "time", "integer", "boolean", "category", "code", "text", "timestamp"],
)
def test_parquet_is_as_the_same_table_in_csv(tmp_path, values):
    frame = pandas.DataFrame({"a": values, "y": ["u", "v"] * 20})
    frame.to_csv(tmp_path / "t.csv", index=False)
    frame.to_parquet(tmp_path / "t.parquet")
    theirs, ours = csv(path=str(tmp_path / "t.csv"), target="y"), parquet(path=str(tmp_path / "t.parquet"), target="y")
    assert torch.equal(encoded(ours), encoded(theirs))
    assert "a" in ours.columns and ours.columns["a"].tolist() == pytest.approx(theirs.columns["a"].tolist(), nan_ok=True)


def test_parquet_durations_periods_and_what_is_no_cell(tmp_path):
    took = pandas.to_timedelta(range(40), unit="min")
    frame = pandas.DataFrame({"took": took, "month": pandas.period_range("2000-01", periods=40, freq="M"), "list": [[1.0]] * 40})
    frame.assign(y=[Decimal(n) for n in range(40)]).to_parquet(tmp_path / "t.parquet")
    examples = parquet(path=str(tmp_path / "t.parquet"), target="y")
    assert examples.kind == "regression" and examples.targets[:2].tolist() == [[0], [1]]
    task = make_task(examples, {**SPLIT, "time": "month"})
    assert task.notes == ("columns left out: 'list' (it holds lists)",) and task.input_shape == (1,)
    assert task.parts["train"][1].max() < task.parts["test"][1].min()
    with pytest.raises(
        BadInput, match=r"data\.parquet: the target 'list' holds lists, such as .*; expected a number or a class in each row"
    ):
        parquet(path=str(tmp_path / "t.parquet"), target="list")
    settings = {"types": ["took:category"], "drop": ["list", "month"]}
    assert parquet(path=str(tmp_path / "t.parquet"), target="y", **settings).inputs.schema.types == {"took": "category"}


def test_parquet_with_an_index_that_has_a_name(tmp_path):
    frame = pandas.DataFrame({"day": pandas.date_range("2020-01-01", periods=40), "x": range(40), "y": ["u", "v"] * 20})
    for named, target in ((["day"], "y"), (["day", "y"], "y")):
        frame.set_index(named).to_parquet(tmp_path / "t.parquet")
        task = make_task(parquet(path=str(tmp_path / "t.parquet"), target=target), {**SPLIT, "time": "day", "normalise": False})
        assert task.classes == ("u", "v") and task.parts["test"][0].min() > task.parts["validation"][0].max()


def test_parquet_with_a_name_twice(tmp_path):
    twice = pyarrow.table([[1, 2], [3, 4], ["u", "v"]], names=["a", "a", "y"])
    pyarrow.parquet.write_table(twice, tmp_path / "t.parquet")
    with pytest.raises(BadInput, match=r"t\.parquet cannot be read as a table: it has several columns 'a'$"):
        parquet(path=str(tmp_path / "t.parquet"), target="y")


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
    assert task.input_shape == (3, 4, 4) and images.dtype == torch.float32
    assert task.pixels.invert(images).max().item() == pytest.approx(200 / 255, rel=1e-6)
    assert torch.equal(images, kept.parts["validation"][0][:])


def test_an_image_that_cannot_be_read_is_named_before_the_first_trial(pictures):
    (pictures / "train" / "dog" / "1.png").write_bytes(b"\x89PNG\r\n\x1a\n nothing")
    with pytest.raises(BadInput, match=r"data: .*dog/1\.png cannot be read as an image: "):
        make_task(image_folder(path=str(pictures)), SPLIT)


@pytest.mark.parametrize(("inside", "said"), [("nowhere", "there is no folder"), ("train/cat", "has 0 folders with images in them")])
def test_folders_without_images_are_refused(pictures, inside, said):
    with pytest.raises(BadInput, match=said):
        image_folder(path=str(pictures / inside))


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


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_npz_reads_only_the_arrays_that_are_asked_for(tmp_path, save, monkeypatch):
    odd = {"names": np.array([{}, "a"], dtype=object), "ids": np.array([*range(19), None]), "mean": np.ones((5, 2))}
    save(tmp_path / "a.npz", x=np.ones((20, 3)), y=np.arange(20) % 2, who=np.arange(20) // 4, **odd)
    read = []
    monkeypatch.setattr(Archive, "array", lambda archive, name, array=Archive.array: read.append(name) or array(archive, name))
    examples = npz(path=str(tmp_path / "a.npz"))
    task = make_task(examples, {**SPLIT, "group": "who"})
    assert task.groups is not None and {*read} == {"x", "y", "who"}
    for group, said in {
        "whom": r"split\.group=whom: the data has no column 'whom'\. Did you mean 'who'\?",
        "ids": r"data\.npz: 'ids' in .*a\.npz cannot be read: .*[oO]bject",
        "mean": r"data\.npz: 'mean' in .*a\.npz has the shape \(5, 2\); expected one value for each of the 20 examples",
    }.items():
        with pytest.raises(BadInput, match=said):
            make_task(examples, {**SPLIT, "group": group})


@pytest.mark.parametrize("name", ["{}_{}", "{1}_{0}"], ids=["part-last", "part-first"])
def test_npz_in_parts_and_with_channels_last(tmp_path, name):
    draw = np.random.default_rng(0)
    x = {part: draw.integers(0, 256, (count, 6, 5, 3), dtype="uint8") for part, count in {"train": 10, "test": 4}.items()}
    np.savez(
        tmp_path / "a.npz",
        **{name.format("im", p): v for p, v in x.items()},
        **{name.format("lab", p): np.arange(len(v)) % 2 for p, v in x.items()},
    )
    examples = npz(path=str(tmp_path / "a.npz"), inputs="im", targets="lab")
    assert isinstance(examples.inputs, Joined) and {p: len(v) for p, v in examples.splits.items()} == {"train": 10, "test": 4}
    together = torch.tensor(np.concatenate([*x.values()])).permute(0, 3, 1, 2)
    numbers = torch.tensor([12, 3, 10, 9])
    assert torch.equal(examples.inputs[numbers], together[numbers])


def test_npz_numbers_are_a_table_and_real_targets_a_regression(tmp_path):
    np.savez(tmp_path / "a.npz", x=np.arange(12.0).reshape(6, 2), y=np.arange(6.0), f=np.asfortranarray(np.arange(12).reshape(6, 2)))
    examples = npz(path=str(tmp_path / "a.npz"))
    assert examples.inputs[torch.tensor([1])].tolist() == [[2, 3]] and examples.inputs.dtype == torch.float64
    assert examples.kind == "regression" and examples.targets.shape == (6, 1)
    assert npz(path=str(tmp_path / "a.npz"), inputs="f").inputs[torch.tensor([5, 1])].tolist() == [[10, 11], [2, 3]]
    assert npz(path=str(tmp_path / "a.npz"), kind="classification").classes == ("0.0", "1.0", "2.0", "3.0", "4.0", "5.0")


@pytest.mark.parametrize(
    ("arrays", "settings", "said"),
    [
        ({"a": np.ones((3, 2)), "y": np.ones(3)}, {}, r"data\.npz\.inputs: .* has no array 'x'\. .*Known: a, y"),
        ({"x": np.ones((3, 2)), "z": np.ones(3)}, {}, r"data\.npz\.targets: .* has no array 'y'"),
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
    assert found.words["vocabulary"] == ["bad", "film", "good"] and found.tokens == 5
    assert found.inputs.tolist() == [[4, 1, 4, 3], [2, 3, 0, 0], [2, 0, 0, 0], [4, 1, 3, 3]] and found.inputs.dtype == torch.int64
    assert 1 in found.inputs[:3], "the index of unknown words is trained"
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
    (tmp_path / "b.csv").write_text("pos,b\nneg,a\n")
    once = text(path=str(tmp_path / "b.csv"), separator=",").inputs.encoded(torch.tensor([0, 1]), (), True)
    assert once.words["vocabulary"] == ["a", "b"], "where no word occurs twice, all are kept"
    assert task.tokens == 3 and task.inputs is None and task.input_shape == (2,) and task.parts["train"][0].dtype == torch.int64


@pytest.mark.parametrize(("lines", "classes"), [(["Label\tText"], ("a", "b")), (["label\tx", "label\ty"], ("a", "b", "label"))])
def test_a_header_of_texts_is_no_example(tmp_path, lines, classes):
    (tmp_path / "a").write_text("\n".join([*lines, "a\tone", "b\ttwo"]))
    assert text(path=str(tmp_path / "a")).classes == classes


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "latin-1", "utf-16"])
def test_texts_in_any_encoding_and_of_any_length(tmp_path, encoding):
    long = "schön " * 50_000
    (tmp_path / "a").write_bytes(f"gut\t{long}\nübel\tschlecht\n".encode(encoding))
    examples = text(path=str(tmp_path / "a"))
    assert examples.classes == ("gut", "übel") and examples.inputs.texts == [long, "schlecht"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "is empty"),
        ("pos\tfine\nonly a label\n", r"line 2 is not a label, '\\t' and a text"),
        ("pos\t \n", "line 1 is not a label"),
    ],
)
def test_texts_that_are_none_are_refused(tmp_path, content, said):
    (tmp_path / "a").write_text(content)
    with pytest.raises(BadInput, match=said):
        text(path=str(tmp_path / "a"))


def test_a_pipe_is_no_data_file(tmp_path):
    """It would be waited for, for ever."""
    os.mkfifo(tmp_path / "t.csv")
    with pytest.raises(BadInput, match=r"data\.csv\.path: .*t\.csv is not a regular file"):
        csv(path=str(tmp_path / "t.csv"), target="y")
