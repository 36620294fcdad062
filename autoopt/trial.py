"""One trial: a pure function of (recipe, task, seed, epochs). It knows neither Optuna nor the study."""

import inspect
import os
import random
import time
import traceback
from collections import defaultdict
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import lightning.pytorch as L
import numpy as np
import torch
from lightning.pytorch.loggers.logger import DummyLogger
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from autoopt import metrics
from autoopt.errors import NonFinite, TechniqueError
from autoopt.feed import Feed, overridden
from autoopt.module import Chosen, Net, Tuned, call, finite, make_module, rates
from autoopt.parts import on_test
from autoopt.recipe import Recipe
from autoopt.task import Task
from autoopt.technique import Technique
from autoopt.world import World, prepare, silence

__all__ = ["prepare", "run"]

Report = Callable[[int, dict[str, float]], bool]


def run(world: World, job: dict[str, Any], report: Report) -> dict[str, Any]:
    """Train what the recipe says, or take up trained weights; compress where it says so; measure.

    Args:
        job: `recipe` (tree), `seed`, `objective`; `load` (weights to take instead of training), `save` (where to put them),
            `part` ("validation" or "test"), `limit` (batches, for a preflight), `latency` (measure it: nothing else runs).
        report: called after every epoch with its number, from 1, and its metrics; says whether to stop.

    Returns:
        `metrics`, `epochs` trained, `seconds`, `stopped`; of a test split also `resamples` of the objective.
    """
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
    module = make_module(recipe, world.task, world.example, objective)
    size = recipe.tree["batches"]["size"]
    reporter = Reporter(report, objective, world.task)
    feed = reporter.feed = Feed(world.task, size, job["seed"], isinstance(module, Net), limit)
    trainer = make_trainer(recipe, module, reporter, feed, limit)
    feed.to(trainer.strategy.root_device)
    if limit and isinstance(module, Net):
        check_outputs(module, feed)
    if job.get("load"):
        module.load_state_dict(load_file(job["load"]))
    else:
        fit(trainer, module, feed)
    module.to(trainer.strategy.root_device)  # Lightning leaves it on the CPU
    if job.get("save"):
        Path(job["save"]).parent.mkdir(parents=True, exist_ok=True)
        save_file({k: v.detach().contiguous().clone() for k, v in module.state_dict().items()}, job["save"])
    return outcome(trainer, module, reporter, feed, job)


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


def make_trainer(recipe: Recipe, module: Tuned, reporter: "Reporter", feed: Feed, limit: int | None) -> L.Trainer:
    """The one place where a Trainer is built."""
    chosen = module.chosen
    callbacks = chosen.callbacks(module, feed.steps * recipe.epochs, reporter.objective)
    limits = {} if limit is None or isinstance(module, Net) else {"limit_train_batches": limit, "limit_val_batches": limit}
    return L.Trainer(
        max_epochs=1 if limit else recipe.epochs,
        callbacks=[*callbacks, reporter],
        logger=DummyLogger(),
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
        default_root_dir=os.devnull,
        **limits,  # type: ignore[arg-type]
        **chosen.one("device", model=module),
    )


def fit(trainer: L.Trainer, module: Tuned, feed: Feed) -> None:
    if isinstance(module, Net):
        hooks = ("on_train_batch_start", "on_train_batch_end")
        by_batch = any(overridden(hook, c, L.Callback) for c in trainer.callbacks for hook in hooks)  # type: ignore[attr-defined]
        train = feed.train(whole_epochs=not by_batch)
        module.steps_per_epoch = train.steps
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
    """Each epoch's quality on the validation part, under the hooks that Lightning's own loop calls."""
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        callback.on_validation_epoch_start(trainer, net)
    net.on_validation_start()
    outputs, targets = net.predict(feed.held_out("validation"), trainer)
    net.on_validation_end()
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        callback.on_validation_epoch_end(trainer, net)
    every = ("accuracy" if net.kind == "classification" else "rmse", "loss")
    extra = {followed(objective)} & set(own_metrics(net.kind)) - set(every)
    return {f"val_{k}": v for k, v in metrics.quality(net.kind, outputs, targets, (*every, *extra)).items()}


def own_metrics(kind: str) -> tuple[str, ...]:
    return metrics.CLASSIFICATION if kind == "classification" else metrics.REGRESSION


def outcome(trainer: L.Trainer, module: Tuned, reporter: "Reporter", feed: Feed, job: Mapping[str, Any]) -> dict[str, Any]:
    """What the trial has to say: the metrics of the part that was asked for, and the costs."""
    part, objective = job.get("part", "validation"), job.get("objective")
    said: dict[str, Any] = {"epochs": reporter.epochs, "seconds": reporter.seconds, "stopped": reporter.stopped, "resamples": []}
    measured = dict(reporter.metrics)
    if isinstance(module, Net):
        compress(module, feed)
        if (batches := feed.held_out(part)) is not None:
            outputs, targets = module.predict(batches, trainer)
            kind, prefix = module.kind, {"validation": "val", "test": "test"}[part]
            measured |= {f"{prefix}_{k}": v for k, v in metrics.quality(kind, outputs, targets, own_metrics(kind)).items()}
            if part == "test" and followed(objective) in own_metrics(kind):
                said["resamples"] = metrics.resampled(kind, followed(objective), outputs, targets)
        if job.get("latency"):
            measured |= metrics.latency(module.model, feed.example("validation").to(module.device))
    else:
        if job.get("latency") and overridden("forward", module, L.LightningModule):
            with suppress(Exception):  # what its forward takes is its own affair
                measured |= metrics.latency(module, feed.example("validation").to(module.device))
        said |= {"manual": not module.automatic_optimization, "optimizers": len(trainer.optimizers)}
        if job.get("load") and (loader := feed.held_out(part)) is not None:
            for found in trainer.validate(module, loader, verbose=False):
                measured |= {on_test(k) if part == "test" else k: float(v) for k, v in found.items()}
    measured |= metrics.size(module) | costs(reporter, feed)
    if objective and objective in measured:
        finite(objective, measured[objective])
    return {"metrics": measured, **said}


def followed(objective: str | None) -> str:
    """Our own name for the metric that the objective names."""
    return (objective or "").removeprefix("val_")


def costs(reporter: Reporter, feed: Feed) -> dict[str, float]:
    found = {"peak_memory_mb": metrics.peak_memory(), "epochs_trained": float(reporter.epochs), "seconds": reporter.seconds}
    if feed.parts and reporter.seconds:
        found["samples_per_second"] = len(feed.parts["train"][1]) * reporter.epochs / reporter.seconds
    return found


def compress(net: Net, feed: Feed) -> None:
    """Put what the recipe's compressions return, one after the other, in the place of the trained network."""
    for technique, values in net.chosen.of("compression"):
        compressed: nn.Module = call(technique, {"model": net.model, "batches": feed.calibration()}, values)
        net.model = compressed
