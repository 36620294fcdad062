"""Each schedule's rates at given steps, and how trainings follow them."""

import math
from functools import partial
from itertools import pairwise

import lightning.pytorch as L
import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy
from torch.optim import SGD
from torch.optim.lr_scheduler import OneCycleLR
from torch.utils.data import DataLoader

from autoopt.data.examples import Examples
from autoopt.data.make_task import make_task
from autoopt.orders import Train
from autoopt.plugins.optimizer.gd import gd
from autoopt.plugins.optimizer.sam import sam
from autoopt.plugins.regularizer.l1 import l1
from autoopt.plugins.schedule.constant import constant
from autoopt.plugins.schedule.cosine import cosine
from autoopt.plugins.schedule.cosine_restarts import cosine_restarts
from autoopt.plugins.schedule.exponential import exponential
from autoopt.plugins.schedule.gradient_adaptive import gradient_adaptive
from autoopt.plugins.schedule.inverse_sqrt import inverse_sqrt
from autoopt.plugins.schedule.keep import keep
from autoopt.plugins.schedule.linear import linear
from autoopt.plugins.schedule.one_cycle import one_cycle
from autoopt.plugins.schedule.plateau import plateau
from autoopt.plugins.schedule.polynomial import polynomial
from autoopt.plugins.schedule.step import step
from autoopt.plugins.schedule.warmup_stable_decay import warmup_stable_decay
from autoopt.recipe import Recipe
from autoopt.slots import SLOTS
from autoopt.store import Store
from autoopt.testing.toys import Tiny, fit_toy
from autoopt.trial.run import run
from autoopt.trial.world import World


def rates(make, steps, *arguments, **values):
    """The rate at each step, of a base rate of 2."""
    optimizer = SGD([torch.nn.Parameter(torch.ones(1))], lr=2.0)
    schedule, seen = make(optimizer, *arguments, **values), []
    for _ in range(steps):
        seen.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return seen


def test_constant_is_constant():
    assert rates(constant, 50) == [2.0] * 50


def test_step_drops_at_equal_intervals():
    seen = rates(step, 12, 8, factor=0.5, drops=3)
    assert seen == [2, 2, 1, 1, 0.5, 0.5, 0.25, 0.25, 0.25, 0.25, 0.25, 0.25]


def test_step_divides_by_ten_three_times_by_default():
    assert rates(step, 100, 100)[::25] == pytest.approx([2, 0.2, 0.02, 0.002])


def test_cosine_is_the_formula_after_a_linear_rise():
    seen = rates(cosine, 100, 100, warmup=0.1, final=0.05)
    assert seen[:10] == pytest.approx([2 * (t + 1) / 11 for t in range(10)])
    assert seen[10] == 2.0
    for t in (25, 55, 99):
        assert seen[t] == pytest.approx(2 * (0.05 + 0.95 * (1 + math.cos(math.pi * (t - 10) / 90)) / 2))


def test_cosine_without_a_rise_halves_at_half_time_and_ends_at_the_final_rate():
    seen = rates(cosine, 110, 100, warmup=0.0, final=0.1)
    assert seen[0] == 2.0 and seen[50] == pytest.approx(1.1)
    assert seen[100:] == pytest.approx([0.2] * 10)


@pytest.mark.parametrize("make", [cosine, cosine_restarts, linear, warmup_stable_decay])
@pytest.mark.parametrize("warmup", [0.0, 0.2, 1.0])
@pytest.mark.parametrize("total", [1, 2, 7, 1000])
def test_the_base_rate_is_reached_however_short(make, total, warmup):
    seen = rates(make, total + 3, total, warmup=warmup)
    assert max(seen[:total]) == 2.0 and min(seen) >= 0


@pytest.mark.parametrize("total", [1, 2, 3])
def test_step_starts_at_the_base_rate_however_short(total):
    seen = rates(step, total + 3, total, factor=0.1, drops=4)
    assert seen[0] == 2.0 and min(seen) >= 0.0002 * (1 - 1e-9)


def test_keep_gives_the_modules_own():
    own = torch.optim.lr_scheduler.StepLR(SGD([torch.nn.Parameter(torch.ones(1))]), 1)
    assert keep(own) is own and keep(None) is None


