"""What plain arrays are taken for, and what is asked about."""

import numpy as np
import pandas
import pytest
import torch

from autoopt.data.arrays import array_inputs, class_indices, targets_of
from autoopt.data.given import as_array
from autoopt.errors import BadInput

N = 42
EVERY = torch.arange(N)


def draw(*shape: int, dtype: str = "float32", top: float = 1.0) -> np.ndarray:
    return (np.random.default_rng(0).random((N, *shape)) * top).astype(dtype)


@pytest.mark.parametrize("dtype", ["float32", "float64", "uint8", "uint16", ">u2", "int64", "bool", "float16"])
def test_channels_last_are_seen_in_every_type(dtype):
    array = draw(8, 8, 3, dtype=dtype, top=200)
    found = array_inputs(array, None, "d")
    assert found.shape == (N, 3, 8, 8) and found.dtype == (torch.uint8 if dtype == "uint8" else torch.float32)
    assert torch.equal(found[EVERY].float(), torch.from_numpy(array.astype("float32")).permute(0, 3, 1, 2))


@pytest.mark.parametrize(
    ("shape", "dtype", "expected"),
    [
        ((3, 8, 8), "float32", (3, 8, 8)),
        ((3, 6, 9), "float32", (3, 6, 9)),
        ((6, 9, 1), "float32", (1, 6, 9)),
        ((1, 4, 4), "float32", (1, 4, 4)),
        ((4, 4, 3), "float32", (3, 4, 4)),
        ((7, 16, 16), "float32", (7, 16, 16)),
        ((16, 16, 7), "uint16", (7, 16, 16)),
        ((6, 9), "uint8", (1, 6, 9)),
        ((6, 9), "uint16", (1, 6, 9)),
        ((12, 5), "float32", (12, 5)),
        ((30,), "float64", (30,)),
        ((5,), "uint8", (5,)),
    ],
)
def test_a_shape_that_leaves_no_doubt(shape, dtype, expected):
    assert array_inputs(draw(*shape, dtype=dtype, top=9), None, "d").shape == (N, *expected)


@pytest.mark.parametrize(
    ("shape", "dtype", "layout", "expected"),
    [
        ((8, 8), "float32", "NHW", (1, 8, 8)),
        ((8, 8), "float32", "numbers", (8, 8)),
        ((8, 8), "uint8", "numbers", (8, 8)),
        ((3, 3, 3), "float32", "NHWC", (3, 3, 3)),
        ((2, 5, 6), "float32", "NCHW", (2, 5, 6)),
    ],
)
def test_a_layout_says_it(shape, dtype, layout, expected):
    found = array_inputs(draw(*shape, dtype=dtype, top=9), layout, "d")
    assert found.shape == (N, *expected) and found.dtype == torch.float32


@pytest.mark.parametrize(("dtype", "exact"), [("float64", 1), ("int64", 1), ("uint32", 1), ("float32", 0), ("uint16", 0), ("bool", 0)])
def test_numbers_that_float32_would_round_are_given_in_float64(dtype, exact):
    assert array_inputs(draw(3, dtype=dtype, top=9), None, "d").dtype == (torch.float64 if exact else torch.float32)
    times = np.arange(N, dtype="int64")[:, None] + 1_700_000_000
    assert len(array_inputs(times, None, "d")[EVERY].unique()) == N and len(targets_of(times, "regression", "d")[0].unique()) == N


@pytest.mark.parametrize(
    ("shape", "dtype", "layout", "said"),
    [
        ((8, 8), "float32", None, r"d: the inputs are float32 \(42, 8, 8\): grey images or sequences; give d\.layout=NHW or"),
        ((3, 3, 3), "float32", None, r"the channels may come first or last; give d\.layout=NCHW or d\.layout=NHWC"),
        ((2, 5, 6), "uint8", None, r"the channels may come first or last"),
        ((32, 3, 3), "float32", None, r"the channels may come first or last"),
        ((8, 8), "float32", "NHWC", r"d\.layout=NHWC: the inputs have the shape \(42, 8, 8\)"),
        ((8, 8), "float32", "CHW", r"d\.layout=CHW: expected one of NCHW, NHWC, NHW, numbers"),
        ((0,), "float32", None, r"the inputs are float32 \(42, 0\); expected numbers \(N, …\), or images"),
        ((), "float32", None, r"the inputs are float32 \(42,\); expected numbers \(N, …\), or images"),
    ],
)
def test_a_shape_that_may_be_several_is_asked_about(shape, dtype, layout, said):
    with pytest.raises(BadInput, match=said) as caught:
        array_inputs(draw(*shape, dtype=dtype, top=9), layout, "d")
    assert "\n" not in str(caught.value)


