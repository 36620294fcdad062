"""Tables: the types of columns, and what the training part makes of them."""

import numpy as np
import pandas
import pytest
import torch

from autoopt.data.examples import Examples, embedding_width
from autoopt.data.make_task import make_task
from autoopt.data.table import Table, encode_columns
from autoopt.errors import BadInput
from autoopt.module.embedded import Embedded, embedded
from autoopt.plugins.model.linear import linear
from autoopt.plugins.model.mlp import mlp

SPLIT = {"validation": 0.2, "test": 0.2, "seed": 0, "stratify": True, "normalise": True}


def columns_of(frame: dict, train=None, without=(), embed=True):
    table = pandas.DataFrame(frame)
    numbers = torch.arange(len(table)) if train is None else torch.tensor(train)
    found = Table(table).encoded(numbers, without, embed)
    return found, {column["name"]: column for column in found.words["columns"]}


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([1, 2, 3], "number"),
        ([1.5, None, 3], "number"),
        ([True, False, True], "truth value"),
        ([True, None, False], "truth value"),
        (["2020-01-01", "2020-02-01 10:00", None], "date"),
        (pandas.to_datetime(["2020-01-01", "2020-02-01", None]), "date"),
        (["a", "b", "a"], "category"),
        (["2020-01-01", "soon", "2020-01-01"], "category"),
        (pandas.Categorical([1, 2, 1]), "category"),
    ],
)
def test_types_are_told_by_the_values(values, kind):
    assert columns_of({"a": values, "rest": [1, 2, 3]})[1]["a"]["type"] == kind


def test_gaps_get_the_median_of_the_training_part_alone():
    found, said = columns_of({"a": [1.0, None, 3, 8, 1000, None]}, train=[0, 1, 2, 3])
    assert found.inputs.tolist() == [[1, 0], [3, 1], [3, 0], [8, 0], [1000, 0], [3, 1]]
    assert said["a"]["fill"] == 3 and said["a"]["treatment"] == "as it is, gaps filled by the median 3; a column marks the gaps"


def test_gaps_that_training_has_not_seen_are_filled_too():
    found, _ = columns_of({"a": [1.0, 2, 3, None], "b": ["u", "v", "u", None], "c": [True, False, True, None]}, train=[0, 1, 2])
    assert found.inputs.tolist() == [[1, 1, 0, 1], [2, 0, 1, 0], [3, 1, 0, 1], [2, 0, 0, 1]]


def test_dates_are_days():
    found, _ = columns_of({"a": ["1970-01-02", "1970-01-01 12:00", "1969-12-31"]})
    assert found.inputs[:, 0].tolist() == [1, 0.5, -1]


def test_a_level_that_training_has_not_seen_is_none_of_those_it_has():
    found, said = columns_of({"a": ["u", "v", "u", "w", None]}, train=[0, 1, 2])
    assert said["a"]["levels"] == ("u", "v") and found.inputs.tolist() == [[1, 0], [0, 1], [1, 0], [0, 0], [0, 0]]


def test_many_levels_are_codes_in_the_last_columns():
    names = [f"level{n:02}" for n in range(25)] * 2 + ["once", "level03"]
    found, said = columns_of({"a": names, "b": range(52)}, train=[*range(51)])
    assert found.categories == (26,) and said["a"]["embedded"] and "once" not in said["a"]["levels"]
    assert said["a"]["treatment"] == "25 levels, embedded in 13 numbers"
    assert found.inputs[:, 0].tolist() == [*range(52)]
    assert found.inputs[:, 1].tolist() == [*range(1, 26)] * 2 + [0, 4]


def test_where_nothing_can_be_embedded_the_most_frequent_levels_are_columns():
    names = [f"level{n:02}" for n in range(25)] * 2 + ["level24"] * 3
    found, said = columns_of({"a": names}, embed=False)
    assert found.categories == () and found.inputs.shape == (53, 20) and "level24" in said["a"]["levels"]


