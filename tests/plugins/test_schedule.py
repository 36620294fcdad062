import math

import pytest
import torch
from torch.optim import SGD

from autoopt.plugins.schedule.constant import constant
from autoopt.plugins.schedule.cosine import cosine
from autoopt.plugins.schedule.keep import keep
from autoopt.plugins.schedule.step import step


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


@pytest.mark.parametrize("warmup", [0.0, 0.2, 1.0])
@pytest.mark.parametrize("total", [1, 2, 7, 1000])
def test_cosine_reaches_the_base_rate_however_short(total, warmup):
    seen = rates(cosine, total + 3, total, warmup=warmup)
    assert max(seen[:total]) == 2.0 and min(seen) >= 0


@pytest.mark.parametrize("total", [1, 2, 3])
def test_step_starts_at_the_base_rate_however_short(total):
    seen = rates(step, total + 3, total, factor=0.1, drops=4)
    assert seen[0] == 2.0 and min(seen) >= 0.0002 * (1 - 1e-9)


def test_keep_gives_the_modules_own():
    own = torch.optim.lr_scheduler.StepLR(SGD([torch.nn.Parameter(torch.ones(1))]), 1)
    assert keep(own) is own and keep(None) is None
