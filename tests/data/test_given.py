"""Inputs in a DataFrame, from Python: a table."""

import numpy as np
import pandas
import pytest

from autoopt.api import compose_tree
from autoopt.errors import BadInput
from autoopt.trial.world import prepare

N = 60
DAYS = pandas.Series(pandas.date_range("2024-01-01", periods=N)).sample(frac=1, random_state=0).to_numpy()


def features() -> pandas.DataFrame:
    """A number, a text and a date; the index says something else than the order of the rows."""
    size = np.arange(N, dtype=float)
    return pandas.DataFrame({"size": size, "town": ["a", "b", "c"] * (N // 3), "day": DAYS}, index=range(2 * N, N, -1))


def prices() -> pandas.Series:
    return pandas.Series(3.5 * np.arange(N), name="price")


def task_of(inputs, targets, *overrides):
    return prepare({"tree": compose_tree(["model=mlp", *overrides], None, (inputs, targets)), "store": "."})[0].task


def test_it_is_read_like_a_file_and_row_by_row():
    task = task_of(features(), prices(), "split.time=day", "split.normalise=false", "data.frame.drop=[day]")
    assert task.kind == "regression" and task.input_shape == (4,), "the size and three towns"
    for inputs, targets in task.parts.values():
        size = np.asarray(inputs[:, 0])
        assert np.array_equal(np.asarray(targets[:, 0]), 3.5 * size), "rows of different indices belong together by their order"
    last = {part: max(DAYS[np.asarray(inputs[:, 0]).astype(int)]) for part, (inputs, _) in task.parts.items()}
    assert last["train"] < last["validation"] < last["test"]


@pytest.mark.slow
def test_the_settings_are_those_of_a_file():
    codes = features().assign(town=np.arange(N) % 4)
    assert task_of(codes, prices(), "data.frame.drop=[day]").input_shape == (2,)
    assert task_of(codes, prices(), "data.frame.drop=[day]", "data.frame.types=[town:category]").input_shape == (5,)
    with pytest.raises(BadInput, match=r"^data\.frame\.drop: the table has no column 'sise'. Did you mean 'size'\?"):
        task_of(features(), prices(), "data.frame.drop=[sise]")


@pytest.mark.parametrize(
    ("targets", "kind", "names"),
    [
        (np.arange(N) % 2, "classification", ("0", "1")),
        (["yes", "no"] * (N // 2), "classification", ("no", "yes")),
        (pandas.DataFrame(np.arange(N) % 2), "classification", ("0", "1")),
        (pandas.DataFrame({"wide": np.arange(N) % 2, "high": np.arange(N) // 30}), "multilabel", ("wide", "high")),
        (np.arange(2.0 * N).reshape(N, 2), "regression", ("target_0", "target_1")),
    ],
)
def test_targets_of_any_kind(targets, kind, names):
    task = task_of(features(), targets)
    assert (task.kind, tuple(task.classes)) == (kind, names)


@pytest.mark.parametrize(
    ("inputs", "targets", "said"),
    [
        (features().assign(price=prices().to_numpy()), prices(), r"the inputs have the target 'price' among their columns; leave it out"),
        (features(), prices()[1:], r"60 inputs but 59 targets"),
        (pandas.concat([features(), features()], axis=1), prices(), r"the table has several columns 'size'"),
    ],
)
def test_what_cannot_be_a_table_is_told(inputs, targets, said):
    with pytest.raises(BadInput, match=f"^data: {said}"):
        compose_tree(["model=mlp"], None, (inputs, targets))
