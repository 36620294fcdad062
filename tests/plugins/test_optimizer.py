"""The first steps of each optimizer by hand, and all of them in trainings."""

from functools import partial

import lightning.pytorch as L
import pytest
import torch
from lightning.pytorch.plugins import MixedPrecision
from safetensors.torch import load_file
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader

from autoopt.data.examples import Examples
from autoopt.data.make_task import make_task
from autoopt.domain import Unavailable
from autoopt.module.groups import parameter_groups
from autoopt.module.tuned import set_mode
from autoopt.orders import Train
from autoopt.plugins.optimizer.adabelief import adabelief
from autoopt.plugins.optimizer.adadelta import adadelta
from autoopt.plugins.optimizer.adafactor import adafactor
from autoopt.plugins.optimizer.adagrad import adagrad
from autoopt.plugins.optimizer.adam import adam
from autoopt.plugins.optimizer.adamax import adamax
from autoopt.plugins.optimizer.adamw import adamw
from autoopt.plugins.optimizer.asgd import asgd
from autoopt.plugins.optimizer.gd import gd
from autoopt.plugins.optimizer.keep import keep
from autoopt.plugins.optimizer.lamb import lamb
from autoopt.plugins.optimizer.lion import lion
from autoopt.plugins.optimizer.momentum import momentum
from autoopt.plugins.optimizer.muon import muon
from autoopt.plugins.optimizer.nadam import nadam
from autoopt.plugins.optimizer.nesterov import nesterov
from autoopt.plugins.optimizer.prodigy import prodigy
from autoopt.plugins.optimizer.radam import radam
from autoopt.plugins.optimizer.rmsprop import rmsprop
from autoopt.plugins.optimizer.sam import sam
from autoopt.plugins.optimizer.sam_adamw import sam_adamw
from autoopt.plugins.optimizer.schedule_free_adamw import schedule_free_adamw
from autoopt.plugins.optimizer.schedule_free_sgd import schedule_free_sgd
from autoopt.plugins.optimizer.sgd import sgd
from autoopt.plugins.optimizer.soap import soap
from autoopt.plugins.regularizer.gradient_clip import gradient_clip
from autoopt.plugins.regularizer.l1 import l1
from autoopt.recipe import Recipe
from autoopt.slots import SLOTS
from autoopt.store import Store
from autoopt.technique import available, build, find
from autoopt.testing.toys import Tiny, fit_toy
from autoopt.trial.run import run
from autoopt.trial.world import World

GRADIENTS = [torch.tensor([0.5, -2.0, 1.0]), torch.tensor([-0.3, 0.4, 0.1]), torch.tensor([1.5, 1.0, -1.0])] * 3
START = torch.tensor([1.0, -1.0, 0.5])


def trajectory(make, **values):
    """The weights after each step with the given gradients; and of a bias, whose group says that it is not decayed."""
    weight, bias = (nn.Parameter(START.clone()) for _ in range(2))
    optimizer = make([{"params": [weight]}, {"params": [bias], "weight_decay": 0.0}], **values)
    getattr(optimizer, "train", lambda: None)()
    seen = []
    for gradient in GRADIENTS:
        weight.grad, bias.grad = gradient.clone(), gradient.clone()
        optimizer.step()
        seen.append((weight.detach().clone(), bias.detach().clone()))
    return [torch.stack(each) for each in zip(*seen, strict=True)]


def by_hand(rule, decay):
    """Apply `rule(w, g, state, t)` at every step, with the penalty's gradient in g."""
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


def means(g, state, beta1, beta2):
    """The running means of g and g²."""
    state["m"] = beta1 * state.get("m", 0) + (1 - beta1) * g
    state["v"] = beta2 * state.get("v", 0) + (1 - beta2) * g**2
    return state["m"], state["v"]


def adam_rule(w, g, state, t):
    m, v = means(g, state, 0.85, 0.999)
    return w - 0.1 * (m / (1 - 0.85**t)) / ((v / (1 - 0.999**t)).sqrt() + 1e-8)


def adagrad_rule(w, g, state, t):
    state["G"] = state.get("G", 0) + g**2
    return w - 0.1 * g / (state["G"].sqrt() + 1e-10)


def rmsprop_rule(w, g, state, t):
    _, v = means(g, state, 0, 0.9)
    return w - 0.1 * g / (v.sqrt() + 1e-8)


def nadam_rule(w, g, state, t):
    now, ahead = (0.85 * (1 - 0.96 ** (0.004 * each) / 2) for each in (t, t + 1))
    state["M"] = state.get("M", 1) * now
    m, v = means(g, state, 0.85, 0.999)
    look = ahead * m / (1 - state["M"] * ahead) + (1 - now) * g / (1 - state["M"])
    return w - 0.1 * look / ((v / (1 - 0.999**t)).sqrt() + 1e-8)


def radam_rule(w, g, state, t):
    m, v = means(g, state, 0.85, 0.999)
    rho = 2 / (1 - 0.999) - 1
    now = rho - 2 * t * 0.999**t / (1 - 0.999**t)
    step = 0.1 * m / (1 - 0.85**t)
    if now <= 5:
        return w - step
    rectified = ((now - 4) * (now - 2) * rho / ((rho - 4) * (rho - 2) * now)) ** 0.5
    return w - rectified * step / ((v / (1 - 0.999**t)).sqrt() + 1e-8)


def adadelta_rule(w, g, state, t):
    _, v = means(g, state, 0, 0.9)
    step = ((state.get("d", 0) + 1e-6) / (v + 1e-6)) ** 0.5 * g
    state["d"] = 0.9 * state.get("d", 0) + 0.1 * step**2
    return w - 0.1 * step


def adamax_rule(w, g, state, t):
    m, _ = means(g, state, 0.85, 0)
    state["u"] = torch.maximum(0.999 * state.get("u", torch.zeros(3)), g.abs())
    return w - 0.1 / (1 - 0.85**t) * m / state["u"]


def lion_rule(w, g, state, t):
    m = state.get("m", torch.zeros(3))
    state["m"] = 0.99 * m + 0.01 * g
    return w - 0.1 * (0.85 * m + 0.15 * g).sign()


