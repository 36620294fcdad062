import pytest
from scripted import composed

from autoopt.analysis.edges import edges_of, widened
from autoopt.config import compose
from autoopt.domain import Range
from autoopt.records.explanation import Edge
from autoopt.space import Domain, Space

LR = "optimizer.adamw.lr"
SGD = ("data=digits", "optimizer=torch.optim:SGD")


@pytest.mark.parametrize(
    ("values", "scalar", "value", "wider"),
    [
        (Range(1e-4, 0.03, log=True), float, 0.0297, Range(1e-4, 0.173, log=True)),
        (Range(1e-4, 0.03, log=True), float, 1.05e-4, Range(1e-5, 0.03, log=True)),
        (Range(1e-4, 0.03, log=True), float, 0.02, None),
        (Range(1e-3, 5.0, log=True), float, 5.0, Range(1e-3, 15.0, log=True)),
        (Range(0.8, 0.99), float, 0.988, Range(0.8, 0.995)),
        (Range(0.8, 0.99), float, 0.801, Range(0.705, 0.99)),
        (Range(0.8, 0.999), float, 0.999, Range(0.8, 0.9995)),
        (Range(1e-5, 0.999, log=True), float, 0.999, Range(1e-5, 0.9995, log=True)),
        (Range(10000.0, 10001.0), float, 10001.0, Range(10000.0, 10001.5)),
        (Range(0.0, 0.5), float, 0.001, None),
        (Range(0.0, 1.0), float, 1.0, None),
        (Range(-1.0, 3.0), float, -1.0, Range(-3.0, 3.0)),
        (Range(-1.0, 3.0), float, 3.0, Range(-1.0, 5.0)),
        (Range(16, 128, log=True), int, 128, Range(16, 384, log=True)),
        (Range(16, 128, log=True), int, 16, Range(8, 128, log=True)),
        (Range(1, 6), int, 6, Range(1, 9)),
        (Range(1, 6), int, 1, None),
        (Range(2, 6), int, 2, Range(1, 6)),
        (Range(1, 6), int, 5, None),
        (Range(0.1, 0.4, step=0.1), float, 0.4, Range(0.1, 0.7, step=0.1)),
        (Range(0.1, 0.4, step=0.1), float, 0.1, None),
        (Range(0.5, 0.9, step=0.1), float, 0.9, None),
        (Range(-1.0, 0.0, step=0.5), float, -1.0, Range(-1.5, 0.0, step=0.5)),
        (Range(64, 256, step=32), int, 256, Range(64, 352, step=32)),
        (Range(64, 256, step=32), int, 64, Range(32, 256, step=32)),
    ],
)
def test_a_range_is_widened_where_the_value_lies_at_its_end(values, scalar, value, wider):
    assert widened(Domain("x", values, scalar, value), value) == wider


def test_the_values_of_a_recipe_that_are_searched():
    space = Space.of(composed("data=digits", "optimizer=adamw,sgd", f"{LR}=interval(1e-4,0.03)", "optimizer.sgd.lr=interval(0.01,0.1)"))
    (edge,) = edges_of(space, space.recipe({LR: 0.0297, "batches.size": 128}))
    assert edge == Edge(LR, 0.0297, 1e-4, 0.03, f"{LR}=tag(log, interval(0.0001, 0.173))")
    assert list(edges_of(space, space.recipe({LR: 0.001}))) == []


@pytest.mark.parametrize(
    ("said", "value", "advised"),
    [
        ("tag(log,interval(1e-3,1))", 0.00101, "tag(log, interval(0.0001, 1.0))"),
        ("range(0.1,0.5,0.1)", 0.4, "range(0.1, 0.8, 0.1)"),
    ],
)
def test_a_wider_range_keeps_the_scale_and_the_steps_that_only_the_config_gives(said, value, advised):
    key = "optimizer.SGD.lr"
    space = Space.of(compose([*SGD, f"{key}={said}"]))
    (edge,) = edges_of(space, space.recipe({key: value}))
    assert edge.wider == f"{key}={advised}"
    before, after = (next(d.values for d in each.domains() if d.key == key) for each in (space, Space.of(compose([*SGD, edge.wider]))))
    assert (after.log, after.step) == (before.log, before.step)


def test_no_range_is_advised_that_the_argument_refuses():
    """`Bounds` of a hue end at 0.5, where half of the range higher is 0.75."""
    key = "augmentation.color_jitter.hue"
    space = Space.of(compose(["data=digits", "augmentation=color_jitter", f"{key}=interval(0,0.5)"]))
    assert list(edges_of(space, space.recipe({key: 0.5}))) == []


def test_a_baseline_outside_of_its_range_is_at_no_end():
    space = Space.of(composed("data=digits", "optimizer=adamw", f"{LR}=interval(1e-4,0.03)"))
    recipe = Space.of(composed("data=digits", "optimizer=adamw", f"{LR}=0.5")).baseline()
    assert list(edges_of(space, recipe)) == []
