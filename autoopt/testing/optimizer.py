"""What an optimizer must do: descend at the rate of its groups, with a closure or resumed; leave parameters without a gradient alone."""

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from autoopt.domain import Unavailable
from autoopt.technique import Technique
from autoopt.testing.worlds import STEPS, differing_tensors, situations


def descends_a_bowl(technique: Technique) -> None:
    for world, optimizer in situations(technique):
        before = world["model"]().item()
        take_step(optimizer, world["model"], STEPS)
        getattr(optimizer, "eval", lambda: None)()
        after = world["model"]().item()
        assert after < before, f"{STEPS} steps down a bowl went from {before:g} to {after:g}"


def resumes_bit_for_bit(technique: Technique) -> None:
    (world, optimizer), (other, resumed) = (situations(technique)[0] for _ in range(2))
    take_step(optimizer, world["model"], 3)
    other["model"].load_state_dict(copy.deepcopy(world["model"].state_dict()))
    resumed.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    for model, current in ((world["model"], optimizer), (other["model"], resumed)):
        torch.manual_seed(1)
        take_step(current, model, 3)
    same = all(torch.equal(a, b) for a, b in zip(world["model"].parameters(), other["model"].parameters(), strict=True))
    assert same, "three steps from its state_dict differ from three steps without a break"


def leaves_parameters_without_gradient_alone(technique: Technique) -> None:
    for world, optimizer in situations(technique):
        before = world["model"].idle.clone()
        take_step(optimizer, world["model"], 3)
        assert torch.equal(world["model"].idle, before), "it changed a parameter that has no gradient"


def steps_at_the_rate_of_its_groups(technique: Technique) -> None:
    if technique.acts.fills == "schedule":
        raise Unavailable("it takes no schedule")
    for world, optimizer in situations(technique):
        take_step(optimizer, world["model"], world["steps_per_epoch"])  # full batches take the rate that an epoch begins with
        optimizer.load_state_dict(copy.deepcopy(optimizer.state_dict()))
        for group in optimizer.param_groups:
            group["lr"] = 0.0
        before = {name: p.detach().clone() for name, p in world["model"].named_parameters()}
        take_step(optimizer, world["model"], world["steps_per_epoch"])
        moved = differing_tensors(before, dict(world["model"].named_parameters()))
        assert not moved, f"with a rate of 0 in its param_groups it moved {moved}: it would follow no schedule"


def steps_with_a_closure(technique: Technique) -> None:
    for world, optimizer in situations(technique):
        calls: list[None] = []
        before = world["model"].weight.clone()
        returned = take_step(optimizer, world["model"], 1, calls.append)
        assert calls, "step(closure) did not call the closure"
        assert (len(calls) > 1) == technique.acts.closure, (
            f"step(closure) called it {len(calls)} times; Acts(closure=True) says more than once"
        )
        assert returned is not None, "step(closure) did not return the loss"
        take_step(optimizer, world["model"], world["steps_per_epoch"])
        assert not torch.equal(world["model"].weight, before), "step(closure) changed no parameter"


def take_step(optimizer: Optimizer, model: nn.Module, count: int, seen: Callable[[None], None] = lambda _: None) -> Any:
    def closure() -> Tensor:
        seen(None)
        optimizer.zero_grad()
        with torch.enable_grad():
            loss: Tensor = model()
            loss.backward()
        return loss

    getattr(optimizer, "train", lambda: None)()
    return [optimizer.step(closure) for _ in range(count)][-1]  # type: ignore[arg-type]


CHECKS = (
    descends_a_bowl,
    resumes_bit_for_bit,
    leaves_parameters_without_gradient_alone,
    steps_at_the_rate_of_its_groups,
    steps_with_a_closure,
)