def adabelief_rule(w, g, state, t):
    m, _ = means(g, state, 0.85, 0)
    state["s"] = 0.999 * state.get("s", 0) + 0.001 * (g - m) ** 2
    return w - 0.1 * (m / (1 - 0.85**t)) / (state["s"] / (1 - 0.999**t)).sqrt()


@pytest.mark.parametrize(
    ("make", "values", "rule"),
    [
        (sgd, {}, sgd_rule),
        (momentum, {"momentum": 0.8}, momentum_rule),
        (nesterov, {"momentum": 0.8}, nesterov_rule),
        (adam, {"beta1": 0.85}, adam_rule),
        (adagrad, {}, adagrad_rule),
        (rmsprop, {"alpha": 0.9}, rmsprop_rule),
        (nadam, {"beta1": 0.85}, nadam_rule),
        (radam, {"beta1": 0.85}, radam_rule),
        (adadelta, {"rho": 0.9}, adadelta_rule),
        (adamax, {"beta1": 0.85}, adamax_rule),
        (partial(gd, steps_per_epoch=1), {}, sgd_rule),
        (partial(asgd, total_steps=9), {}, sgd_rule),
    ],
    ids=lambda part: getattr(part, "__name__", "_"),
)
def test_steps_are_the_formula_with_the_penalty_in_the_gradient(make, values, rule):
    weights, biases = trajectory(make, lr=0.1, weight_decay=0.01, **values)
    torch.testing.assert_close(weights, by_hand(rule, 0.01), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(biases, by_hand(rule, 0.0), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("make", "rule"), [(adamw, adam_rule), (lion, lion_rule), (adabelief, adabelief_rule)], ids=["adamw", "lion", "adabelief"]
)
def test_steps_are_the_formula_with_the_weights_themselves_decayed(make, rule):
    def decayed(w, g, state, t):
        return rule(w * (1 - 0.1 * 0.5), g, state, t)

    weights, biases = trajectory(make, lr=0.1, weight_decay=0.5, beta1=0.85)
    torch.testing.assert_close(weights, by_hand(decayed, 0.0), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(biases, by_hand(rule, 0.0), rtol=1e-5, atol=1e-6)


def test_the_second_beta_of_adamw_may_be_set():
    def rule(w, g, state, t):
        m, v = means(g, state, 0.9, 0.95)
        return w - 0.1 * (m / (1 - 0.9**t)) / ((v / (1 - 0.95**t)).sqrt() + 1e-8)

    weights, _ = trajectory(adamw, lr=0.1, weight_decay=0.0, beta2=0.95)
    torch.testing.assert_close(weights, by_hand(rule, 0.0), rtol=1e-5, atol=1e-6)


def lamb_rule(w, g, state, t, decay=0.0, adapted=True):
    m, v = means(g, state, 0.85, 0.999)
    u = m / (v.sqrt() + 1e-6) + decay * w
    return w - 0.1 * (w.norm() / u.norm() if adapted else 1.0) * u


@pytest.mark.parametrize("decay", [0.5, 0.0])
def test_lamb_moves_each_tensor_by_a_share_of_its_length_but_for_those_that_are_not_decayed(decay):
    weights, biases = trajectory(lamb, lr=0.1, weight_decay=decay, beta1=0.85)
    torch.testing.assert_close(weights, by_hand(partial(lamb_rule, decay=decay), 0.0), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(biases, by_hand(partial(lamb_rule, adapted=False), 0.0), rtol=1e-5, atol=1e-5)


def test_lamb_counts_the_whole_length_of_a_long_tensor():
    weight = nn.Parameter(torch.full((1000,), 2.0))
    optimizer = lamb([{"params": [weight]}], lr=0.1, weight_decay=0.0)
    weight.grad = torch.ones(1000)
    optimizer.step()
    assert (weight - 2.0).norm().item() == pytest.approx(0.1 * 2 * 1000**0.5, rel=1e-4)


def adafactor_rule(w, g, state, t, decay=0.0):
    beta2 = 1 - t**-0.8
    _, v = means(g, state, 0, beta2)
    u = g / v.sqrt()
    rms = [float((x**2).mean() ** 0.5) for x in (u, w)]
    rate = min(0.1, t**-0.5) * max(1e-3, rms[1])
    return w * (1 - 0.1 * decay) - rate * u / max(1.0, rms[0])


def test_adafactor_steps_of_vectors_are_the_formula():
    weights, biases = trajectory(adafactor, lr=0.1, weight_decay=0.5)
    torch.testing.assert_close(weights, by_hand(partial(adafactor_rule, decay=0.5), 0.0), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(biases, by_hand(adafactor_rule, 0.0), rtol=1e-5, atol=1e-6)


def test_adafactor_keeps_the_row_and_column_means_of_a_matrix():
    weight = nn.Parameter(torch.randn(4, 3, generator=torch.Generator().manual_seed(0)))
    w, g, (rows, columns) = weight.detach().double(), torch.outer(torch.arange(1.0, 5), torch.tensor([1.0, -2.0, 3.0])) + 0.3, (0, 0)
    optimizer = adafactor([weight], lr=0.1)
    for t in range(1, 4):
        weight.grad = g / t
        optimizer.step()
        beta2, square = 1 - t**-0.8, (g.double() / t) ** 2
        rows, columns = (beta2 * old + (1 - beta2) * square.mean(dim) for old, dim in ((rows, 1), (columns, 0)))
        u = (g.double() / t) / (torch.outer(rows, columns) / rows.mean()).sqrt()
        w = w - min(0.1, t**-0.5) * (w**2).mean().sqrt() * u / max(1.0, float((u**2).mean().sqrt()))
    torch.testing.assert_close(weight.detach(), w.float(), rtol=1e-4, atol=1e-5)


def test_prodigy_estimates_the_distance_as_its_source_says():
    weight = nn.Parameter(torch.tensor([1.0, -2.0], dtype=torch.double))  # its first steps are lost in a float
    optimizer = prodigy([{"params": [weight]}], weight_decay=0.1, d_coef=1.5)
    first = w = weight.detach().clone()
    d = d0 = 1e-6
    r, s, m, v = 0.0, *(torch.zeros(2, dtype=torch.double) for _ in range(3))
    for _ in range(60):
        weight.grad = weight.detach() * torch.tensor([1.0, 3.0])
        optimizer.step()
        g, share = w * torch.tensor([1.0, 3.0]), 0.999**0.5
        r = share * r + d**2 / d0 * float(g @ (first - w))
        s = share * s + d**2 / d0 * g
        m, v = 0.9 * m + 0.1 * d * g, 0.999 * v + 0.001 * d**2 * g**2
        before, d = d, max(d, 1.5 * r / float(s.abs().sum()))
        w = w * (1 - before * 0.1) - before * m / (v.sqrt() + d * 1e-8)
    assert d > 1e-3 and optimizer.param_groups[0]["d"] == pytest.approx(d, rel=1e-3)
    torch.testing.assert_close(weight.detach(), w, rtol=1e-3, atol=1e-3)


def test_soap_is_adam_in_the_eigenbasis_of_the_preconditioner():
    generator = torch.Generator().manual_seed(0)
    weight, gradients = nn.Parameter(torch.randn(4, 4, generator=generator)), torch.randn(4, 4, 4, generator=generator)
    w = weight.detach().double()
    optimizer = soap([{"params": [weight]}], lr=0.1, weight_decay=0.5, beta1=0.9)
    left, right = (torch.linalg.eigh(each)[1] for each in (gradients[0] @ gradients[0].T, gradients[0].T @ gradients[0]))
    left, right, state = left.double(), right.double(), {}
    for t, gradient in enumerate(gradients):
        weight.grad = gradient.clone()
        optimizer.step()
        if t > 0:
            _, v = means(left.T @ gradient.double() @ right, state, 0.9, 0.95)
            turned = state["m"] / (1 - 0.9**t) / ((v / (1 - 0.95**t)).sqrt() + 1e-8)
            w = (w - 0.1 * left @ turned @ right.T) * (1 - 0.1 * 0.5)
    torch.testing.assert_close(weight.detach(), w.float(), rtol=1e-3, atol=1e-4)


def test_soap_comes_to_the_eigenbasis_by_power_iterations():
    generator = torch.Generator().manual_seed(0)
    weight, skew = nn.Parameter(torch.zeros(3, 3)), torch.diag(torch.tensor([3.0, 1.0, 0.3]))
    turn = torch.linalg.qr(torch.randn(3, 3, generator=generator))[0]
    optimizer = soap([{"params": [weight]}], precondition_frequency=1)
    for _ in range(60):
        weight.grad = turn @ skew @ torch.randn(3, 3, generator=generator)
        optimizer.step()
    basis, second = optimizer.state[weight]["Q"][0], optimizer.state[weight]["GG"][0]
    torch.testing.assert_close(basis.T @ basis, torch.eye(3), rtol=0, atol=1e-5)
    inside = basis.T @ second @ basis
    assert (inside - inside.diag().diag()).abs().max() < 0.1 * inside.diag().max()
    assert inside.diag()[0] > inside.diag()[1] > inside.diag()[2]


def valley(weight, bias):
    return (1 - weight[0]) ** 2 + 3 * (weight[1] - weight[0] ** 2) ** 2 + (bias * weight[1] - 2) ** 4 / 10


def test_sam_steps_on_the_gradient_at_the_worst_point_near():
    weight, bias = nn.Parameter(torch.tensor([0.5, -0.5])), nn.Parameter(torch.tensor(1.5))
    groups = [{"params": [weight]}, {"params": [bias], "weight_decay": 0.0}]
    optimizer = sam(groups, nn.Linear(1, 1), lr=0.02, momentum=0.8, weight_decay=0.1, rho=0.3)
    now, velocity, errors = [weight.detach().double(), bias.detach().double()], [0, 0], []

    def gradient(at):
        at = [each.clone().requires_grad_() for each in at]
        return torch.autograd.grad(valley(*at), at)

    def closure():
        optimizer.zero_grad()
        loss = valley(weight, bias)
        loss.backward()
        return loss

    for _ in range(4):
        before = valley(*now)
        errors.append(optimizer.step(closure).item() - before.item())
        first = gradient(now)
        length = (first[0].square().sum() + first[1].square()).sqrt()
        second = gradient([w + 0.3 * g / length for w, g in zip(now, first, strict=True)])
        velocity = [0.8 * v + g + decay * w for v, g, w, decay in zip(velocity, second, now, (0.1, 0), strict=True)]
        now = [w - 0.02 * v for w, v in zip(now, velocity, strict=True)]
    torch.testing.assert_close(weight.detach(), now[0].float(), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(bias.detach(), now[1].float(), rtol=1e-5, atol=1e-5)
    assert errors == pytest.approx([0] * 4, abs=1e-5)


def test_sam_adamw_is_adamw_on_the_gradient_at_the_worst_point_near():
    weight, theirs = (nn.Parameter(torch.tensor([0.5, -0.5, 1.5])) for _ in range(2))
    settings = {"lr": 0.02, "weight_decay": 0.1}
    optimizer = sam_adamw([{"params": [weight]}], nn.Linear(1, 1), beta1=0.8, rho=0.3, **settings)
    reference = torch.optim.AdamW([theirs], betas=(0.8, 0.999), **settings)

    def gradient(at):
        at = at.detach().clone().requires_grad_()
        return torch.autograd.grad(valley(at[:2], at[2]), at)[0]

    def closure():
        optimizer.zero_grad()
        loss = valley(weight[:2], weight[2])
        loss.backward()
        return loss

    for _ in range(4):
        optimizer.step(closure)
        first = gradient(theirs)
        theirs.grad = gradient(theirs + 0.3 * first / first.norm())
        reference.step()
    torch.testing.assert_close(weight.detach(), theirs.detach(), rtol=1e-5, atol=1e-5)


def test_sam_shows_batch_norm_the_weights_themselves():
    model = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3, momentum=0.5))
    inputs = torch.tensor([[1.0, 2.0], [3.0, -1.0], [0.0, 1.0]])
    expected = model[0](inputs).mean(0).detach() / 2
    optimizer = sam([{"params": [*model.parameters()]}], model, lr=0.1, rho=1.0)

    def closure():
        optimizer.zero_grad()
        loss = (model(inputs) - 1).square()[0].sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    torch.testing.assert_close(model[1].running_mean, expected)
    assert model[1].momentum == 0.5


def test_sam_leaves_batch_norms_as_they_were():
    """Also one that stands in two places, which had learnt nothing after the first step, and one that takes the mean of all batches."""
    encoder = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3, momentum=None))
    model = nn.ModuleDict({"encoder": encoder, "whole": nn.Sequential(encoder, nn.Linear(3, 1))})
    optimizer = sam([{"params": [*model.parameters()]}], model, lr=1e-12, rho=1e-3)
    batches = [torch.randn(8, 2) + number for number in range(3)]
    for inputs in batches:

        def closure(inputs=inputs):
            optimizer.zero_grad()
            loss = model["whole"](inputs).square().sum()
            loss.backward()
            return loss

        optimizer.step(closure)
    expected = torch.stack([encoder[0](inputs).mean(0) for inputs in batches]).mean(0)
    torch.testing.assert_close(encoder[1].running_mean, expected.detach(), rtol=1e-4, atol=1e-5)
    assert encoder[1].track_running_stats and encoder[1].momentum is None


def test_sam_says_that_it_needs_a_closure():
    with pytest.raises(RuntimeError, match="two gradients a step, so step"):
        sam([nn.Parameter(torch.ones(1))], nn.Linear(1, 1)).step()


def schedule_free_rule(w, g, state, t, direction, decay, warm):
    """The next y from the gradient at y; x and z are kept."""
    x, z = state.get("x", w), state.get("z", w)
    rate = 0.1 * min(1.0, t / warm)
    state["top"] = max(rate, state.get("top", 0))
    state["weights"] = state.get("weights", 0) + state["top"] ** 2
    z = z - rate * (direction(g, state, t) + decay * w)
    share = state["top"] ** 2 / state["weights"]
    state["x"], state["z"] = (1 - share) * x + share * z, z
    return 0.1 * state["z"] + 0.9 * state["x"]


def plain_direction(g, state, t):
    return g


def scaled_direction(g, state, t):
    _, v = means(g, state, 0, 0.999)
    return g / ((v / (1 - 0.999**t)).sqrt() + 1e-8)


@pytest.mark.parametrize(
    ("make", "direction"),
    [(schedule_free_sgd, plain_direction), (schedule_free_adamw, scaled_direction)],
    ids=["sgd", "adamw"],
)
def test_schedule_free_steps_are_the_formula(make, direction):
    weights, biases = trajectory(partial(make, total_steps=40), lr=0.1, weight_decay=0.5, warmup=0.1)
    rule = partial(schedule_free_rule, direction=direction, warm=4)
    torch.testing.assert_close(weights, by_hand(partial(rule, decay=0.5), 0.0), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(biases, by_hand(partial(rule, decay=0.0), 0.0), rtol=1e-4, atol=1e-5)


def test_schedule_free_evaluates_the_mean_of_its_steps():
    weight = nn.Parameter(torch.tensor([2.0]))
    optimizer, z = schedule_free_sgd([{"params": [weight]}], 10, lr=0.1, weight_decay=0.0, warmup=0.0), [2.0]
    optimizer.train()
    for gradient in (1.0, -3.0, 2.0):
        weight.grad = torch.tensor([gradient])
        optimizer.step()
        z.append(z[-1] - 0.1 * gradient)
    optimizer.eval()
    assert weight.item() == pytest.approx(sum(z[1:]) / 3)


def test_asgd_evaluates_the_mean_of_its_later_weights():
    weight = nn.Parameter(torch.tensor([2.0]))
    optimizer, seen = asgd([{"params": [weight]}], 8, lr=0.1, weight_decay=0.0, start=0.25), []
    for step in range(8):
        optimizer.train()
        weight.grad = torch.tensor([step - 3.0])
        optimizer.step()
        seen.append(weight.item())
        optimizer.eval()
        assert weight.item() == pytest.approx(sum(seen[2:]) / len(seen[2:]) if step >= 2 else seen[-1])
    optimizer.eval()
    optimizer.train()
    assert weight.item() == pytest.approx(2.0 - 0.1 * sum(step - 3.0 for step in range(8)), rel=1e-5)


# --------------------------------------------------------------------------------------------------------------- full batches


def test_gd_makes_one_step_an_epoch_on_the_mean_of_its_gradients():
    weight, bias = (nn.Parameter(START.clone()) for _ in range(2))
    optimizer = gd([{"params": [weight]}, {"params": [bias], "weight_decay": 0.0}], 3, lr=0.1, weight_decay=0.5)
    expected = {0.5: START.clone(), 0.0: START.clone()}
    for epoch in range(2):
        for batch in GRADIENTS[:3]:
            for decay, p in ((0.5, weight), (0.0, bias)):
                torch.testing.assert_close(p.detach(), expected[decay], rtol=1e-6, atol=1e-6)
                p.grad = batch * (epoch + 1)
            optimizer.step()
        mean = sum(GRADIENTS[:3]) / 3 * (epoch + 1)
        expected = {decay: w - 0.1 * (mean + decay * w) for decay, w in expected.items()}
    torch.testing.assert_close(weight.detach(), expected[0.5], rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(bias.detach(), expected[0.0], rtol=1e-6, atol=1e-6)


def test_gd_takes_the_rate_with_which_an_epoch_begins():
    weight = nn.Parameter(START.clone())
    optimizer, expected = gd([{"params": [weight]}], 3, lr=0.1, weight_decay=0.0), START.clone()
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 / (1 + step))
    for epoch in range(2):
        for batch in GRADIENTS[:3]:
            weight.grad = batch.clone()
            optimizer.step()
            assert optimizer.param_groups[0]["lr"] == pytest.approx(schedule.get_last_lr()[0])
            schedule.step()
        expected -= 0.1 / (1 + 3 * epoch) * sum(GRADIENTS[:3]) / 3
        torch.testing.assert_close(weight.detach(), expected)


@pytest.mark.parametrize("skipped", [0, 1, 2])
def test_gd_steps_at_the_end_of_an_epoch_although_a_step_was_skipped(skipped):
    """After a last batch that is skipped, the first batch of the next epoch makes the step."""
    weight = nn.Parameter(torch.zeros(1))
    optimizer, scaler, moved = gd([{"params": [weight]}], 3, lr=0.1, weight_decay=0.0), torch.amp.GradScaler("cpu", 2.0), []
    for batch in range(9):
        optimizer.zero_grad()
        scaler.scale((torch.inf if batch == skipped else 1.0) * weight.sum()).backward()
        scaler.step(optimizer)
        scaler.update()
        moved.append(round(weight.item(), 4))
    first = [0.0, 0.0, 0.0, -0.1] if skipped == 2 else [0.0, 0.0, -0.1, -0.1]
    assert moved == [*first, -0.1, -0.2, -0.2, -0.2, -0.3]


def test_gd_is_gradient_descent_on_all_the_data():
    inputs, targets = torch.randn(12, 3, generator=torch.Generator().manual_seed(0)), torch.arange(12.0)[:, None]
    model, whole = nn.Linear(3, 1), nn.Linear(3, 1)
    whole.load_state_dict(model.state_dict())
    optimizer = gd([{"params": [*model.parameters()]}], 4, lr=0.05, weight_decay=0.0)
    plain = torch.optim.SGD(whole.parameters(), lr=0.05)
    for _ in range(3):
        for x, y in zip(inputs.split(3), targets.split(3), strict=True):
            optimizer.step(partial(closure_of, optimizer, model, x, y))
        plain.step(partial(closure_of, plain, whole, inputs, targets))
    torch.testing.assert_close(model.weight, whole.weight)
    torch.testing.assert_close(model.bias, whole.bias)


def closure_of(optimizer, model, inputs, targets):
    optimizer.zero_grad()
    loss = (model(inputs) - targets).square().mean()
    loss.backward()
    return loss


# ------------------------------------------------------------------------------------------------------------------------ muon


def convolutional():
    torch.manual_seed(0)
    layers = nn.Conv2d(3, 8, 3), nn.Flatten(), nn.Linear(8, 16), nn.LayerNorm(16), nn.Linear(16, 4, bias=False), nn.Linear(4, 2)
    return nn.Sequential(*layers)


def split(model):
    matrices, rest = ([p for p in model.parameters() if (p.ndim > 1) is each] for each in (True, False))
    return [{"params": matrices}, {"params": rest, "weight_decay": 0.0}]


def polar(matrix):
    u, _, v = torch.linalg.svd(matrix, full_matrices=False)
    return u @ v


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_muon_moves_hidden_matrices_by_the_orthogonal_part_of_their_momentum(layout):
    model = nn.Sequential(nn.Conv2d(2, 3, 1), convolutional()).to(memory_format=layout)
    optimizer = muon(split(model), model, (torch.rand(2, 2, 3, 3), torch.zeros(2)), lr=0.1, momentum=0.9, weight_decay=0.5)
    hidden, buffers = [model[1][0].weight, model[1][2].weight, model[1][4].weight], [0.0] * 3
    for step in range(3):
        before = [p.detach().clone() for p in hidden]
        for p in model.parameters():
            p.grad = torch.randn(p.shape, generator=torch.Generator().manual_seed(step)).clone(memory_format=torch.preserve_format)
        optimizer.step()
        for i, (p, old) in enumerate(zip(hidden, before, strict=True)):
            matrix = p.grad.flatten(1)
            buffers[i] = 0.9 * buffers[i] + 0.1 * matrix
            scale = 0.1 * max(1.0, matrix.shape[0] / matrix.shape[1]) ** 0.5
            update = (old.flatten(1) * (1 - 0.1 * 0.5) - p.detach().flatten(1)) / scale
            target = polar(0.1 * matrix + 0.9 * buffers[i])
            inner = polar(update)
            torch.testing.assert_close(inner, target, rtol=0, atol=0.15)
            values = torch.linalg.svdvals(update)
            assert values.min() > 0.6 and values.max() < 1.3


def test_muon_leaves_the_head_the_vectors_and_the_embeddings_to_adamw():
    model = nn.ModuleDict({"words": nn.Embedding(5, 4), "body": convolutional(), "tokens": nn.ParameterList([torch.ones(1, 3, 2)])})
    head = nn.Linear(4, 2)
    model["head"] = head
    optimizer = muon(split(model), model, None, adamw_lr=0.1, weight_decay=0.5)
    body = model["body"]
    assert turned_by(optimizer) == {body[0].weight, body[2].weight, body[4].weight, body[5].weight}
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    for p in model.parameters():
        p.grad = torch.ones_like(p)
    optimizer.step()
    torch.testing.assert_close(head.weight.detach(), before["head.weight"] * (1 - 0.1 * 0.5) - 0.1)
    torch.testing.assert_close(head.bias.detach(), before["head.bias"] - 0.1)
    torch.testing.assert_close(model["words"].weight.detach(), before["words.weight"] * (1 - 0.1 * 0.5) - 0.1)
    torch.testing.assert_close(model["tokens"][0].detach(), before["tokens.0"] * (1 - 0.1 * 0.5) - 0.1)


def turned_by(optimizer):
    return {p for group in optimizer.param_groups if group["muon"] for p in group["params"]}


class HeadFirst(nn.Module):
    """Its layers are written in another order than they are used in, and one of its inner weights is no module's own."""

    def __init__(self, embedding=None):
        super().__init__()
        self.heads = nn.ModuleList(nn.Linear(4, outputs) for outputs in (2, 3))
        self.hidden, self.inner = nn.Linear(4, 4), nn.Parameter(torch.randn(4, 4))
        self.stems = nn.ModuleList(nn.Linear(6, 4) for _ in range(2)) if embedding is None else nn.ModuleList([embedding, nn.Identity()])
        self.norm, self.dropout = nn.BatchNorm1d(4), nn.Dropout()
        torch.nn.utils.parametrizations.weight_norm(self.hidden)

    def forward(self, inputs):
        seen = self.stems[0](inputs) + (self.stems[1](inputs) if inputs.is_floating_point() else 0)
        seen = self.dropout(self.norm(seen + nn.functional.linear(self.hidden(seen), self.inner.T).relu()))
        return {"class": self.heads[0](seen), "box": (self.heads[1](seen), 1.0)}


def test_muon_tells_the_head_and_the_first_layer_by_how_the_outputs_are_computed():
    model = HeadFirst()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    inputs = torch.randn(5, 6)
    assert turned_by(muon(parameter_groups(model), model, (inputs, torch.zeros(5)))) == {
        model.hidden.parametrizations.weight.original1,
        model.inner,
    }
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(module.training for module in model.modules()) and not inputs.requires_grad
    model.example_input_array = inputs
    assert turned_by(muon(parameter_groups(model), model, None)) == {model.hidden.parametrizations.weight.original1, model.inner}


def test_muon_knows_a_hidden_layer_behind_frozen_ones():
    model = HeadFirst()
    model.stems.requires_grad_(False)
    assert model.inner in turned_by(muon(parameter_groups(model), model, (torch.randn(5, 6), None)))
    assert not any(p.requires_grad for p in model.stems.parameters())


def test_muon_knows_words_and_weights_that_the_head_shares_with_them():
    model = HeadFirst(nn.Embedding(7, 4))
    model.heads[1] = nn.Linear(4, 7)
    model.heads[1].weight = model.stems[0].weight
    turned = turned_by(muon(parameter_groups(model), model, (torch.arange(5), None)))
    assert turned == {model.hidden.parametrizations.weight.original1, model.inner}


@pytest.mark.parametrize("batch", [(torch.rand(5, 1), None), None])
def test_muon_counts_a_single_column_as_the_first_layer_and_a_single_row_as_the_head(batch):
    model = nn.Sequential(nn.Linear(1, 4), nn.ReLU(), nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 1))
    assert turned_by(muon(parameter_groups(model), model, batch)) == {model[2].weight}


def test_muon_is_told_the_head():
    model = HeadFirst()
    batch = (torch.randn(5, 6), None)
    assert turned_by(muon(parameter_groups(model), model, batch, head="hidden")) == {model.inner, *(head.weight for head in model.heads)}
    with pytest.raises(ValueError, match=r"muon\.head=class: the model has no module of this name"):
        muon(parameter_groups(model), model, batch, head="class")


def test_muon_does_without_inputs_that_the_model_does_not_take():
    model = convolutional()
    assert turned_by(muon(split(model), model, (torch.rand(2, 7), None))) == {model[2].weight, model[4].weight}


# ------------------------------------------------------------------------------------------------------------------- in trainings


def blobs(count):
    generator = torch.Generator().manual_seed(0)
    targets = torch.arange(count) % 3
    return torch.randn(count, 4, generator=generator) + 2 * targets[:, None].float(), targets


def network(task) -> nn.Module:
    return nn.Sequential(nn.Linear(4, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 3))


class Own(L.LightningModule):
    """Somebody's module, optimized by Lightning."""

    def __init__(self):
        super().__init__()
        self.net = network(None)

    def training_step(self, batch, _):
        return cross_entropy(self.net(batch[0]), batch[1])

    def validation_step(self, batch, _):
        self.log("val_loss", cross_entropy(self.net(batch[0]), batch[1]))


class Data(L.LightningDataModule):
    batch_size = 16

    def train_dataloader(self):
        return DataLoader(list(zip(*blobs(64), strict=True)), self.batch_size, shuffle=True)

    def val_dataloader(self):
        return DataLoader(list(zip(*blobs(30), strict=True)), 30)


@pytest.fixture(scope="module")
def worlds():
    splits = dict(zip(("train", "validation", "test"), torch.arange(94).split([64, 15, 15]), strict=True))
    plain = make_task(Examples(*blobs(94), "classification", ("a", "b", "c"), splits), {"normalise": True})
    return {"network": World(plain, plain.example(), Store(".")), "Own": World(make_task(Data(), {}, scan=False), None, Store("."))}


def recipe(model, optimizer, epochs, **slots):
    chosen = {"loss": {"cross_entropy": {}} if model == "network" else {"keep": {}}, "schedule": {"constant": {}}, "device": {"cpu": {}}}
    chosen |= {"model": {model: {"from": f"{__name__}:{model}"}}, "optimizer": optimizer, **slots}
    tree = {slot: chosen.get(slot, {}) for slot in SLOTS}
    return Recipe({**tree, "batches": {"size": 16}, "study": {"epochs": epochs}})


@pytest.mark.parametrize("model", ["network", "Own"])
@pytest.mark.parametrize("name", [name for name in available("optimizer") if name != "keep"])
def test_every_optimizer_trains_under_penalties_clipping_and_a_schedule(worlds, name, model):
    slots = {"regularizer": {"l1": {"strength": 1e-4}, "gradient_clip": {"norm": 1.0}}, "schedule": {"cosine": {}}}
    if find("optimizer", name).acts.fills:
        slots["schedule"] = {}
    reports = []
    order = Train(key="0", recipe=recipe(model, {name: {}}, 6, **slots), seed=3, objective="val_loss")
    run(worlds[model], order.json(), lambda epoch, metrics: reports.append(metrics["val_loss"]) or False)
    assert reports[-1] < reports[0]


def sparse(task) -> nn.Module:
    return nn.Sequential(nn.Embedding(9, 8, sparse=True), nn.Flatten(), nn.Linear(24, 3))


@pytest.mark.parametrize("optimizer", ["adamw", "momentum", "gd"])
def test_embeddings_that_ask_for_sparse_gradients_are_trained_under_penalties_clipping_and_noise(optimizer):
    words = torch.arange(9).view(3, 3).repeat(30, 1)
    splits = dict(zip(("train", "validation", "test"), torch.arange(90).split([60, 15, 15]), strict=True))
    task = make_task(Examples(words, torch.arange(90) % 3, "classification", ("a", "b", "c"), splits), {"normalise": False})
    chosen = recipe(
        "sparse", {optimizer: {}}, 3, loss={"cross_entropy": {}}, regularizer={"l2": {}, "gradient_clip": {}, "gradient_noise": {}}
    )
    reports = []
    order = Train(key="0", recipe=chosen, seed=3, objective="val_loss")
    run(World(task, task.example(), Store(".")), order.json(), lambda epoch, metrics: reports.append(metrics["val_loss"]) or False)
    assert reports[-1] < reports[0]


@pytest.mark.parametrize("name", [name for name in available("optimizer") if name != "keep"])
def test_every_optimizer_trains_layers_that_a_callback_adds_later(name):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 2))
    inputs = torch.randn(16, 4)
    offered = {"params": [{"params": [*model[2:].parameters()]}], "model": model, "batch": (inputs, torch.zeros(16))}
    optimizer = build(find("optimizer", name), {**offered, "total_steps": 12, "steps_per_epoch": 2}, {})

    def closure():
        optimizer.zero_grad()
        loss = model(inputs).square().mean()
        loss.backward()
        return loss

    set_mode([optimizer], "train")
    for _ in range(4):
        optimizer.step(closure)
    before = [p.detach().clone() for p in model[0].parameters()]
    optimizer.add_param_group({"params": [*model[0].parameters()], "lr": 1e-3})
    for _ in range(4):
        optimizer.step(closure)
    optimizer.load_state_dict(optimizer.state_dict())
    for _ in range(4):
        optimizer.step(closure)
    assert all(not torch.equal(*pair) for pair in zip(before, model[0].parameters(), strict=True))