def test_exponential_loses_the_same_share_at_every_step_and_ends_at_the_final_rate():
    seen = rates(exponential, 103, 100, final=0.01)
    assert seen[0] == 2.0 and seen[50] == pytest.approx(0.2)
    assert seen[100:] == pytest.approx([0.02] * 3)
    assert [b / a for a, b in pairwise(seen[:101])] == pytest.approx([0.01**0.01] * 100)


def test_cosine_restarts_at_the_base_rate_in_cycles_that_grow():
    seen = rates(cosine_restarts, 83, 80, cycles=3, growth=2.0, warmup=0.125, final=0.1)
    assert seen[:10] == pytest.approx([2 * (t + 1) / 11 for t in range(10)])
    for start, length in ((10, 10), (20, 20), (40, 40)):
        expected = [2 * (0.1 + 0.9 * (1 + math.cos(math.pi * t / length)) / 2) for t in range(length)]
        assert seen[start : start + length] == pytest.approx(expected)
    assert seen[80:] == pytest.approx([0.2] * 3)


@pytest.mark.parametrize("total", [10, 100, 230])
def test_one_cycle_is_torchs_own(total):
    optimizer = SGD([nn.Parameter(torch.ones(1))])
    theirs = OneCycleLR(optimizer, 2.0, total_steps=total, cycle_momentum=False, div_factor=25, final_div_factor=1e4)
    expected = []
    for _ in range(total - 1):
        expected.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        theirs.step()
    assert rates(one_cycle, total - 1, total) == pytest.approx(expected, abs=1e-5)
    assert rates(one_cycle, total + 3, total)[total - 1 :] == pytest.approx([2 * 4e-6] * 4, rel=1e-3)


def test_linear_rises_and_falls_along_lines():
    seen = rates(linear, 103, 100, warmup=0.2, final=0.1)
    assert seen[:20] == pytest.approx([2 * (t + 1) / 21 for t in range(20)])
    assert seen[20:100] == pytest.approx([2 * (1 - 0.9 * (t - 20) / 80) for t in range(20, 100)])
    assert seen[100:] == pytest.approx([0.2] * 3)


@pytest.mark.parametrize("power", [0.5, 0.9, 2.0])
def test_polynomial_is_the_formula(power):
    seen = rates(polynomial, 103, 100, power=power)
    assert seen == pytest.approx([2 * (1 - t / 100) ** power for t in range(100)] + [0.0] * 3)


def test_inverse_sqrt_is_the_formula_of_the_transformer():
    seen = rates(inverse_sqrt, 1000, 1000, warmup=0.04)
    scale = 2 * 40**0.5
    assert seen == pytest.approx([scale * min(t**-0.5, t * 40**-1.5) for t in range(1, 1001)])
    assert seen[39] == pytest.approx(2.0) and seen[159] == pytest.approx(1.0)


def test_warmup_stable_decay_stays_between_its_ends():
    seen = rates(warmup_stable_decay, 103, 100, warmup=0.1, decay=0.25)
    assert seen[:10] == pytest.approx([2 * (t + 1) / 11 for t in range(10)])
    assert seen[10:76] == [2.0] * 66
    assert seen[75:100] == pytest.approx([2 * (1 - math.sqrt(t / 25)) for t in range(25)])
    assert seen[100:] == [0.0] * 3


# ------------------------------------------------------------------------------------------------- the gradient sets the rate


GRADIENTS = [torch.tensor([3.0, 0.0]), torch.tensor([0.0, 0.1]), torch.tensor([1.0, -2.0])]


def test_gradient_adaptive_uses_the_gradient_of_all_parameters_at_the_step_that_it_sets():
    one, other = (nn.Parameter(torch.zeros(2)) for _ in range(2))
    optimizer = SGD([{"params": [one]}, {"params": [other], "lr": 0.5}], lr=0.1)
    schedule, expected = gradient_adaptive(optimizer, beta=0.3), torch.zeros(2)
    for gradient in GRADIENTS:
        one.grad, other.grad = gradient.clone(), 2 * gradient
        optimizer.step()
        schedule.step()
        share = 1 / (1 + 0.3 * 5 * float(gradient.square().sum()))
        assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([0.1 * share, 0.5 * share])
        expected = expected - gradient * share
    torch.testing.assert_close(one.detach(), 0.1 * expected)
    torch.testing.assert_close(other.detach(), 2 * 0.5 * expected)


