"""Which examples train, validate and test."""

import numpy as np
import pytest
import torch

from autoopt.config import compose
from autoopt.data.parts import PARTS
from autoopt.data.splits import SHARE, Splitter, contiguous_parts
from autoopt.errors import BadInput

SPLIT = {"validation": 0.2, "test": 0.2, "seed": 0, "stratify": True, "column": None, "group": None, "time": None, "folds": None}
COUNT = 120
TARGETS = torch.arange(COUNT) % 3
COLUMNS = {
    "patient": np.arange(COUNT) // 6,
    "day": (np.arange(COUNT) * 7) % 40,
    "part": np.array(["train", "Train", "val", "test"])[np.arange(COUNT) % 4],
    "half": np.array(["train", "test"])[np.arange(COUNT) % 2],
    "colour": np.array(["red", "blue"], dtype=object)[np.arange(COUNT) % 2],
    "mixed": np.array([*map(str, range(COUNT - 1)), "7b"], object),
    "signed": np.array(["-3", "1e5", *map(str, range(COUNT - 3)), "7b"], object),
    "gap": np.where(np.arange(COUNT) == 5, np.nan, 1.0),
}


def parts(given=None, targets=TARGETS, **split):
    return list(Splitter(targets, True, COLUMNS, given, {**SPLIT, **split}).parts())


def whole(found) -> bool:
    return torch.equal(torch.cat([found[p] for p in PARTS]).sort().values, torch.arange(COUNT))


def test_by_chance_every_part_has_its_share_of_each_class():
    (found,) = parts()
    assert whole(found) and [len(found[p]) for p in PARTS] == [72, 24, 24]
    assert all(torch.bincount(TARGETS[found[p]]).unique().numel() == 1 for p in PARTS)


def test_a_group_is_in_one_part():
    (found,) = parts(group="patient")
    groups = [set(COLUMNS["patient"][found[p]]) for p in PARTS]
    assert whole(found) and len(set.union(*groups)) == sum(map(len, groups)) == 20 and [len(g) for g in groups] == [12, 4, 4]


def test_the_latest_test_and_those_before_them_validate():
    (found,) = parts(time="day")
    days = [COLUMNS["day"][found[p]] for p in PARTS]
    assert whole(found) and days[0].max() < days[1].min() <= days[1].max() < days[2].min() and len(days[2]) == 24


def test_equal_times_stay_together():
    columns = {"day": np.repeat([1, 2, 3, 4], 30)}
    (found,) = Splitter(TARGETS, True, columns, None, {**SPLIT, "time": "day"}).parts()
    assert [sorted(set(columns["day"][found[p]])) for p in PARTS] == [[1, 2], [3], [4]]


def test_a_column_says_the_part():
    (found,) = parts(column="part")
    assert whole(found) and [len(found[p]) for p in PARTS] == [60, 30, 30]
    assert set(COLUMNS["part"][found["train"]]) == {"train", "Train"}


def test_a_part_that_is_not_fixed_is_cut_from_training():
    (found,) = parts(column="half")
    assert whole(found) and set(COLUMNS["half"][found["test"]]) == {"test"} and [len(found[p]) for p in PARTS] == [48, 12, 60]
    (found,) = parts({"train": torch.arange(100), "validation": torch.arange(100, 120)})
    assert whole(found) and [len(found[p]) for p in PARTS] == [80, 20, 20] and found["validation"].min() == 100


@pytest.mark.parametrize("split", [{}, {"group": "patient"}, {"stratify": False}])
def test_each_fold_validates_on_another_part_of_what_does_not_test(split):
    found = parts(folds=4, **split)
    assert len(found) == 4 and all(whole(fold) for fold in found)
    assert all(torch.equal(fold["test"], found[0]["test"]) for fold in found)
    validated = torch.cat([fold["validation"] for fold in found])
    assert len(validated) == len(validated.unique()) == COUNT - len(found[0]["test"])
    if "group" in split:
        assert not any(set(COLUMNS["patient"][f["train"]]) & set(COLUMNS["patient"][f["validation"]]) for f in found)
    elif not split:
        assert all(torch.bincount(TARGETS[f["validation"]]).tolist() == [8, 8, 8] for f in found)