def test_asgd_evaluates_the_mean_of_the_later_weights_of_a_group_that_is_added():
    early, late = nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(2))
    optimizer, seen = asgd([{"params": [early]}], 6, lr=0.1, weight_decay=0.0, start=0.5), []
    for number in range(6):
        if number == 2:
            optimizer.add_param_group({"params": [late], "lr": 0.1})
        for p in (early, late):
            p.grad = p.detach().clone()
        optimizer.step()
        seen.append(late.detach().clone())
    optimizer.eval()
    torch.testing.assert_close(late.detach(), torch.stack(seen[3:]).mean(0))


class Still(Tiny):
    """Two batches of other examples an epoch; keeps its gradients as they come."""

    def __init__(self, make):
        super().__init__(nn.Sequential(nn.Flatten(), nn.Linear(64, 3, bias=False)))
        nn.init.constant_(self.model[1].weight, 0.1)
        self.make, self.raw = make, []

    def training_step(self, batch, number):
        return cross_entropy(self.model(batch[0][number::2] * 4), batch[1][number::2])

    def on_after_backward(self):
        self.raw.append(self.model[1].weight.grad.clone())

    def configure_optimizers(self):
        return self.make([{"params": [*self.parameters()]}])


def test_gd_takes_the_mean_of_gradients_that_are_penalised_and_clipped_batch_by_batch():
    module = Still(partial(gd, steps_per_epoch=2, lr=0.5, weight_decay=0.0))
    fit_toy(module, [l1(strength=0.1), gradient_clip(norm=0.5)], accelerator="cpu", devices=1)
    penalised = [g + 0.1 for g in module.raw]
    clipped = [g * min(1.0, 0.5 / float(g.norm())) for g in penalised]
    assert len(clipped) == 2 and all(g.norm() > 0.5 for g in penalised)
    torch.testing.assert_close(module.model[1].weight.detach(), 0.1 - 0.5 * sum(clipped) / 2)


