"""What a schedule must do: give finite rates up to the base rate, however many steps there are, and know what is better."""

import torch
from torch import Tensor
from torch.optim.lr_scheduler import ReduceLROnPlateau

from autoopt.domain import Unavailable
from autoopt.technique import Technique
from autoopt.testing.worlds import schedule_worlds, situations


def gives_finite_rates_up_to_the_base_rate(technique: Technique) -> None:
    for total in (1, 2, 1000):
        shares = scheduled_rates(technique, total)
        assert torch.isfinite(shares).all(), f"of {total} steps, some have a rate that is not finite"
        assert shares.min() >= 0, f"of {total} steps, one has {shares.min():g} times the base rate"
        peak = shares[:total].max().item()
        assert 0 < peak < 1 + 1e-6, f"of {total} steps, the highest has {peak:g} times the base rate"
    assert peak > 0.99, f"of {total} steps, the highest has only {peak:g} times the base rate"


def keeps_its_rate_while_the_metric_gets_better(technique: Technique) -> None:
    for direction, sign in (("maximize", 1.0), ("minimize", -1.0)):
        world = next(schedule_worlds(direction=direction))
        ((_, schedule),) = situations(technique, worlds=[world])
        if not isinstance(schedule, ReduceLROnPlateau):
            raise Unavailable("it follows no metric")
        before = [group["lr"] for group in world["optimizer"].param_groups]
        for epoch in range(100):
            schedule.step(sign * 1.1**epoch)
        after = [group["lr"] for group in world["optimizer"].param_groups]
        assert after == before, f"direction={direction}: the metric got better and the rate fell, from {before[0]:g} to {after[0]:g}"


def scheduled_rates(technique: Technique, total: int) -> Tensor:
    """The rate at each step, and at a few beyond the end, as a share of the base rate: (steps, groups)."""
    world = next(schedule_worlds(total))
    optimizer, base, seen = world["optimizer"], [group["lr"] for group in world["optimizer"].param_groups], []
    ((_, schedule),) = situations(technique, worlds=[world])
    for _ in range(total + 3):
        seen.append([group["lr"] for group in optimizer.param_groups])
        optimizer.step()
        if isinstance(schedule, ReduceLROnPlateau):
            schedule.step(1.0)
        elif schedule is not None:
            schedule.step()
    return torch.tensor(seen, dtype=torch.float64) / torch.tensor(base, dtype=torch.float64)


CHECKS = (gives_finite_rates_up_to_the_base_rate, keeps_its_rate_while_the_metric_gets_better)
