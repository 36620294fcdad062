"""Rates that an author's hooks set by hand: `keep` keeps them, and a recipe that replaces what is kept replaces them too."""

from types import new_class

import lightning.pytorch as L
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from autoopt.module.build import apply_to
from autoopt.module.chosen import Chosen
from autoopt.recipe import Recipe
from autoopt.slots import SLOTS
from autoopt.technique import available

HOOKS = ("on_train_epoch_start", "on_train_batch_start", "optimizer_step", "training_step", "on_after_backward", "on_before_optimizer_step")
STEPS = 4


class Summed(L.LightningModule):
    """Its gradient is 1, so that without decay the weight tells the sum of the rates."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1, 1))

    def training_step(self, *_):
        return self.weight.sum()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.5)


class Gated(Summed):
    def lr_scheduler_step(self, *_):
        """Made for another schedule, which is not stepped yet."""


class Unfreezing(Summed):
    """Trains another weight from the second epoch on, at a rate of its own."""

    def __init__(self):
        super().__init__()
        self.late = nn.Parameter(torch.zeros(1))

    def training_step(self, *_):
        return self.weight.sum() + self.late.sum()

    def on_train_epoch_start(self):
        if self.current_epoch == 1:
            self.trainer.optimizers[0].add_param_group({"params": [self.late], "lr": 2.0})

    def configure_optimizers(self):
        return torch.optim.SGD([self.weight], lr=0.5)


class Wrapper(torch.optim.SGD):
    """Its groups cannot be replaced."""

    @property
    def param_groups(self):
        return self.__dict__["groups"]

    @param_groups.setter
    def param_groups(self, groups):
        if "groups" in self.__dict__:
            raise AttributeError("no setter")
        self.__dict__["groups"] = groups


def with_own(make) -> L.LightningModule:
    """A module with another optimizer of its own."""
    return new_class("Own", (Summed,), exec_body=lambda body: body.update(configure_optimizers=lambda self: make(self.parameters())))()


def setting(hook: str, **values: float) -> Summed:
    """A module, one of whose hooks sets values of the groups by hand."""

    def by_hand(self, *args):
        for group in self.trainer.optimizers[0].param_groups:
            group.update(values)
        return getattr(Summed, hook)(self, *args)

    return new_class(hook, (Summed,), exec_body=lambda body: body.update({hook: by_hand}))()


def rates_of(module: L.LightningModule, optimizer: dict, schedule: dict) -> float:
    """The sum of the rates of all steps."""
    slots = {slot: {} for slot in SLOTS} | {"optimizer": optimizer, "schedule": schedule}
    recipe = Recipe({**slots, "batches": {"size": None}, "study": {"epochs": 2}})
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "enable_model_summary": False}
    loader = DataLoader(TensorDataset(torch.zeros(STEPS // 2, 1)))
    L.Trainer(max_epochs=2, accelerator="cpu", **quiet).fit(apply_to(module, Chosen(recipe), None), loader)
    return -module.weight.item()


SGD = {"sgd": {"lr": 0.25, "weight_decay": 0.0}}
HALVED = {"step": {"factor": 0.5, "drops": 1}}  # after half of the steps


@pytest.mark.parametrize("hook", HOOKS)
def test_a_recipes_rates_and_decays_hold_whatever_the_author_sets_by_hand(hook):
    assert rates_of(setting(hook, lr=2.0, weight_decay=1.0), SGD, HALVED) == 0.25 * 3
    assert rates_of(setting(hook, lr=2.0), {"keep": {}}, HALVED) == 0.5 * 3
    assert rates_of(setting(hook, lr=2.0, weight_decay=1.0), {"schedule_free_sgd": {"lr": 0.25}}, {}) < 1.5, "it has no schedule"


@pytest.mark.parametrize("hook", ["on_train_batch_start", "training_step", "on_before_optimizer_step"])
@pytest.mark.parametrize("optimizer", sorted({*available("optimizer")} - {"keep"}))
def test_the_rates_of_every_optimizer_hold(optimizer, hook):
    told = rates_of(Summed(), {optimizer: {}}, HALVED)
    assert rates_of(setting(hook, lr=2.0), {optimizer: {}}, HALVED) == pytest.approx(told, rel=1e-6)


def test_optimizers_of_an_author_that_read_their_rate_early_or_lock_their_groups():
    quasi = with_own(lambda params: torch.optim.LBFGS(params, lr=0.5, max_iter=1))
    type(quasi).on_train_batch_start = lambda self, *_: self.trainer.optimizers[0].param_groups[0].update(lr=2.0)
    assert rates_of(quasi, {"keep": {}}, {"constant": {}}) == 0.5 * STEPS
    assert rates_of(with_own(lambda params: Wrapper(params, lr=0.5)), {"keep": {}}, HALVED) == 0.5 * 3


@pytest.mark.parametrize("hook", HOOKS)
def test_rates_that_the_author_sets_by_hand_are_kept_and_scaled(hook):
    assert rates_of(setting(hook, lr=2.0), {"keep": {}}, {"keep": {}}) == 2.0 * STEPS
    assert rates_of(setting(hook, lr=2.0), {"keep": {"lr_scale": 0.5}}, {"keep": {}}) == 1.0 * STEPS


def test_a_recipes_schedule_is_stepped_though_the_author_steps_their_own_otherwise():
    assert rates_of(Gated(), SGD, HALVED) == 0.25 * 3


@pytest.mark.parametrize("optimizer", [SGD, {"keep": {}}])
def test_groups_that_are_added_later_keep_their_own_rate(optimizer):
    module = Unfreezing()
    assert rates_of(module, optimizer, HALVED) == (0.5 if "keep" in optimizer else 0.25) * 3
    assert -module.late.item() == 2.0 * STEPS / 2
    rates_of(again := Unfreezing(), optimizer, {"gradient_adaptive": {}})
    assert -again.late.item() == 2.0 * STEPS / 2
