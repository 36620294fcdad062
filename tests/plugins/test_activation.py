import pytest
import torch

from autoopt.plugins.activation.elu import elu
from autoopt.plugins.activation.gelu import gelu
from autoopt.plugins.activation.keep import keep
from autoopt.plugins.activation.leaky_relu import leaky_relu
from autoopt.plugins.activation.mish import mish
from autoopt.plugins.activation.prelu import prelu
from autoopt.plugins.activation.relu import relu
from autoopt.plugins.activation.selu import selu
from autoopt.plugins.activation.silu import silu
from autoopt.plugins.activation.tanh import tanh

X = torch.linspace(-3, 3, 13)
PHI = (1 + torch.erf(X / 2**0.5)) / 2

FORMULAS = {
    "relu": (relu(), X.clamp(min=0)),
    "leaky_relu": (leaky_relu(negative_slope=0.2), torch.where(X > 0, X, 0.2 * X)),
    "elu": (elu(alpha=1.5), torch.where(X > 0, X, 1.5 * (X.exp() - 1))),
    "gelu": (gelu(), X * PHI),
    "gelu by tanh": (gelu(approximate="tanh"), X / 2 * (1 + torch.tanh((2 / torch.pi) ** 0.5 * (X + 0.044715 * X**3)))),
    "silu": (silu(), X / (1 + (-X).exp())),
    "mish": (mish(), X * torch.tanh((1 + X.exp()).log())),
    "selu": (selu(), 1.0507010 * torch.where(X > 0, X, 1.6732632 * (X.exp() - 1))),
    "prelu": (prelu(init=0.1), torch.where(X > 0, X, 0.1 * X)),
    "tanh": (tanh(), (X.exp() - (-X).exp()) / (X.exp() + (-X).exp())),
}


@pytest.mark.parametrize(("activation", "expected"), FORMULAS.values(), ids=FORMULAS)
def test_activation_is_its_formula(activation, expected):
    torch.testing.assert_close(activation(X), expected)


def test_the_two_gelus_are_not_one():
    assert not torch.equal(gelu()(X), gelu(approximate="tanh")(X))


def test_selu_keeps_mean_and_variance():
    torch.manual_seed(0)
    outputs = selu()(torch.randn(200_000))
    assert outputs.mean().item() == pytest.approx(0, abs=0.01)
    assert outputs.var().item() == pytest.approx(1, abs=0.01)


def test_the_slope_of_prelu_is_learnt():
    activation = prelu()
    activation(X).sum().backward()
    torch.testing.assert_close(activation.weight.grad, X.clamp(max=0).sum()[None])
    assert activation.weight.item() == 0.25


def test_keep_offers_nothing_in_place_of_the_models_own():
    assert keep() is None
