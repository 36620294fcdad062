"""Orders, outcomes and problems are the same after a way as JSON."""

import json

import pytest

from autoopt.orders import BLAME, Compress, Graph, Measure, Outcome, Problem, Train, TryOut, from_json
from autoopt.recipe import Recipe

RECIPE = Recipe({"optimizer": {"sgd": {"lr": 0.1}}, "study": {"epochs": 3}})


@pytest.mark.parametrize(
    "order",
    [
        TryOut(key="preflight/baseline", recipe=RECIPE, time_limit=300.0),
        TryOut(key="preflight/7-half", recipe=RECIPE, weights="7"),
        Train(key="7", recipe=RECIPE, seed=3, objective="val_loss", direction="minimize", keep=True, rungs=(3, 9)),
        Measure(key="7-test", recipe=RECIPE, weights="7", latency=True),
        Compress(key="compress-1", recipe=RECIPE, weights="7"),
        Graph(key="export", recipe=RECIPE, folder="best"),
    ],
    ids=lambda order: order.key,
)
def test_an_order_is_the_same_after_its_way(order):
    assert from_json(json.loads(json.dumps(order.json()))) == order


def test_what_came_of_it_is_the_same_after_its_way():
    outcome = Outcome({"val_loss": 0.5}, 3, 1.5, True, [0.1, 0.2], 40, {"test_loss": 0.6}, True, 2)
    problem = Problem("plugin", "no such machine", "optimizer", "absent", unavailable=True)
    assert Outcome(**json.loads(json.dumps(outcome.json()))) == outcome
    assert Problem(**json.loads(json.dumps(problem.json()))) == problem


def test_a_problem_says_who_is_to_blame():
    assert str(Problem("plugin", "boom", "model", "mlp")) == "model/mlp: boom"
    assert str(Problem("timeout", "took longer")) == "timeout: took longer"
    assert {reason for reason in BLAME if Problem(reason, "").blame == "machine"} == {"preempted", "lost", "disk", "system"}
    assert Problem("user", "").blame == "user" and Problem("nonfinite", "").blame == "recipe"