def test_what_says_nothing_is_left_out():
    frame = {"id": [f"n{i}" for i in range(40)], "empty": [None] * 40, "late": [None] * 30 + [1.0] * 10, "x": range(40)}
    found, said = columns_of(frame, train=[*range(30)])
    assert found.inputs.shape == (40, 1) and said["id"]["treatment"] == "left out: every value is different"
    assert said["empty"]["ignored"] == said["late"]["ignored"] == "it is empty in the training part"


def test_a_column_that_splits_is_no_input():
    found, said = columns_of({"who": [1, 2, 3], "x": [4, 5, 6]}, without=("who",))
    assert found.inputs.tolist() == [[4], [5], [6]] and said["who"]["treatment"] == "left out: the split uses it"
    with pytest.raises(BadInput, match="no column to learn from besides the target"):
        columns_of({"who": [1, 2, 3]}, without=("who",))


def test_what_was_learnt_encodes_other_rows_alike():
    frame = pandas.DataFrame({"a": [1.0, None, 3], "b": ["u", "v", None], "c": ["2020-01-01", None, "2021-01-01"]})
    found = Table(frame).encoded(torch.arange(3), (), True)
    assert torch.equal(encode_columns(frame, found.words["columns"]), found.inputs)
    assert torch.equal(encode_columns(frame[1:], found.words["columns"]), found.inputs[1:])
    with pytest.raises(BadInput, match="the table has no column 'b'"):
        encode_columns(frame[["a", "c"]], found.words["columns"])


def test_what_the_other_parts_hold_changes_nothing_in_training():
    frame = pandas.DataFrame({"a": np.r_[np.arange(50.0), [np.nan] * 50], "b": ["u", "v"] * 25 + [f"x{i}" for i in range(50)]})
    splits = {"train": torch.arange(50), "validation": torch.arange(50, 75), "test": torch.arange(75, 100)}
    one = make_task(Examples(Table(frame), torch.arange(100) % 2, "classification", splits=splits), SPLIT)
    frame = frame.assign(a=np.r_[np.arange(50.0), [1e6] * 50])
    other = make_task(Examples(Table(frame), torch.arange(100) % 2, "classification", splits=splits), SPLIT)
    assert torch.equal(one.parts["train"][0], other.parts["train"][0]) and torch.equal(one.inputs.mean, other.inputs.mean)


# --------------------------------------------------------------------------------------------------------------------- embedding


@pytest.fixture
def task():
    city = [f"city{n % 30:02}" for n in range(300)]
    frame = pandas.DataFrame({"x": np.random.default_rng(0).normal(50, 9, 300), "city": city})
    return make_task(Examples(Table(frame), torch.arange(300) % 30 % 2, "classification"), SPLIT)


def test_codes_are_not_scaled(task):
    x = task.parts["train"][0]
    assert task.categories == (31,) and task.input_shape == (2,)
    assert x[:, 1].unique().tolist() == [*range(1, 31)] and x[:, 0].mean().abs() < 1e-5


@pytest.mark.parametrize("model", [linear, mlp])
def test_any_model_stands_behind_a_learnt_embedding(task, model):
    torch.manual_seed(0)
    net = embedded(task, model)
    x, y = task.parts["train"]
    assert isinstance(net, Embedded) and net(x).shape == (len(x), 2)
    vectors = net.embeddings[0].weight
    assert vectors.shape == (31, embedding_width(31)) and not vectors[0].any()
    inner = torch.cat([x[:, :1], vectors[x[:, 1].long()]], 1)
    assert torch.equal(net(x), net.model(inner))
    optimizer = torch.optim.Adam(net.parameters(), lr=0.05)
    for _ in range(60):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(net(x), y).backward()
        optimizer.step()
    x, y = task.parts["test"]
    assert (net(x).argmax(1) == y).float().mean() > 0.95


def test_without_categories_nothing_stands_in_front(task):
    plain = make_task(Examples(torch.rand(100, 3), torch.arange(100) % 2, "classification"), SPLIT)
    assert not isinstance(embedded(plain, linear), Embedded)