CODES = np.arange(N) % 3


@pytest.mark.parametrize(
    "targets", [CODES, CODES.astype("int32"), CODES.astype("uint8")[:, None], np.eye(3)[CODES], np.eye(3, dtype=int)[CODES], CODES == 1]
)
def test_classes_in_every_form(targets):
    found, kind, classes = targets_of(targets, None, "d")
    assert kind == "classification" and found.dtype == torch.int64
    assert found.tolist() == ((CODES == 1).astype(int) if targets.dtype == bool else CODES).tolist()
    assert classes == (("False", "True") if targets.dtype == bool else ("0", "1", "2"))


@pytest.mark.parametrize("typed", [str, int, float, bool])
def test_objects_of_one_plain_type_are_of_that_type(typed):
    plain = np.array([*map(typed, CODES.tolist())])
    found, kind, classes = targets_of(plain.astype(object), "classification", "d")
    assert (found.tolist(), kind, classes) == (targets_of(plain, "classification", "d")[0].tolist(), kind, classes)
    with pytest.raises(BadInput, match="d: the targets are object; expected integers or texts"):
        targets_of(np.array([*plain[:-1].tolist(), b"a"], dtype=object), None, "d")


@pytest.mark.parametrize("listed", [[np.str_("b"), np.str_("a")] * 3, [np.str_("b"), "a"] * 3, ["b", 1] * 3, ["b", np.int64(7)] * 3])
def test_lists_with_texts_are_classes(listed):
    found, kind, classes = targets_of(as_array(listed), None, "d")
    assert (found.tolist(), kind, classes) == ([1, 0] * 3, "classification", tuple(sorted(map(str, listed[:2]))))


def test_a_column_of_texts_of_numpy_is_classes():
    assert targets_of(np.array([np.str_("b"), "a"] * 3, object), None, "d")[2] == ("a", "b")


NOW = np.datetime64("2024-01-01")


@pytest.mark.parametrize("kind", [None, "classification", "regression", "multilabel"])
@pytest.mark.parametrize(
    "targets",
    [
        np.array([0.0, 1.0, np.nan, 1.0, np.nan]),
        np.array([0.0, 1.0, np.inf, 1.0, -np.inf], "float32"),
        np.array([[0.0, 1.0], [1.0, 0.0], [np.nan, 1.0], [1.0, 1.0], [np.nan, np.nan]]),
        np.array([0, 1, None, 1, None], object),
        np.array([0.0, 1.0, np.nan, 1.0, np.nan], object),
        np.array(["a", "b", None, "a", np.nan], object),
        np.array([NOW, NOW, "NaT", NOW, "NaT"], "M8[D]"),
        as_array(pandas.Series([0, 1, None, 1, None], dtype="Int64")),
        as_array(pandas.Series(["a", "b", None, "a", None], dtype="category")),
        as_array(["a", "b", float("nan"), "a", None]),
    ],
)
def test_missing_targets_are_no_class(targets, kind):
    with pytest.raises(BadInput, match=r"^d: the targets have gaps \(missing or infinite\): 2 of 5, the first in row 3$"):
        targets_of(targets, kind, "d")


def test_classes_by_name_and_by_word_of_the_user():
    assert targets_of(np.array(["b", "a"] * 21), None, "d")[2] == ("a", "b")
    assert len(targets_of(np.arange(N) + 18, "classification", "d")[2]) == N
    assert targets_of((CODES == 1).astype(float), "classification", "d")[2] == ("0.0", "1.0")


@pytest.mark.parametrize("shape", [(), (1,), (2,)])
def test_real_numbers_are_values(shape):
    found, kind, classes = targets_of(draw(*shape), None, "d")
    assert kind == "regression" and classes == () and found.shape == (N, *(shape or (1,))) and found.dtype == torch.float64