def quadratic(optimizer, p, target):
    """A closure for `|p - target|² / 2`, whose gradient is `p - target`."""

    def closure():
        optimizer.zero_grad()
        loss = (p - target).square().sum() / 2
        loss.backward()
        return loss

    return closure


def shrunk(rate, gradient, beta=0.3):
    return rate / (1 + beta * float(gradient.square().sum()))


def test_gradient_adaptive_uses_the_gradient_that_the_closure_computes():
    p = nn.Parameter(torch.zeros(2))
    optimizer, now = SGD([p], lr=0.1), torch.zeros(2)
    schedule = gradient_adaptive(optimizer, beta=0.3)
    for target in GRADIENTS:
        loss = optimizer.step(quadratic(optimizer, p, target))
        schedule.step()
        assert loss.item() == pytest.approx(float((now - target).square().sum() / 2))
        now = now - shrunk(0.1, now - target) * (now - target)
    torch.testing.assert_close(p.detach(), now)


def test_gradient_adaptive_uses_the_second_of_two_gradients():
    p = nn.Parameter(torch.zeros(2))
    optimizer = sam([{"params": [p]}], nn.Identity(), lr=0.1, momentum=0.0, weight_decay=0.0, rho=0.5)
    gradient_adaptive(optimizer, beta=0.3)
    optimizer.step(quadratic(optimizer, p, torch.tensor([3.0, 4.0])))
    second = torch.tensor([-3.0, -4.0]) * 5.5 / 5
    torch.testing.assert_close(p.detach(), -shrunk(0.1, second) * second)


@pytest.mark.parametrize("plain_first", [False, True])
def test_gradient_adaptive_uses_the_mean_gradient_of_full_batch_descent(plain_first):
    if plain_first:  # torch wraps the step of a class when it is first made: then of all its subclasses at once
        SGD([nn.Parameter(torch.zeros(2))])
    p = nn.Parameter(torch.zeros(2))
    optimizer = gd([{"params": [p]}], 3, lr=0.1, weight_decay=0.0)
    schedule = gradient_adaptive(optimizer, beta=0.3)
    for target in GRADIENTS:
        optimizer.step(quadratic(optimizer, p, target))
        schedule.step()
    mean = -sum(GRADIENTS) / 3
    torch.testing.assert_close(p.detach(), -shrunk(0.1, mean) * mean)
    assert optimizer.param_groups[0]["lr"] == pytest.approx(shrunk(0.1, mean))


def test_gradient_adaptive_sees_penalties_and_reads_a_scaled_gradient_as_it_is():
    module = Scheduled(partial(gradient_adaptive, beta=0.3))
    fit_toy(module, [l1(strength=0.1)], accelerator="cpu", devices=1)
    first = module.raw[0] + 0.1
    second = module.raw[1] + 0.1 * module.seen[1].sign()
    now = 0.1 - shrunk(0.5, first) * first
    torch.testing.assert_close(module.seen[1], now)
    torch.testing.assert_close(module.model[1].weight.detach(), now - shrunk(0.5, second) * second)

    p = nn.Parameter(torch.zeros(2))
    optimizer = SGD([p], lr=0.1)
    schedule = gradient_adaptive(optimizer, beta=0.3)
    optimizer.grad_scale, p.grad = torch.tensor(8.0), 8 * GRADIENTS[0]
    schedule.adapt()
    assert optimizer.param_groups[0]["lr"] == pytest.approx(shrunk(0.1, GRADIENTS[0]))


class Scheduled(Tiny):
    """Optimized by Lightning; keeps the gradients as they come, and the weights at which they were taken."""

    def __init__(self, schedule):
        super().__init__(nn.Sequential(nn.Flatten(), nn.Linear(64, 3, bias=False)))
        nn.init.constant_(self.model[1].weight, 0.1)
        self.schedule, self.raw, self.seen = schedule, [], []

    def on_after_backward(self):
        self.raw.append(self.model[1].weight.grad.clone())
        self.seen.append(self.model[1].weight.detach().clone())

    def configure_optimizers(self):
        optimizer = SGD(self.parameters(), lr=0.5)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": self.schedule(optimizer), "interval": "step"}}


# ------------------------------------------------------------------------------------------------------ the objective sets it


