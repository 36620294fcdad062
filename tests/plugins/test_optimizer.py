"""The first three steps of each optimizer, by hand."""

import pytest
import torch

from autoopt.plugins.optimizer.adam import adam
from autoopt.plugins.optimizer.adamw import adamw
from autoopt.plugins.optimizer.keep import keep
from autoopt.plugins.optimizer.momentum import momentum
from autoopt.plugins.optimizer.nesterov import nesterov
from autoopt.plugins.optimizer.sgd import sgd

GRADIENTS = [torch.tensor([0.5, -2.0, 1.0]), torch.tensor([-0.3, 0.4, 0.0]), torch.tensor([1.5, 1.0, -1.0])]
START = torch.tensor([1.0, -1.0, 0.5])


def trajectory(make, **values):
    """The weights after each step with the given gradients; and of a bias, whose group says that it is not decayed."""
    weight, bias = (torch.nn.Parameter(START.clone()) for _ in range(2))
    optimizer = make([{"params": [weight]}, {"params": [bias], "weight_decay": 0.0}], **values)
    seen = []
    for gradient in GRADIENTS:
        weight.grad, bias.grad = gradient.clone(), gradient.clone()
        optimizer.step()
        seen.append((weight.detach().clone(), bias.detach().clone()))
    return [torch.stack(each) for each in zip(*seen, strict=True)]


def by_hand(rule, decay):
    """Apply `rule(w, g, state, t)` thrice, with the penalty's gradient in g."""
    w, state, seen = START.double(), {}, []
    for t, g in enumerate(GRADIENTS, 1):
        w = rule(w, g.double() + decay * w, state, t)
        seen.append(w)
    return torch.stack(seen).float()


def sgd_rule(w, g, state, t):
    return w - 0.1 * g


def momentum_rule(w, g, state, t):
    state["v"] = 0.8 * state.get("v", 0) + g
    return w - 0.1 * state["v"]


def nesterov_rule(w, g, state, t):
    state["v"] = 0.8 * state.get("v", 0) + g
    return w - 0.1 * (g + 0.8 * state["v"])


def adam_rule(w, g, state, t):
    state["m"] = 0.85 * state.get("m", 0) + 0.15 * g
    state["v"] = 0.999 * state.get("v", 0) + 0.001 * g**2
    return w - 0.1 * (state["m"] / (1 - 0.85**t)) / ((state["v"] / (1 - 0.999**t)).sqrt() + 1e-8)


@pytest.mark.parametrize(
    ("make", "values", "rule"),
    [
        (sgd, {}, sgd_rule),
        (momentum, {"momentum": 0.8}, momentum_rule),
        (nesterov, {"momentum": 0.8}, nesterov_rule),
        (adam, {"beta1": 0.85}, adam_rule),
    ],
)
def test_three_steps_are_the_formula(make, values, rule):
    weights, biases = trajectory(make, lr=0.1, weight_decay=0.01, **values)
    torch.testing.assert_close(weights, by_hand(rule, 0.01), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(biases, by_hand(rule, 0.0), rtol=1e-5, atol=1e-6)


def test_adamw_decays_the_weights_and_not_the_gradient():
    def rule(w, g, state, t):
        return adam_rule(w * (1 - 0.1 * 0.5), g, state, t)

    weights, biases = trajectory(adamw, lr=0.1, weight_decay=0.5, beta1=0.85)
    torch.testing.assert_close(weights, by_hand(rule, 0.0), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(biases, by_hand(adam_rule, 0.0), rtol=1e-5, atol=1e-6)


def test_the_step_runs_in_one_kernel():
    parameter = torch.nn.Parameter(torch.ones(2))
    assert all(make([parameter]).defaults["fused"] for make in (sgd, momentum, nesterov, adam, adamw))


def test_keep_gives_the_modules_own():
    own = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))])
    assert keep(own) is own
