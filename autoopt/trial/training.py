"""Build, fit or take up, keep the weights, and measure."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import lightning.pytorch as L
import torch
from torch import Tensor
from torch.distributed.tensor import DTensor

from autoopt.data.feed import Feed
from autoopt.deployment.compress import compress, deploy, save, take_up
from autoopt.errors import TechniqueError
from autoopt.module.build import make_module
from autoopt.module.net import Net
from autoopt.module.tuned import Tuned
from autoopt.recipe import Recipe
from autoopt.trial import Report, metrics
from autoopt.trial.fitting import device_arguments, finetuned, fit, make_trainer
from autoopt.trial.outcome import BEFORE, Resamples, measured
from autoopt.trial.ranks import ALONE, leave, replica
from autoopt.trial.reporter import Reporter, finite
from autoopt.trial.world import World, seed_all, silence


def train(world: World, job: dict[str, Any], report: Report) -> dict[str, Any]:
    """What `run` comes to on one fold, in a process that may be one of several: of these, rank 0 has the outcome."""
    silence()
    seed_all(job["seed"])
    recipe = Recipe(job["recipe"])
    objective, limit = job.get("objective"), job.get("limit")
    share = job.get("share", ALONE)
    module = made(world, job)
    device = device_arguments(module, recipe, share)
    reporter = Reporter(report, objective, world.task)
    part = replica(device.get("strategy"), share)
    feed = reporter.feed = Feed(world.task, recipe.tree["batches"], job["seed"], isinstance(module, Net), limit, part)
    trainer = make_trainer(recipe, module, reporter, feed, limit, device)
    feed.to(trainer.strategy.root_device)
    if limit and isinstance(module, Net):
        check_outputs(module, feed)
    if fitted := not job.get("load"):
        fit(trainer, module, feed)
    weights = trainer.strategy.lightning_module_state_dict() if share != ALONE else {}  # gathers what is cut up
    if share[0]:
        leave()
        return {}
    module, judge = (module, trainer) if share == ALONE else left_alone(trainer, module, weights, reporter, world, job)
    compressed = not fitted and take_up(module, Path(job["load"]))
    module.to(trainer.strategy.root_device)  # Lightning leaves it on the CPU
    found, resamples = measured(judge, module, feed, job, fitted)
    if module.chosen.of("compression") and not compressed:
        finetune = partial(finetuned, recipe=recipe, module=module, task=world.task, feed=feed, limit=limit)
        deploy(module, compress(module, world.task, world.example, feed, finetune))
        before = reporter.metrics | found
        found, resamples = measured(judge, module, feed, job, fitted=False)
        found |= {f"{BEFORE}{name}": before[name] for name in found.keys() & before.keys()}
    if job.get("save") and not reporter.stopped:
        save(module, Path(job["save"]))
    return outcome(trainer, module, reporter, found, resamples, job)


def left_alone(
    trainer: L.Trainer, module: Tuned, weights: dict[str, Any], reporter: Reporter, world: World, job: Mapping[str, Any]
) -> tuple[Tuned, L.Trainer]:
    """The whole module and a Trainer of one process, for what rank 0 does when the others have gone."""
    feed, recipe = reporter.feed, Recipe(job["recipe"])
    feed.share = leave()
    if any(isinstance(parameter, DTensor) for parameter in module.parameters()):
        module = made(world, job)
        module.load_state_dict(weights)
    alone = device_arguments(module, recipe)
    return module, make_trainer(recipe, module, reporter, feed, job.get("limit"), alone, trainer.callbacks)  # type: ignore[attr-defined]


def made(world: World, job: Mapping[str, Any]) -> Tuned:
    """The recipe's module, untrained."""
    followed = job.get("objective") if job.get("direction") else None  # by a plateau or an early stop: no cost is
    module = make_module(Recipe(job["recipe"]), world.task, world.example, followed)
    module.direction = job.get("direction") or "minimize"
    if isinstance(module, Net):
        module.metrics = world.metrics
    return module


def check_outputs(net: Net, feed: Feed) -> None:
    """Raise TechniqueError where the network's output does not fit the task."""
    inputs = next(iter(feed.held_out("validation")))[0]
    with torch.no_grad():
        outputs = net.model.eval()(inputs.to(net.device))
    net.model.train()
    expected = (len(inputs), net.outputs)
    if not isinstance(outputs, Tensor) or tuple(outputs.shape) != expected:
        seen = tuple(outputs.shape) if isinstance(outputs, Tensor) else type(outputs).__name__
        ((technique, _),) = net.chosen.of("model")
        raise TechniqueError("model", technique.name, f"gives {seen} for inputs {tuple(inputs.shape)}, the task needs outputs {expected}")


def outcome(
    trainer: L.Trainer, module: Tuned, reporter: Reporter, found: dict[str, float], resamples: Resamples, job: Mapping[str, Any]
) -> dict[str, Any]:
    """What the trial has to say.

    Raises:
        NonFinite: the objective is not finite.
    """
    whole = reporter.metrics | found | costs(reporter, reporter.feed)
    if (objective := job.get("objective")) in whole:
        finite(objective, whole[objective])
    said = {"metrics": whole, "epochs": reporter.epochs, "seconds": reporter.seconds, "stopped": reporter.stopped}
    said |= dict(zip(("resamples", "units"), resamples, strict=True))
    own = {} if isinstance(module, Net) else {"manual": not module.automatic_optimization, "optimizers": len(trainer.optimizers)}
    return {**said, **own}


def costs(reporter: Reporter, feed: Feed) -> dict[str, float]:
    """What the training has cost, if there was one."""
    if not reporter.epochs:
        return {}
    found = {**metrics.peak_memory(), "epochs_trained": float(reporter.epochs), "seconds": reporter.seconds}
    if feed.parts and reporter.seconds:
        found["samples_per_second"] = len(feed.parts["train"][1]) * reporter.epochs / reporter.seconds
    return found
