"""Batches whose gradients make one optimizer step."""

import lightning.pytorch as L
import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from torch.nn.functional import cross_entropy
from torch.optim import SGD
from torch.optim.lr_scheduler import LRScheduler

from autoopt.data.examples import Examples
from autoopt.data.make_task import make_task
from autoopt.data.task import Task
from autoopt.orders import Train
from autoopt.recipe import Recipe
from autoopt.slots import SLOTS
from autoopt.store import Store
from autoopt.trial.run import run
from autoopt.trial.world import World

COUNT, EPOCHS = 44, 3
SEEN: dict[str, int] = {}


def here(name: str) -> dict:
    return {name: {"from": f"{__name__}:{name}"}}


def network(task: Task) -> nn.Module:
    return nn.Linear(4, task.outputs)


class Lit(L.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.model = nn.Linear(4, 3)

    def training_step(self, batch, _):
        return cross_entropy(self.model(batch[0]), batch[1])

    def validation_step(self, batch, _):
        self.log("val_loss", cross_entropy(self.model(batch[0]), batch[1]))


def counting(optimizer, total_steps: int) -> LRScheduler:
    SEEN["total"] = total_steps
    return torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.1, total_steps)


class ByBatch(L.Callback):
    def on_train_batch_end(self, trainer, *_) -> None:
        SEEN["batches"] = SEEN.get("batches", 0) + 1


def by_batch(model) -> L.Callback:
    return ByBatch()


class TwoClosures(SGD):
    def step(self, closure=None):
        closure()
        return super().step(closure)


def two_closures(params) -> SGD:
    return TwoClosures(params, lr=0.1)


@pytest.fixture
def world(tmp_path) -> World:
    inputs = torch.randn(COUNT + 20, 4, generator=torch.Generator().manual_seed(0))
    splits = dict(zip(("train", "validation", "test"), torch.arange(COUNT + 20).split([COUNT, 10, 10]), strict=True))
    task = make_task(Examples(inputs, torch.arange(COUNT + 20) % 3, "classification", splits=splits), {"normalise": True})
    return World(task, task.example(), Store(tmp_path))


@pytest.fixture
def weights(world):
    def train(size: int, accumulate: int, model: str = "network", scale_lr: str = "none", **slots):
        SEEN.clear()
        chosen = {"loss": {"cross_entropy": {}}, "optimizer": {"sgd": {}}, "schedule": here("counting"), "device": {"cpu": {}}} | slots
        tree = {slot: chosen.get(slot, {}) for slot in SLOTS} | {"model": here(model)}
        recipe = Recipe({**tree, "batches": {"size": size, "scale_lr": scale_lr, "accumulate": accumulate}, "study": {"epochs": EPOCHS}})
        run(world, Train(key="0", recipe=recipe, seed=3, objective="val_loss", keep=True).json(), lambda *_: False)
        return load_file(world.store.weights("0"))

    return train


def close(ours: dict, theirs: dict) -> bool:
    return all(torch.allclose(ours[name], theirs[name], rtol=1e-5, atol=1e-6) for name in theirs)


@pytest.mark.parametrize(
    "slots", [{}, {"optimizer": {"two_closures": {"from": f"{__name__}:two_closures"}}}], ids=["plain", "two closures"]
)
def test_a_step_is_that_of_the_whole_batch_though_the_last_is_smaller(weights, slots):
    theirs = weights(16, 1, **slots)
    assert SEEN["total"] == 3 * EPOCHS
    ours = weights(4, 4, **slots)
    assert SEEN["total"] == 3 * EPOCHS and close(ours, theirs)
    assert not close(weights(4, 1, **slots), theirs) and SEEN["total"] == 11 * EPOCHS


def test_a_callback_by_batch_sees_a_step_at_a_time(weights):
    theirs = weights(8, 2)
    ours = weights(8, 2, regularizer=here("by_batch"))
    assert SEEN == {"total": 3 * EPOCHS, "batches": 3 * EPOCHS} and close(ours, theirs)


def test_a_module_of_the_users_accumulates_by_its_trainer(weights):
    theirs = weights(22, 1, "Lit", loss={})
    assert SEEN["total"] == 2 * EPOCHS
    ours = weights(11, 2, "Lit", loss={})
    assert SEEN["total"] == 2 * EPOCHS and close(ours, theirs)


@pytest.mark.parametrize("model", ["network", "Lit"])
@pytest.mark.parametrize(("size", "accumulate", "scale_lr", "lr"), [(16, 1, "linear", 0.1), (8, 2, "sqrt", 0.2), (32, 2, "linear", 0.4)])
def test_a_rate_is_that_of_64_examples_a_step(weights, model, size, accumulate, scale_lr, lr):
    slots = {"loss": {}} if model == "Lit" else {}
    ours = weights(size, accumulate, model, scale_lr, optimizer={"sgd": {"lr": 0.4}}, **slots)
    assert close(ours, weights(size, accumulate, model, optimizer={"sgd": {"lr": lr}}, **slots))
    assert lr == 0.4 or not close(ours, weights(size, accumulate, model, optimizer={"sgd": {"lr": 0.4}}, **slots))
