import pytest
import torch
from torch import nn
from torch.optim import SGD

from autoopt.plugins.regularizer.gradient_clip import gradient_clip
from autoopt.plugins.regularizer.l1 import l1


def with_gradients():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 3), nn.LayerNorm(3), nn.Linear(3, 2))
    model[0](torch.rand(5, 4)).square().sum().backward()  # the rest has no gradient
    with torch.no_grad():
        model[0].weight[0, 0] = 0.0
    return model, SGD(model.parameters(), lr=0.1)


def test_l1_adds_its_subgradient_to_weights_alone():
    model, optimizer = with_gradients()
    weight, bias = model[0].weight, model[0].bias
    before, bias_before, values = weight.grad.clone(), bias.grad.clone(), weight.detach().clone()
    l1(strength=0.25).on_before_optimizer_step(None, None, optimizer)
    torch.testing.assert_close(weight.grad, before + 0.25 * weight.detach().sign())
    assert weight.grad[0, 0] == before[0, 0]  # at zero the subgradient is zero
    assert torch.equal(bias.grad, bias_before) and torch.equal(weight, values)
    assert model[1].weight.grad is None and model[2].weight.grad is None


def test_l1_is_the_gradient_of_the_penalty():
    model, optimizer = with_gradients()
    weight = model[0].weight
    weight.grad = None
    (0.25 * weight.abs().sum()).backward()
    expected, weight.grad = weight.grad, torch.zeros_like(weight)
    l1(strength=0.25).on_before_optimizer_step(None, None, optimizer)
    torch.testing.assert_close(weight.grad, expected)


def test_l1_does_nothing_where_there_is_no_gradient():
    model, optimizer = with_gradients()
    optimizer.zero_grad()
    l1(strength=0.25).on_before_optimizer_step(None, None, optimizer)
    assert all(p.grad is None for p in model.parameters())


@pytest.mark.parametrize("norm", [0.01, 1e6])
def test_clipping_scales_all_gradients_together(norm):
    model, optimizer = with_gradients()
    before = [p.grad.clone() for p in model[0].parameters()]
    length = torch.cat([g.flatten() for g in before]).norm().item()
    gradient_clip(norm=norm).on_before_optimizer_step(None, None, optimizer)
    scale = min(1.0, norm / length)
    for parameter, old in zip(model[0].parameters(), before, strict=True):
        torch.testing.assert_close(parameter.grad, old * scale, rtol=1e-4, atol=0)
    assert model[2].weight.grad is None