def test_clipping_bounds_the_second_of_sams_gradients_and_leaves_the_firsts_direction():
    free, bound = (Still(lambda params: sam(params, nn.Identity(), lr=0.5, momentum=0.0, weight_decay=0.0, rho=0.2)) for _ in range(2))
    fit_toy(free, [], accelerator="cpu", devices=1)
    fit_toy(bound, [gradient_clip(norm=0.1)], accelerator="cpu", devices=1)
    assert len(free.raw) == len(bound.raw) == 4
    torch.testing.assert_close(bound.raw[1], free.raw[1])  # the same point near the first weights
    seconds = [bound.raw[1], bound.raw[3]]
    assert all(g.norm() > 0.1 for g in seconds)
    torch.testing.assert_close(bound.model[1].weight.detach(), 0.1 - sum(0.5 * 0.1 * g / g.norm() for g in seconds), rtol=1e-4, atol=1e-6)


class Logging(Still):
    def training_step(self, batch, number):
        loss = super().training_step(batch, number)
        self.seen = [*getattr(self, "seen", []), loss.item()]
        self.log_dict({"loss": loss, "step": loss}, on_epoch=True)
        return loss


def test_a_loss_that_is_logged_under_sam_is_that_of_the_first_pass():
    module = Logging(lambda params: sam(params, module, lr=0.5, rho=0.5))
    trainer = fit_toy(module, [], accelerator="cpu", devices=1)
    assert len(module.seen) == 4 and module.seen[0] != module.seen[1]
    assert float(trainer.callback_metrics["loss"]) == pytest.approx((module.seen[0] + module.seen[2]) / 2)
    assert "log" not in vars(module)