def test_folds_in_time_train_on_what_was_before():
    found = parts(folds=5, time="day")
    assert all(COLUMNS["day"][f["train"]].max() < COLUMNS["day"][f["validation"]].min() for f in found) and len(found) == 5
    assert [len(f["train"]) for f in found] == sorted((len(f["train"]) for f in found), reverse=True)
    validated = torch.cat([f["validation"] for f in found])
    assert len(validated) == len(validated.unique()) and not set(validated.tolist()) & set(found[0]["test"].tolist())


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ([2] * 8 + [300] * 3, [(616, 300), (316, 300), (16, 300)]),
        ([300] * 3 + [2] * 8, [(900, 16), (600, 300), (300, 300)]),
        ([40] * 8, [(240, 80), (160, 80), (80, 80)]),
        ([25, 25, 25, 25], [(75, 25), (50, 25), (25, 25)]),
        ([1000, 1, 1, 1], [(1002, 1), (1001, 1), (1000, 1)]),
    ],
)
def test_folds_in_time_are_as_even_as_equal_times_allow(sizes, expected):
    days = np.repeat(np.arange(len(sizes) + 1), [*sizes, 5])
    mixed = np.random.default_rng(0).permutation(days)
    given = {"train": torch.from_numpy(np.flatnonzero(mixed < len(sizes))), "test": torch.from_numpy(np.flatnonzero(mixed == len(sizes)))}
    found = list(Splitter(torch.zeros(len(days)), False, {"day": mixed}, given, {**SPLIT, "time": "day", "folds": 3}).parts())
    assert all(mixed[f["train"]].max() < mixed[f["validation"]].min() for f in found)
    assert [(len(f["train"]), len(f["validation"])) for f in found] == expected


def test_folds_of_fixed_parts_leave_the_test_part():
    found = parts({"train": torch.arange(60), "validation": torch.arange(60, 90), "test": torch.arange(90, 120)}, folds=3)
    assert all(f["test"].tolist() == [*range(90, 120)] and len(f["train"]) == 60 for f in found)


@pytest.mark.parametrize(
    ("split", "said"),
    [
        ({"group": "patiant"}, r"split\.group=patiant: the data has no column 'patiant'\. Did you mean 'patient'\?"),
        ({"time": "colour"}, r"split\.time=colour: expected numbers or dates, got 'red'"),
        ({"time": "mixed"}, r"split\.time=mixed: expected numbers or dates, got '7b'"),
        ({"time": "signed"}, r"split\.time=signed: expected numbers or dates, got '7b'"),
        ({"time": "gap"}, r"split\.time=gap: the column has gaps: 1 of 120"),
        ({"column": "colour"}, r"split\.column=colour: expected train, val and test in it, got 'blue', 'red'"),
        ({"group": "patient", "time": "day"}, r"split\.group=patient, split\.time=day: give one of the two"),
        ({"folds": 21, "group": "patient"}, r"split\.folds=21: there are only 16 groups to spread over the folds"),
        ({"folds": 32, "time": "day"}, r"split\.folds=32: there are only 31 times after the first to spread over the folds"),
        ({"folds": 33}, r"split\.folds=33: there are only 32 examples of the rarest class to spread over the folds"),
        ({"folds": 97, "stratify": False}, r"split\.folds=97: there are only 96 examples to spread"),
    ],
)
def test_what_cannot_be_split_is_refused(split, said):
    with pytest.raises(BadInput, match=said):
        parts(**split)


def test_fixed_parts_and_a_column_are_one_too_many():
    with pytest.raises(BadInput, match=r"split\.column=part: the data fixes its parts already"):
        parts({"train": torch.arange(9)}, column="part")


def test_a_share_of_a_part_that_is_fixed_is_refused():
    defaults = compose(["data=digits"])["split"]
    assert defaults["validation"] == defaults["test"] == SHARE
    with pytest.raises(BadInput, match=r"split\.test=0\.3: the data fixes its test part already; leave this setting out"):
        parts(column="half", test=0.3)
    (found,) = parts(column="half", validation=0.5)
    assert [len(found[p]) for p in PARTS] == [30, 30, 60]


@pytest.mark.parametrize(
    ("by", "told"),
    [
        ({"group": "patient"}, "split.group=patient: the data fixes the test part, and 16 of its 20 groups are in the training part, too"),
        ({"time": "day"}, "split.time=day: the data fixes the test part, which does not begin after the training part"),
    ],
)
def test_fixed_parts_that_share_groups_or_times_are_told(by, told):
    for column, notes in {"half": (told,), None: ()}.items():
        splitter = Splitter(TARGETS, True, COLUMNS, None, {**SPLIT, **by, "column": column})
        (found,) = splitter.parts()
        assert splitter.notes(found) == notes


def test_what_has_no_columns_says_so():
    with pytest.raises(BadInput, match=r"split\.group=a: the data has no columns; only tables have"):
        Splitter(TARGETS, True, {}, None, {**SPLIT, "group": "a"})


def test_one_time_alone_cannot_be_split():
    with pytest.raises(BadInput, match="there is no time in 'day' before that of the last"):
        list(Splitter(TARGETS, True, {"day": np.ones(COUNT)}, None, {**SPLIT, "time": "day"}).parts())


def test_parts_in_a_row():
    assert {k: v.tolist() for k, v in contiguous_parts({"train": 2, "test": 3}).items()} == {"train": [0, 1], "test": [2, 3, 4]}
    assert contiguous_parts({"train": 2}) is None
