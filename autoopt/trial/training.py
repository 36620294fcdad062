"""A recipe's module with its data and its Trainer, and the fit."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import lightning.pytorch as L
import torch
from torch import Tensor
from torch.distributed.tensor import DTensor

from autoopt.data.feed import Feed
from autoopt.data.loaders import OwnLoaders, seed_all
from autoopt.module.applied import applied_to
from autoopt.module.build import make_module
from autoopt.module.net import Net
from autoopt.module.tuned import Tuned, weight_decays
from autoopt.orders import Order, TryOut
from autoopt.trial import Report
from autoopt.trial.fitting import device_arguments, fit, make_trainer
from autoopt.trial.measuring import check_finite
from autoopt.trial.ranks import ALONE, Share, leave, replica
from autoopt.trial.reporter import Reporter
from autoopt.trial.world import World

BATCHES = 2
"""The number of batches of each part in a try-out."""


@dataclass(frozen=True)
class Training:
    """The objects with which an order is carried out on one fold of the data.

    Args:
        fold: its number, from 1.
        share: the rank of this process and the number of ranks, if several processes train together.
        limit: the number of batches of each part, in a try-out.
        folder: of the trial, with its log.
        optimizers: the number of optimizers that trained the module.
        decays: one of them decays weights.
        validated: the module still has the weights that the training validated last.
        notes: what was noted on the module during the training.
    """

    world: World
    order: Order
    fold: int
    share: Share
    limit: int | None
    module: Tuned
    reporter: Reporter
    trainer: L.Trainer
    folder: Path
    optimizers: int = 1
    decays: bool = True
    validated: bool = False
    notes: tuple[str, ...] = ()

    @property
    def feed(self) -> Feed:
        return self.reporter.feed


def set_up(world: World, order: Order, report: Report, fold: int = 1, share: Share = ALONE) -> Training:
    """Build all that an order needs, under its seed."""
    seed_all(order.seed)
    limit = BATCHES if isinstance(order, TryOut) else None
    module = new_module(world, order)
    device = device_arguments(module, order.recipe, share)
    part = replica(device.get("strategy"), share)
    reporter = Reporter(report, order.objective, world.task)
    batches = {**order.recipe.tree["batches"], "accumulate": order.recipe.accumulate}
    feed = reporter.feed = Feed(world.task, batches, order.seed, isinstance(module, Net), limit, part)
    if isinstance(feed.datamodule, OwnLoaders) and feed.datamodule.each_its_own:
        feed.datamodule.train_dataloader = module.train_dataloader  # type: ignore[method-assign]
    folder = world.store.weights(order.key).parent
    if share == ALONE and not world.store.checkpoints(order.key):
        world.store.clear(order.key)
    trainer = make_trainer(order.recipe, module, reporter, feed, limit, device, folder)
    feed.to(trainer.strategy.root_device)
    if part[0]:
        seed_all(order.seed + part[0])  # each replica of the model draws its own dropout, augmentation and mixing
    return Training(world, order, fold, share, limit, module, reporter, trainer, folder)


def new_module(world: World, order: Order) -> Tuned:
    """The recipe's module, untrained."""
    followed = order.objective if order.direction else None  # no plateau or early stop follows a cost
    module = make_module(order.recipe, world.task, world.example, followed)
    applied_to(module).direction = order.direction or "minimize"
    if isinstance(module, Net):
        module.metrics = world.metrics
    return module


def fitted(training: Training) -> Training | None:
    """Train the module; of several ranks, the first one goes on alone with the whole module, and the others get nothing."""
    trainer, module = training.trainer, training.module
    fit(trainer, module, training.feed)
    optimizers, validated = len(trainer.optimizers), training.reporter.validated_as(module)
    notes = tuple(applied_to(module).notes)
    training = replace(training, optimizers=optimizers, decays=any(weight_decays(trainer)), validated=validated, notes=notes)
    if training.share != ALONE:
        weights = trainer.strategy.lightning_module_state_dict()  # gathers sharded weights
        training.feed.share = leave()
        if training.share[0]:
            return None
        training = left_alone(training, weights)
    check_finite(training.module, training.feed)
    return training


def left_alone(training: Training, weights: dict[str, Any]) -> Training:
    """The training of rank 0 after the other ranks have ended: the whole module, and a Trainer of one process."""
    module = training.module
    if any(isinstance(parameter, DTensor) for parameter in module.parameters()):
        module = new_module(training.world, training.order)
        module.load_state_dict(weights, strict=module.strict_loading)
    alone = replace(with_module(training, module, training.trainer.callbacks), share=ALONE)  # type: ignore[attr-defined]
    alone.module.to(alone.trainer.strategy.root_device)
    return alone


def with_module(training: Training, module: Tuned, callbacks: list[L.Callback] | None = None) -> Training:
    """The training with another module of its recipe, and a Trainer of one process for it.

    Args:
        callbacks: those of the earlier Trainer; by default, those of the recipe are built.
    """
    recipe = training.order.recipe
    device = device_arguments(module, recipe)
    trainer = make_trainer(recipe, module, training.reporter, training.feed, training.limit, device, training.folder, callbacks)
    return replace(training, module=module, trainer=trainer)


def check_outputs(net: Net, feed: Feed, device: torch.device) -> None:
    """Raise TechniqueError where the network's output does not fit the task; note where it ends with a softmax.

    Args:
        device: where it will be trained; elsewhere it would be compiled once more.
    """
    inputs = next(iter(feed.held_out("validation")))[0]
    with torch.no_grad():
        outputs = net.to(device).model.eval()(inputs.to(device))
    net.model.train()
    expected = (len(inputs), net.outputs)
    if not isinstance(outputs, Tensor) or tuple(outputs.shape) != expected:
        seen = tuple(outputs.shape) if isinstance(outputs, Tensor) else type(outputs).__name__
        problem = f"gives {seen} for inputs {tuple(inputs.shape)}, the task needs outputs {expected}"
        raise applied_to(net).chosen.fault("model", problem)
    if net.kind == "classification" and bool((outputs >= 0).all()) and outputs.sum(1).sub(1).abs().max() < 1e-4:
        applied_to(net).notes.append("the model gives probabilities, but the losses take logits and apply a softmax: leave out its own")