def test_the_step_runs_in_one_kernel():
    groups = [{"params": [nn.Parameter(torch.ones(2))]}]
    makers = (sgd, momentum, nesterov, adam, adamw, adagrad)
    assert all(make(groups).defaults["fused"] for make in makers)
    elsewhere = [{"params": [nn.Parameter(torch.ones(2, device="meta"))]}]  # as on a TPU there is none
    assert not any(make(elsewhere).defaults["fused"] for make in makers)


def test_complex_weights_are_trained_in_more_kernels():
    for make in (sgd, momentum, nesterov, adam, adamw, adagrad):
        weight = nn.Parameter(torch.ones(2, dtype=torch.complex64))
        optimizer = make([{"params": [weight]}], lr=0.1)
        weight.abs().sum().backward()
        optimizer.step()
        assert weight.detach().abs().max() < 1


@pytest.mark.parametrize(("make", "rule"), [(momentum, momentum_rule), (nesterov, nesterov_rule)])
def test_a_weight_whose_first_gradient_comes_later_begins_without_velocity(make, rule):
    """As one of a layer that a model skips at first; the fused kernel takes velocities of all weights or of none."""
    early, late = (nn.Parameter(START.clone()) for _ in range(2))
    optimizer = make([{"params": [early, late], "weight_decay": 0.0}], lr=0.1, momentum=0.8)
    seen = []
    for number, gradient in enumerate(GRADIENTS):
        early.grad = gradient.clone()
        late.grad = GRADIENTS[number - 2].clone() if number >= 2 else None
        optimizer.step()
        seen.append((early.detach().clone(), late.detach().clone()))
    expected = by_hand(rule, 0.0)
    torch.testing.assert_close(torch.stack([each for each, _ in seen]), expected, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(torch.stack([each for _, each in seen[2:]]), expected[:-2], rtol=1e-5, atol=1e-6)


class Waves(nn.Module):
    """Between two layers it multiplies by a complex matrix, as a Fourier layer does."""

    def __init__(self):
        super().__init__()
        self.first, self.waves, self.head = nn.Linear(6, 8), nn.ParameterList([torch.randn(8, 8, dtype=torch.cfloat)]), nn.Linear(8, 2)

    def forward(self, inputs):
        return self.head((self.first(inputs).cfloat() @ self.waves[0]).abs())


def test_muon_leaves_a_complex_matrix_to_adamw():
    model, inputs = Waves(), torch.randn(4, 6)
    optimizer, before = (
        muon(parameter_groups(model), model, (inputs, torch.zeros(4)), adamw_lr=0.1, weight_decay=0.0),
        model.waves[0].detach().clone(),
    )
    assert turned_by(optimizer) == set()
    model(inputs).sum().backward()
    optimizer.step()
    moved = model.waves[0].detach() - before
    torch.testing.assert_close(torch.view_as_real(moved).abs(), torch.full((8, 8, 2), 0.1))


def test_schedule_free_adamw_refuses_complex_weights():
    with pytest.raises(Unavailable, match="does not support complex weights"):
        schedule_free_adamw(parameter_groups(Waves()), 10)


def test_keep_gives_the_modules_own():
    own = torch.optim.SGD([nn.Parameter(torch.ones(1))])
    assert keep(own) is own


def test_muon_leaves_the_models_last_matrix_to_adamw_whatever_the_order_of_the_groups():
    """With a rate for each layer the groups of the last layers come first."""
    model = convolutional()
    for p in list(model.parameters())[:2]:
        p.lr_scale = 0.5
    assert turned_by(muon(parameter_groups(model), model, None)) == {model[2].weight, model[4].weight}


def test_prodigy_finds_one_rate_for_all_layers():
    model = convolutional()
    next(model.parameters()).lr_scale = 0.5
    with pytest.raises(Unavailable, match=r"one rate for all layers, but some layers need another \(layer_decay\)$"):
        prodigy(parameter_groups(model))


def test_prodigy_tells_the_rates_of_the_authors_groups_from_layer_decay():
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    own = torch.optim.SGD([{"params": model[0].parameters(), "lr": 0.1}, {"params": model[1].parameters()}], lr=1.0)
    with pytest.raises(Unavailable, match=r"the groups of the module's own optimizer have different rates\)$"):
        prodigy(parameter_groups(model, own))


class Accumulating(L.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = nn.Linear(2, 2)

    def training_step(self, batch, _):
        return nn.functional.cross_entropy(self.net(batch[0]), batch[1])

    def configure_optimizers(self):
        return sam(parameter_groups(self), self)


def test_sam_goes_neither_with_accumulation_by_lightning_nor_with_scaled_gradients():
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(torch.rand(8, 2), torch.arange(8) % 2), 2)
    quiet = {"max_epochs": 1, "logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "accelerator": "cpu"}
    L.Trainer(**quiet, enable_model_summary=False).fit(Accumulating(), loader)
    with pytest.raises(Unavailable, match="only the last of the accumulated batches"):
        L.Trainer(**quiet, enable_model_summary=False, accumulate_grad_batches=2).fit(Accumulating(), loader)
    with pytest.raises(Unavailable, match="with precision=16-mixed a step gets no closure"):
        L.Trainer(**quiet, enable_model_summary=False, plugins=MixedPrecision("16-mixed", "cpu")).fit(Accumulating(), loader)


def normed(task) -> nn.Module:
    return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3))