@pytest.mark.parametrize(("direction", "sign"), [("minimize", 1), ("maximize", -1)])
def test_plateau_falls_where_the_objective_stays_longer_than_its_patience(direction, sign):
    optimizer = SGD([nn.Parameter(torch.ones(1))], lr=2.0)
    schedule, seen = plateau(optimizer, 200, 10, direction, factor=0.5, patience=0.1), []  # two of twenty epochs
    for metric in [1.0, 0.5, 0.6, 0.6, 0.6, 0.4, 0.41, 0.41, 0.41, 0.3]:
        schedule.step(sign * metric)
        seen.append(optimizer.param_groups[0]["lr"])
    assert seen == [2, 2, 2, 2, 1, 1, 1, 1, 0.5, 0.5]


class Own(L.LightningModule):
    """Somebody's module that logs what is scripted, and hardly moves."""

    def __init__(self):
        super().__init__()
        self.net = nn.Linear(4, 3)

    def training_step(self, batch, _):
        return cross_entropy(self.net(batch[0]), batch[1])

    def validation_step(self, batch, _):
        self.log("score", SCORES[self.current_epoch])


SCORES = [0.1, 0.2, 0.3, 0.2, 0.2, 0.2]


class Data(L.LightningDataModule):
    def train_dataloader(self):
        return DataLoader(list(zip(*examples(), strict=True)), 15)

    def val_dataloader(self):
        return self.train_dataloader()


def examples():
    return torch.randn(30, 4, generator=torch.Generator().manual_seed(0)), torch.arange(30) % 3


def linear_network(task) -> nn.Module:
    return nn.Linear(4, 3)


def learning_rates(world, model, loss, objective, direction):
    """The rate that each of six epochs ended with, as a trial reports it."""
    chosen = {"model": {model: {"from": f"{__name__}:{model}"}}, "loss": {loss: {}}, "device": {"cpu": {}}}
    chosen |= {"optimizer": {"sgd": {"lr": 1e-6}}, "schedule": {"plateau": {"factor": 0.1, "patience": 0.2}}}
    tree = {**{slot: chosen.get(slot, {}) for slot in SLOTS}, "batches": {"size": 15}, "study": {"epochs": 6}}
    seen = []
    order = Train(key="0", recipe=Recipe(tree), seed=1, objective=objective, direction=direction)
    run(world, order.json(), lambda epoch, metrics: seen.append(metrics) or False)
    return [round(metrics["lr"] / 1e-6, 6) for metrics in seen], seen


@pytest.mark.parametrize(("direction", "expected"), [("maximize", [1, 1, 1, 1, 1, 0.1]), ("minimize", [1, 1, 1, 0.1, 0.1, 0.01])])
def test_plateau_knows_which_way_a_modules_objective_is_better(direction, expected):
    found, _ = learning_rates(World(make_task(Data(), {}, scan=False), None, Store(".")), "Own", "keep", "score", direction)
    assert found == expected


@pytest.mark.parametrize(("direction", "start"), [("maximize", -5.0), ("minimize", -3.0), ("maximize", 5.0), ("minimize", 3.0)])
@pytest.mark.parametrize("worsening", [0.0, 0.0001])
def test_plateau_takes_values_of_either_sign(direction, start, worsening):
    optimizer, rates = SGD([nn.Parameter(torch.zeros(1))], lr=1.0), []
    schedule = plateau(optimizer, 120, 10, direction, patience=0.1)
    for epoch in range(5):
        schedule.step(start + epoch * worsening * (1 if direction == "minimize" else -1))
        rates.append(optimizer.param_groups[0]["lr"])
    assert rates == pytest.approx([1, 1, 0.1, 0.1, 0.01])


def test_plateau_follows_the_validation_loss_where_the_objective_is_a_cost(monkeypatch):
    splits = dict(zip(("train", "validation", "test"), torch.arange(30).split([15, 10, 5]), strict=True))
    task = make_task(Examples(*examples(), "classification", ("a", "b", "c"), splits), {"normalise": True})
    found, seen = learning_rates(World(task, task.example(), Store(".")), "linear_network", "cross_entropy", "latency_ms", None)
    losses = [metrics["val_loss"] for metrics in seen]
    assert max(losses) - min(losses) < 1e-4 * min(losses)  # within what counts as no better
    assert found == [1, 1, 1, 0.1, 0.1, 0.01]