def test_integers_are_values_where_the_user_says_so():
    assert targets_of(np.arange(N) + 18, "regression", "d")[0][:3].tolist() == [[18], [19], [20]]
    assert targets_of(np.eye(3)[CODES], "regression", "d")[0].shape == (N, 3)


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int64", "float64"])
def test_rows_with_several_ones_or_none_are_labels(dtype):
    rows = (draw(5) > 0.5).astype(dtype)
    targets, kind, names = targets_of(rows, None, "d")
    assert (kind, names, targets.dtype) == ("multilabel", ("0", "1", "2", "3", "4"), torch.float32)
    assert torch.equal(targets, torch.tensor(rows.astype("float32")))
    assert targets_of(np.eye(3)[CODES].astype(dtype), "multilabel", "d")[1] == "multilabel", "the user knows"
    assert targets_of(rows, "regression", "d")[1] == "regression"


@pytest.mark.parametrize(
    ("targets", "kind", "said"),
    [
        (np.arange(N) + 18, None, r"the targets are 42 different integers, 18 to 59: classes or values; give d\.kind=classification or"),
        (CODES.astype("float64") - 1, None, r"the targets are -1\.0, 0\.0(, .*)? and \d\.0 in float64: classes or values; give d\.kind="),
        ((CODES == 1).astype("float32"), None, r"the targets are 0\.0 and 1\.0 in float32: classes or values; give d\.kind="),
        (draw(5) > 0.5, "classification", r"the targets are bool \(42, 5\); expected a single class .*, or give d\.kind=multilabel"),
        (draw(5), "multilabel", r"the targets are float32 \(42, 5\); expected rows \(N, K\) of 0 and 1 for d\.kind=multilabel"),
        (CODES, "multilabel", r"the targets are \w+ \(42,\); expected rows \(N, K\) of 0 and 1 for d\.kind=multilabel"),
        (draw(2, dtype="int64", top=9), None, r"the targets are int64 \(42, 2\); expected a single class for each example"),
        (draw(2), "classification", r"the targets are float32 \(42, 2\); expected a single class"),
        (draw(4, 4), None, r"the targets have the shape \(42, 4, 4\); expected a class .*; masks need a LightningModule"),
        (np.array(["a"] * N), "regression", r"d\.kind=regression: the targets are <U1; expected numbers"),
        (np.zeros(N, "datetime64[s]"), None, r"the targets are datetime64\[s\]; expected integers or texts"),
        (CODES, "clustering", r"d\.kind=clustering: expected classification or multilabel or regression"),
    ],
)
def test_targets_that_may_be_both_or_neither_are_refused_in_a_line(targets, kind, said):
    with pytest.raises(BadInput, match=said) as caught:
        targets_of(targets, kind, "d")
    assert "\n" not in str(caught.value)


def test_class_indices_of_tensors():
    expected = torch.tensor([0, 1, 2])
    forms = [expected, expected.int(), expected.float()[:, None], torch.eye(3), torch.eye(3).int(), torch.eye(3).bool()]
    assert all(torch.equal(class_indices(form), expected) and class_indices(form).dtype == torch.int64 for form in forms)
    assert class_indices(torch.tensor([True, False])).tolist() == [1, 0]
    for targets, shape in ((torch.ones(4, 3).int(), "N, 3"), (torch.rand(4, 2), "N, 2"), (torch.zeros(4, 2, 2), "N, 2, 2")):
        with pytest.raises(BadInput, match=rf"data: theirs have the shape \({shape}\); expected the class of each example as \(N,\), or"):
            class_indices(targets, "theirs")


def test_floats_of_more_than_8_bytes_are_read():
    array = draw(3, dtype="float64")
    found = array_inputs(array.astype(np.longdouble), None, "d")
    assert found.dtype == torch.float64 and torch.equal(found[EVERY], torch.from_numpy(array))


def test_bytes_are_texts():
    targets, kind, classes = targets_of(np.array(["née", "b"] * 20), None, "d")
    found = targets_of(np.char.encode(["née", "b"] * 20, "utf-8"), None, "d")
    assert found[1:] == (kind, classes) == ("classification", ("b", "née")) and torch.equal(found[0], targets)


def test_masked_values_are_no_examples():
    with pytest.raises(BadInput, match="data: an array has masked values, which are no examples"):
        as_array(np.ma.masked_array(draw(3), draw(3) > 0.5))
    assert as_array(np.ma.masked_array(draw(3), False)).shape == (N, 3)