@pytest.mark.parametrize("optimizer", [{"schedule_free_sgd": {}}, {"asgd": {"start": 0.0, "lr": 0.5}}, {"gd": {"lr": 1.0}}], ids=str)
def test_batch_norms_have_the_statistics_of_the_weights_that_are_evaluated(tmp_path, optimizer):
    """Those of all training examples, since each of the four batches counts alike."""
    torch.manual_seed(0)
    inputs, targets = torch.randn(84, 4), torch.arange(84) % 3
    splits = dict(zip(("train", "validation", "test"), torch.arange(84).split([64, 10, 10]), strict=True))
    task = make_task(Examples(inputs, targets, "classification", ("a", "b", "c"), splits), {"normalise": False})
    slots = {
        "model": {"normed": {"from": f"{__name__}:normed"}},
        "loss": {"cross_entropy": {}},
        "device": {"cpu": {}},
        "optimizer": optimizer,
    }
    tree = {slot: slots.get(slot, {}) for slot in SLOTS} | {"batches": {"size": 16}, "study": {"epochs": 2}}
    store = Store(tmp_path)
    run(World(task, task.example(), store), Train(key="0", recipe=Recipe(tree), keep=True).json(), lambda *_: False)
    kept = load_file(store.weights("0"))
    seen = inputs[:64] @ kept["model.0.weight"].T + kept["model.0.bias"]
    torch.testing.assert_close(kept["model.1.running_mean"], seen.mean(0), rtol=1e-4, atol=1e-5)
