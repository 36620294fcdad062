"""The variances that the papers derive, through ten layers."""

import copy

import pytest
import torch
from torch import nn

from autoopt.plugins.initializer.he_normal import he_normal
from autoopt.plugins.initializer.keep import keep
from autoopt.plugins.initializer.xavier_uniform import xavier_uniform

WIDTH = 512


def ten_layers(*between: nn.Module) -> nn.Sequential:
    return nn.Sequential(*(layer for _ in range(10) for layer in (nn.Linear(WIDTH, WIDTH), *between)))


def test_xavier_keeps_the_variance_of_linear_layers_both_ways():
    torch.manual_seed(0)
    model = ten_layers()
    xavier_uniform(model)
    inputs = torch.randn(256, WIDTH, requires_grad=True)
    outputs = model(inputs)
    outputs.backward(torch.randn_like(outputs))
    assert outputs.var().item() == pytest.approx(1, rel=0.25)
    assert inputs.grad.var().item() == pytest.approx(1, rel=0.25)


def test_he_keeps_the_mean_square_through_relu():
    torch.manual_seed(0)
    model = ten_layers(nn.ReLU())
    he_normal(model)
    signal = torch.randn(256, WIDTH)
    assert model(signal).square().mean().item() == pytest.approx(1, rel=0.35)


def test_torchs_own_start_loses_the_signal():
    torch.manual_seed(0)
    model = ten_layers(nn.ReLU())
    keep()
    assert model(torch.randn(256, WIDTH)).square().mean().item() < 0.01


@pytest.mark.parametrize("gain", [1.0, 1.5])
def test_weights_have_the_spread_of_the_formula(gain):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(32, 64, 3), nn.Linear(300, 200))
    fans = [(32 * 9, 64 * 9), (300, 200)]
    xavier_uniform(model, gain=gain)
    for layer, (fan_in, fan_out) in zip(model, fans, strict=True):
        bound = gain * (6 / (fan_in + fan_out)) ** 0.5
        assert layer.weight.abs().max().item() == pytest.approx(bound, rel=0.01)
        assert layer.weight.abs().mean().item() == pytest.approx(bound / 2, rel=0.02)
    he_normal(model, gain=gain)
    for layer, (fan_in, _) in zip(model, fans, strict=True):
        assert layer.weight.std().item() == pytest.approx(gain * (2 / fan_in) ** 0.5, rel=0.02)
        assert not layer.bias.any()


@pytest.mark.parametrize("initialize", [xavier_uniform, he_normal])
def test_grouped_convolutions_count_what_a_unit_sees(initialize):
    torch.manual_seed(0)
    layer = nn.Conv2d(64, 64, 3, groups=64, bias=False)
    initialize(layer)
    expected = {xavier_uniform: (2 / (9 + 64 * 9)) ** 0.5, he_normal: (2 / 9) ** 0.5}[initialize]
    assert layer.weight.std().item() == pytest.approx(expected, rel=0.15)


@pytest.mark.parametrize("initialize", [xavier_uniform, he_normal])
def test_norm_layers_stay(initialize):
    model = nn.Sequential(nn.BatchNorm2d(3), nn.LayerNorm(4), nn.Embedding(3, 4))
    before = copy.deepcopy(model.state_dict())
    initialize(model)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
