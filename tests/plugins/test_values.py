"""Values that an argument cannot mean: they are refused by what its annotation declares, before anything starts."""

from typing import Annotated, get_args

import pytest

from autoopt.config import compose
from autoopt.domain import Bounds, Choice
from autoopt.errors import BadInput
from autoopt.slots import PLUGGABLE
from autoopt.technique import REQUIRED, Param, available, build, find

NUMBERS = [
    (f"{slot}.{name}.{key}", param)
    for slot in PLUGGABLE
    for name in available(slot)
    if find(slot, name).owner.startswith("autoopt ")
    for key, param in find(slot, name).params.items()
    if {int, float} & {param.type, *get_args(param.type)}
]
ANY = {"activation.leaky_relu.negative_slope", "activation.prelu.init"}
"""Numbers that mean something whatever they are: the slope below 0."""
REFUSED = [
    ("schedule.cosine.warmup", "10", "10.0: expected 0 to 1"),
    ("schedule.cosine.final", "2", "2.0: expected 0 to 1"),
    ("schedule.cosine_restarts.growth", "0", "0.0: expected more than 0"),
    ("schedule.cosine_restarts.cycles", "0", "0: expected 1 or more"),
    ("schedule.exponential.final", "-1", "-1.0: expected more than 0, at most 1"),
    ("schedule.step.drops", "-1", "-1: expected 0 or more"),
    ("schedule.step.drops", "1.5", "1.5: expected int, got 1.5"),
    ("regularizer.l2.strength", "-1", "-1.0: expected 0 or more"),
    ("regularizer.l2.strength", "1e-4,-1", "choice(1e-4,-1): expected 0 or more"),
    ("regularizer.l2.strength", "interval(-1,1)", "interval(-1,1): expected 0 or more"),
    ("regularizer.l2.strength", "inf", "inf: expected a finite number, got inf"),
    ("regularizer.ema.decay", "1", "1.0: expected 0 or more, less than 1"),
    ("regularizer.gradient_clip.norm", "0", "0.0: expected more than 0"),
    ("loss.cross_entropy.label_smoothing", "-1", "-1.0: expected 0 to 1"),
    ("loss.quantile.level", "1", "1.0: expected more than 0, less than 1"),
    ("optimizer.schedule_free_adamw.lr", "-1", "-1.0: expected 0 or more"),
    ("compression.weight_sharing.clusters", "1", "1: expected 2 to 256"),
    ("model.mlp.width", "0", "0: expected 1 or more"),
    ("model.transformer.heads", "0", "0: expected 1 or more"),
    ("data.image_folder.size", "0", "0: expected 1 or more"),
    ("data.text.vocabulary", "2", "2: expected 3 or more"),
    ("device.cpu.threads", "0", "0: expected 1 or more"),
    ("strategy.bayes.reduction", "1", "1: expected 2 or more"),
    ("model.mlp.connection", "other", "other: expected one of plain, residual, dense"),
    ("loss.focal.class_weight", "none,other", "choice(none,other): expected one of none, balanced"),
]


@pytest.mark.parametrize(("key", "value", "said"), REFUSED)
def test_a_value_that_an_argument_cannot_mean_is_refused(key, value, said):
    slot, name, argument = key.split(".")
    required = [f"{slot}.{name}.{n}=x" for n, p in find(slot, name).params.items() if p.default is REQUIRED and n != argument]
    with pytest.raises(BadInput) as caught:
        compose([*([] if slot == "data" else ["data=digits"]), f"{slot}={name}", *required, f"{key}={value}"])
    assert f"{key}={said}" in caught.value.problems


@pytest.mark.parametrize(("key", "param"), NUMBERS, ids=lambda part: part if isinstance(part, str) else "")
def test_every_number_of_a_technique_says_what_it_can_mean(key, param):
    assert (param.bounds is None) == (key in ANY)


@pytest.mark.parametrize("override", ["device.cpu.precision=64-true", "model.transformer.heads=16", "regularizer.ema.decay=0.95"])
def test_what_is_merely_advised_against_is_taken(override):
    slot, name = override.split(".")[:2]
    compose(["data=digits", f"{slot}={name}", override])


def test_what_bounds_a_value_does_not_bound_its_steps():
    compose(["data=digits", "model=transformer", "model.transformer.width=range(32,96,step=32)", "schedule=plateau"])
    of_hundreds = Param("size", int, bounds=Bounds(100))
    assert of_hundreds.refusal(50) and not of_hundreds.refusal(200)
    compose(["data=digits", "model=own_parts:Sized", "model.Sized.size=range(100,500,step=50)"])


def test_a_function_of_a_user_and_of_python_declares_it_alike():
    with pytest.raises(BadInput, match=r"^model\.Sized\.size=50: expected 100 or more$"):
        compose(["data=digits", "model=own_parts:Sized", "model.Sized.size=50"])
    with pytest.raises(ValueError, match=r"^strength=-1: expected 0 or more$"):
        build(find("regularizer", "l2"), {}, {"strength": -1})
    with pytest.raises(ValueError, match=r"^connection=other: expected one of plain, residual, dense$"):
        build(find("model", "mlp"), {}, {"connection": "other"})


@pytest.mark.parametrize(
    ("bounds", "inside", "outside", "said"),
    [
        (Bounds(0, 1), (0, 0.5, 1), (-0.1, 1.1), "0 to 1"),
        (Bounds(0, below=1), (0, 0.99), (-1, 1, 1.0), "0 or more, less than 1"),
        (Bounds(above=0), (1e-9, 1e9), (0, -1), "more than 0"),
        (Bounds(high=1, above=0), (1,), (0, 2), "more than 0, at most 1"),
        (Bounds(3), (3, None, "a"), (2,), "3 or more"),
    ],
)
def test_bounds(bounds, inside, outside, said):
    assert not any(map(bounds.refusal, inside)) and {*map(bounds.refusal, outside)} == {f"expected {said}"} and str(bounds) == said


@pytest.mark.parametrize("ends", [{"low": 1, "high": 0}, {"above": 1, "below": 1}])
def test_bounds_leave_numbers(ends):
    with pytest.raises(ValueError, match="Bounds need some numbers between them"):
        Bounds(**ends)


def test_texts_beside_those_of_a_choice():
    assert Choice("a", "b").refusal("c") == "expected one of a, b" and not Choice("a", None, 1).refusal(2)
    assert not Choice("a", "b", others=True).refusal("c")


def test_an_annotation_is_not_taken_for_an_equal_one():
    """`typing` keeps what it has made, and gives it again for equal arguments."""
    closed, open_ = Annotated[str, Choice("a", "b")], Annotated[str, Choice("a", "b", others=True)]
    assert [get_args(one)[1].others for one in (closed, open_)] == [False, True]
