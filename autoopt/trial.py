"""One trial: a pure function of (recipe, task, seed, epochs). It knows neither Optuna nor the study."""

import inspect
import os
import random
import time
import traceback
from collections import defaultdict
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from itertools import takewhile
from math import ceil
from pathlib import Path
from typing import Any

import lightning.pytorch as L
import numpy as np
import torch
from lightning.pytorch.loggers.logger import DummyLogger
from lightning.pytorch.plugins.environments import LightningEnvironment
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from autoopt import metrics
from autoopt.compression import compress, deploy, network, save, take_up
from autoopt.deployed import write_onnx
from autoopt.domain import Unavailable
from autoopt.errors import NonFinite, TechniqueError
from autoopt.feed import Feed, overridden
from autoopt.folds import trained_in_folds
from autoopt.module import Chosen, Instead, Net, Tuned, finite, make_module, rates, scale_alike
from autoopt.outcome import BEFORE, followed, judged, known, measured
from autoopt.ranks import ALONE, Share, averaged, leave, replica, same_buffers, spread
from autoopt.recipe import Recipe
from autoopt.task import Task
from autoopt.technique import Technique
from autoopt.world import World, prepare, silence

__all__ = ["prepare", "run"]

Report = Callable[[int, dict[str, float]], bool]


def run(world: World, job: dict[str, Any], report: Report) -> dict[str, Any]:
    """Train what the recipe says, or take up trained weights; compress where it says so; measure.

    Args:
        job: `recipe` (tree), `seed`, `objective` and its `direction`; `load` (weights to take instead of training), `save` (where to
            put them), `part` ("validation" or "test"), `limit` (batches, for a preflight), `latency` (measure it: nothing else runs);
            `share` (rank and ranks, where it is one process of several); or only `onnx`, an exported folder to write the graph of.
        report: called after every epoch with its number, from 1, and its metrics; says whether to stop.

    Returns:
        `metrics`, `epochs` trained, `seconds`, `stopped`; of a test split also `resamples` of the objective.
    """
    if job.get("onnx"):
        write_onnx(Path(job["onnx"]))
        return {"metrics": {}, "stopped": False}
    return on_devices(world, job, report) if job.get("limit") else trained_in_folds(on_devices, world, job, report)


def on_devices(world: World, job: dict[str, Any], report: Report) -> dict[str, Any]:
    """Train in this process, or in one for each device; measuring and compressing take one."""
    if job.get("load") or (count := devices(Recipe(job["recipe"]))) == 1:
        return attempt(world, job, report)
    return spread(count, lambda share, told: attempt(world, {**job, "share": share}, told), report)


def devices(recipe: Recipe) -> int:
    """On how many devices it is trained: what its device technique has as `devices`."""
    ((technique, values),) = Chosen(recipe).of("device")
    declared = technique.params.get("devices")
    return int(values.get("devices", declared.default if declared else 1))


def attempt(world: World, job: dict[str, Any], report: Report) -> dict[str, Any]:
    """Train; a preflight returns what is raised, as its `problem`."""
    if not job.get("limit"):
        return train(world, job, report)
    try:
        return train(world, job, report)
    except TechniqueError as error:
        problem = {"slot": error.slot, "name": error.name, "detail": error.detail, "said": str(error), "unavailable": error.unavailable}
        return {"problem": problem, "stopped": False}
    except Exception as error:
        traceback.print_exc()
        said = f"{type(error).__name__}: {error}".splitlines()[0]
        return {"problem": {"detail": said, "said": said}, "stopped": False}


