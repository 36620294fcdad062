import torch

from autoopt.plugins.activation.elu import elu
from autoopt.plugins.activation.keep import keep
from autoopt.plugins.activation.leaky_relu import leaky_relu
from autoopt.plugins.activation.relu import relu

X = torch.linspace(-3, 3, 13)


def test_relu():
    assert torch.equal(relu()(X), X.clamp(min=0))


def test_leaky_relu():
    assert torch.equal(leaky_relu(negative_slope=0.2)(X), torch.where(X > 0, X, 0.2 * X))


def test_elu():
    torch.testing.assert_close(elu(alpha=1.5)(X), torch.where(X > 0, X, 1.5 * (X.exp() - 1)))


def test_keep_offers_nothing_in_place_of_the_models_own():
    assert keep() is None