def train(world: World, job: dict[str, Any], report: Report) -> dict[str, Any]:
    """Build, fit or take up, keep the weights, and measure.

    Raises:
        TechniqueError: what was raised inside of a technique.
    """
    try:
        return measured_training(world, job, report)
    except (TechniqueError, NonFinite, MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:
        if (technique := culprit(error, Recipe(job["recipe"]))) is not None and "memory" not in str(error):
            raise TechniqueError(technique.slot, technique.name, f"{type(error).__name__}: {error}") from error
        raise


def culprit(error: Exception, recipe: Recipe) -> Technique | None:
    """The technique in whose file the error was raised, or called what raised it.

    Where several share that file, the one in whose own code it was, if any.
    """
    files: dict[str | None, list[Technique]] = defaultdict(list)
    for technique, _ in Chosen(recipe).rows:
        with suppress(TypeError, OSError):  # a partial, or a class of a notebook, has no file
            files[inspect.getsourcefile(technique.load())].append(technique)
    codes = [frame.f_code for frame, _ in traceback.walk_tb(error.__traceback__)][::-1]
    codes = list(takewhile(lambda code: code.co_name != "closure", codes))  # an optimizer that calls one is not to blame for it
    file = next((code.co_filename for code in codes if code.co_filename in files), None)
    if file is None or len(files[file]) == 1:
        return None if file is None else files[file][0]
    own = {f"{technique.load().__qualname__}.": technique for technique in files[file]}
    inside = [f"{code.co_qualname}." for code in codes if code.co_filename == file]
    return next((own[prefix] for name in inside for prefix in own if name.startswith(prefix)), None)


def measured_training(world: World, job: dict[str, Any], report: Report) -> dict[str, Any]:
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
    judge = trainer
    if share != ALONE:
        weights = trainer.strategy.lightning_module_state_dict()  # gathers what is cut up
        feed.share = leave()
        if share[0]:
            return {}
        if any(isinstance(parameter, DTensor) for parameter in module.parameters()):
            module = made(world, job)
            module.load_state_dict(weights)
        alone = device_arguments(module, recipe)
        judge = make_trainer(recipe, module, reporter, feed, limit, alone, trainer.callbacks)  # type: ignore[attr-defined]
    compressed = not fitted and take_up(module, Path(job["load"]))
    module.to(trainer.strategy.root_device)  # Lightning leaves it on the CPU
    found, resamples = measured(judge, module, feed, job, fitted)
    if module.chosen.of("compression") and not compressed:
        finetune = partial(finetuned, recipe=recipe, module=module, task=world.task, feed=feed, limit=limit)
        deploy(module, compress(module, world.task, world.example, feed, finetune))
        before = reporter.metrics | found
        found, resamples = measured(judge, module, feed, job, fitted=False)
        found |= {f"{BEFORE}{name}": before[name] for name in found.keys() & before.keys()}
    if job.get("save"):
        save(module, Path(job["save"]))
    return outcome(trainer, module, reporter, found, resamples, job)


def made(world: World, job: Mapping[str, Any]) -> Tuned:
    """The recipe's module, untrained."""
    module = make_module(Recipe(job["recipe"]), world.task, world.example, job.get("objective"))
    module.direction = job.get("direction") or "minimize"
    if isinstance(module, Net):
        module.metrics = world.metrics
    return module


def device_arguments(module: Tuned, recipe: Recipe, share: Share = ALONE) -> dict[str, Any]:
    """What the device says to the Trainer of a process that is one of several, or of one that goes on alone."""
    device: dict[str, Any] = module.chosen.one("device", model=network(module))
    if share != ALONE:
        return {**device, "plugins": [*device.get("plugins", []), LightningEnvironment()]}
    return {**device, "devices": 1, "strategy": "auto"} if devices(recipe) > 1 else device


def check_outputs(net: Net, feed: "Feed") -> None:
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


def seed_all(seed: int) -> None:
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def make_trainer(
    recipe: Recipe,
    module: Tuned,
    reporter: "Reporter",
    feed: Feed,
    limit: int | None,
    device: Mapping[str, Any],
    callbacks: list[L.Callback] | None = None,
) -> L.Trainer:
    """The one place where a Trainer is built.

    Args:
        device: its arguments that the device says.
        callbacks: of an earlier Trainer of the same training; else those of the recipe are built.
    """
    if callbacks is None:
        regularizers = module.chosen.callbacks(module, feed.steps * recipe.epochs, reporter.objective, module.direction)
        callbacks = [*regularizers, *device.get("callbacks", []), reporter]
    limits = {} if limit is None or isinstance(module, Net) else {"limit_train_batches": limit, "limit_val_batches": limit}
    by_itself = module.automatic_optimization and feed.accumulate > 1
    accumulation = {"accumulate_grad_batches": feed.accumulate} if by_itself else {}
    return L.Trainer(
        max_epochs=1 if limit else recipe.epochs,
        callbacks=callbacks,
        logger=DummyLogger(),
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        use_distributed_sampler=feed.datamodule is not None and not isinstance(module, Net),
        default_root_dir=os.devnull,
        **limits,  # type: ignore[arg-type]
        **accumulation,  # type: ignore[arg-type]
        **{name: value for name, value in device.items() if name != "callbacks"},
    )


def fit(trainer: L.Trainer, module: Tuned, feed: Feed) -> None:
    if isinstance(module, Net):
        hooks = ("on_train_batch_start", "on_train_batch_end")
        by_batch = any(overridden(hook, c, L.Callback) for c in trainer.callbacks for hook in hooks)  # type: ignore[attr-defined]
        train = feed.train(whole_epochs=not by_batch)
        module.steps_per_epoch, module.accumulate = ceil(train.steps / feed.accumulate), feed.accumulate
        trainer.fit(module, train)
    elif feed.datamodule is not None:
        trainer.fit(module, datamodule=feed.datamodule)
    else:
        trainer.fit(module, feed.train(), feed.held_out("validation"))


class Reporter(L.Callback):
    """Reports every epoch's metrics, and stops the training where the answer says so.

    The last of the callbacks, so that it sees what the others leave.
    """

    feed: Feed

    def __init__(self, report: Report, objective: str | None, task: Task):
        self.report, self.objective, self.task = report, objective, task
        self.metrics: dict[str, float] = {}
        self.epochs, self.seconds, self.examples, self.stopped = 0, 0.0, 0, False
        self.started = time.perf_counter()

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.started = time.perf_counter()

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.seconds += time.perf_counter() - self.started
        self.epochs = trainer.current_epoch + 1
        self.metrics = self.measured(trainer, pl_module)
        if trainer.world_size > 1:
            self.metrics = averaged(self.metrics)
        for name in ("train_loss", self.objective or ""):
            finite(name, self.metrics.get(name, 0.0))
        if isinstance(pl_module, Net):
            pl_module.follow(self.metrics)
        stop = self.report(self.epochs, self.metrics)
        self.stopped = trainer.strategy.reduce_boolean_decision(stop, all=False)
        trainer.should_stop = trainer.should_stop or self.stopped

    def measured(self, trainer: L.Trainer, module: L.LightningModule) -> dict[str, float]:
        rate = {"lr": next(rates(trainer), 0.0)}
        if isinstance(module, Net):
            return {**validate(trainer, module, self.feed, self.objective), "train_loss": module.train_loss, **rate}
        return {name: float(value) for name, value in trainer.callback_metrics.items() if value.numel() == 1} | rate


def validate(trainer: L.Trainer, net: Net, feed: Feed, objective: str | None) -> dict[str, float]:
    """Each epoch's quality on the validation part, under the hooks that Lightning's own loop calls, and where callbacks look for it."""
    if trainer.world_size > 1:
        same_buffers(net)
    call_all(trainer, net, "on_validation_start")
    net.on_validation_start()
    call_all(trainer, net, "on_validation_epoch_start")
    outputs, targets = net.predict(feed.held_out("validation"), trainer)
    call_all(trainer, net, "on_validation_epoch_end")
    every = ("accuracy" if net.kind == "classification" else "rmse", "loss")
    extra = {followed(objective)} & set(known(net)) - set(every)
    found = {f"val_{k}": v for k, v in judged(net, outputs, targets, (*every, *extra)).items()}
    trainer.callback_metrics.update({name: torch.tensor(value) for name, value in found.items()})
    call_all(trainer, net, "on_validation_end")
    net.on_validation_end()
    return found


def call_all(trainer: L.Trainer, net: Net, hook: str) -> None:
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        getattr(callback, hook)(trainer, net)


def finetuned(
    model: nn.Module, epochs: int, loss: Instead | None = None, *, recipe: Recipe, module: Tuned, task: Task, feed: Feed, limit: int | None
) -> nn.Module:
    """Train a network in place for some more epochs, as the recipe says, its schedule stretched over these.

    The rates are rewound to those of the first training: Renda et al. 2020, arXiv:2003.02389.

    Args:
        loss: of (inputs, outputs, the recipe's loss), what is minimised instead.

    Raises:
        Unavailable: a loss is given, but the module computes its own.
    """
    if epochs < 1:
        return model.eval()
    if isinstance(module, Net):
        tuned: Tuned = Net(model, module.loss, module.chosen, task, module.objective, loss)
    elif loss is not None:
        raise Unavailable("a LightningModule computes its loss in its own training_step")
    else:
        tuned = model  # type: ignore[assignment]
    tuned.direction = module.direction
    reporter = Reporter(lambda *_: False, module.objective, task)
    reporter.feed = feed
    scale_alike(model, network(module))
    trainer = make_trainer(recipe.replace(study={"epochs": epochs}), tuned, reporter, feed, limit, device_arguments(tuned, recipe))
    fit(trainer, tuned, feed)
    return model.to(trainer.strategy.root_device).eval()


def outcome(
    trainer: L.Trainer, module: Tuned, reporter: "Reporter", found: dict[str, float], resamples: list[float], job: Mapping[str, Any]
) -> dict[str, Any]:
    """What the trial has to say.

    Raises:
        NonFinite: the objective is not finite.
    """
    whole = reporter.metrics | found | costs(reporter, reporter.feed)
    if (objective := job.get("objective")) in whole:
        finite(objective, whole[objective])
    said = {"metrics": whole, "epochs": reporter.epochs, "seconds": reporter.seconds, "stopped": reporter.stopped, "resamples": resamples}
    own = {} if isinstance(module, Net) else {"manual": not module.automatic_optimization, "optimizers": len(trainer.optimizers)}
    return {**said, **own}


def costs(reporter: Reporter, feed: Feed) -> dict[str, float]:
    found = {"peak_memory_mb": metrics.peak_memory(), "epochs_trained": float(reporter.epochs), "seconds": reporter.seconds}
    if feed.parts and reporter.seconds:
        found["samples_per_second"] = len(feed.parts["train"][1]) * reporter.epochs / reporter.seconds
    return found
