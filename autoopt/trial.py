"""One trial: a pure function of (recipe, task, seed, epochs). It knows neither Optuna nor the study."""

import inspect
import os
import platform
import random
import time
import traceback
import typing
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning.pytorch as L
import numpy as np
import torch
from lightning.pytorch.loggers.logger import DummyLogger
from lightning.pytorch.utilities import disable_possible_user_warnings
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from autoopt import metrics
from autoopt.config import FROM
from autoopt.errors import BadInput, TechniqueError
from autoopt.module import Chosen, Net, Tuned, call, finite, make_module, rates
from autoopt.recipe import Recipe
from autoopt.slots import SLOTS
from autoopt.space import Space
from autoopt.task import Batches, PerBatch, Task, make_task
from autoopt.technique import LIVE, Technique, build, resolve

Report = Callable[[int, dict[str, float]], bool]
EVALUATION_BATCH = 1024
QUIET = ("lightning.pytorch", "lightning.pytorch.utilities.rank_zero", "lightning.fabric.utilities.rank_zero")


@dataclass(frozen=True)
class World:
    """What every trial of a study shares."""

    task: Task
    example: tuple[Tensor, Tensor] | None


def prepare(setup: dict[str, Any]) -> tuple[World, dict[str, Any]]:
    """Import the selected techniques and load the data, once, in the process from which the trials are forked.

    Args:
        setup: the composed `tree`, and what is `off` by its `slot/name`.

    Returns:
        the world, and the facts about it that the supervisor needs: JSON.

    Raises:
        BadInput: a technique cannot be loaded, or the data cannot be used.
    """
    silence()
    space = Space(setup["tree"])
    load_all(space)
    ((_, _, data),) = [row for row in space.techniques() if row[0] == "data"]
    lightning = all(makes(t, L.LightningModule) for s, _, t in space.techniques() if s == "model")
    recipe = space.baseline()
    values = {k: v for k, v in next(iter(recipe.tree["data"].values())).items() if k != FROM}
    try:
        task = make_task(build(data, {}, values), recipe.tree["split"], scan=not lightning)
    except BadInput:
        raise
    except Exception as error:
        raise BadInput(f"data={data.name}: {type(error).__name__}: {error}") from error
    return World(task, task.example()), facts(task, lightning)


def silence() -> None:
    """Adverts and warnings that a user can do nothing about stay out of the log."""
    import logging

    warnings.filterwarnings("ignore", module="lightning|torch|mlflow|sklearn")
    disable_possible_user_warnings()
    for name in QUIET:
        logging.getLogger(name).setLevel(logging.ERROR)


def load_all(space: Space) -> None:
    """Import every selected technique, and refuse an import path that is not of its slot's kind; all problems at once."""
    problems: list[str] = []
    for slot, _, technique in space.techniques():
        try:
            if ":" in technique.path and not technique.owner:
                check_kind(slot, technique)
            technique.load()
        except BadInput as error:
            problems.extend(error.problems)
    if problems:
        raise BadInput(*problems)


def check_kind(slot: str, technique: Technique) -> None:
    """Raise BadInput where the object is neither a subclass of what the slot returns nor a function annotated to return it."""
    expected = SLOTS[slot].returns
    found = technique.load()
    returned = found if isinstance(found, type) else return_type(found)
    if technique.path in LIVE and not isinstance(found, type):
        return
    if not any(returned is None if path is None else isinstance(returned, type) and issubclass(returned, resolve(path)) for path in expected):
        names = " or ".join("None" if path is None else path.replace(":", ".") for path in expected)
        seen = f"a {type(found).__name__}" + ("" if isinstance(found, type) else f" that returns {getattr(returned, '__name__', returned)}")
        raise BadInput(f"{slot}={technique.path} is {seen}; expected a subclass of {names}, or a function annotated to return one")


def return_type(function: Any) -> Any:
    try:
        hint = typing.get_type_hints(function).get("return", inspect.Parameter.empty)
    except Exception:
        hint = getattr(function, "__annotations__", {}).get("return", inspect.Parameter.empty)
    hint = None if hint is type(None) else hint
    return typing.get_origin(hint) or hint


def makes(technique: Technique, kind: type) -> bool:
    """Whether a builder makes objects of this kind, as far as can be told without calling it."""
    found = technique.load()
    returned = found if isinstance(found, type) else return_type(found)
    return isinstance(returned, type) and issubclass(returned, kind)


def facts(task: Task, lightning: bool) -> dict[str, Any]:
    """What the supervisor has to know: the task in words, and what cannot be offered here, with the reason."""
    absent: dict[str, dict[str, str]] = {slot: {} for slot in SLOTS}
    if not task.images and task.input_shape:
        absent["augmentation"]["images"] = f"the inputs are no images but {'x'.join(map(str, task.input_shape))} numbers"
    if task.class_counts is None:
        absent["loss"]["class_counts"] = "the targets are no classes" if task.kind != "unknown" else "the classes are not known"
    if lightning:
        absent["loss"] |= {ask: "a LightningModule computes its loss in its own training_step" for ask in ("task", "class_counts")}
        absent["compression"]["model"] = "a LightningModule is validated by its own steps; a plain network can be compressed"
    else:
        for slot in ("loss", "optimizer", "schedule"):
            absent[slot]["own"] = "a plain network has none of its own"
    return {
        "kind": task.kind,
        "input_shape": task.input_shape,
        "outputs": task.outputs,
        "classes": task.classes,
        "sizes": {part: len(targets) for part, (_, targets) in task.parts.items()},
        "inputs": None if task.inputs is None else task.inputs.lists(),
        "targets": None if task.targets is None else task.targets.lists(),
        "lightning": lightning,
        "absent": absent,
        "gpus": torch.cuda.device_count(),
        "versions": {"python": platform.python_version(), "torch": torch.__version__, "lightning": L.__version__},
    }


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
        return {"problem": {"slot": error.slot, "name": error.name, "detail": error.detail, "said": str(error)}, "stopped": False}
    except Exception as error:
        traceback.print_exc()
        said = f"{type(error).__name__}: {error}".splitlines()[0]
        return {"problem": {"detail": said, "said": said}, "stopped": False}


def train(world: World, job: dict[str, Any], report: Report) -> dict[str, Any]:
    """Build, fit or take up, keep the weights, and measure."""
    silence()
    seed_all(job["seed"])
    recipe = Recipe(job["recipe"])
    objective, limit = job.get("objective"), job.get("limit")
    module = make_module(recipe, world.task, world.example, objective)
    size = recipe.tree["batches"]["size"]
    reporter = Reporter(report, objective, world.task)
    trainer = make_trainer(recipe, module, reporter, limit)
    feed = Feed(world.task, size, job["seed"], trainer.strategy.root_device, isinstance(module, Net), limit)
    reporter.feed = feed
    if job.get("load"):
        module.load_state_dict(load_file(job["load"]))
        module.to(trainer.strategy.root_device)
    else:
        fit(trainer, module, feed)
    if job.get("save"):
        Path(job["save"]).parent.mkdir(parents=True, exist_ok=True)
        save_file({k: v.detach().contiguous().clone() for k, v in module.state_dict().items()}, job["save"])
    return outcome(trainer, module, reporter, feed, job)


def seed_all(seed: int) -> None:
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def make_trainer(recipe: Recipe, module: Tuned, reporter: "Reporter", limit: int | None) -> L.Trainer:
    """The one place where a Trainer is built."""
    chosen = module.chosen
    total = recipe.epochs  # regularizers that need the number of steps ask in their own hooks
    callbacks = [c for c in chosen.build("regularizer", model=module, total_steps=total, objective=reporter.objective) if c is not None]
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


class Feed:
    """The batches of a task, as one kind of module takes them, on the device where it trains."""

    def __init__(self, task: Task, size: int | None, seed: int, device: torch.device, chunked: bool, limit: int | None):
        self.task, self.size, self.seed, self.chunked = task, size or 64, seed, chunked
        self.datamodule = task.datamodule
        if self.datamodule is not None and size is not None and hasattr(self.datamodule, "batch_size"):
            self.datamodule.batch_size = size
        top = limit * self.size if limit else None
        self.parts = {part: (x[:top].to(device), y[:top].to(device)) for part, (x, y) in task.parts.items()}

    def train(self, whole_epochs: bool = True) -> Any:
        """The training batches: an epoch at a time, or (where a callback follows every batch) one by one."""
        if self.datamodule is not None:
            loader = self.datamodule.train_dataloader()
            return PerBatch(loader) if self.chunked else loader
        batches = Batches(*self.parts["train"], self.size, self.seed, chunked=self.chunked and whole_epochs)
        return PerBatch(batches) if self.chunked and not whole_epochs else batches

    def held_out(self, part: str) -> Any:
        """The batches of validation or test, or nothing where there are none."""
        if self.datamodule is None:
            return Batches(*self.parts[part], EVALUATION_BATCH)
        name = {"validation": "val_dataloader", "test": "test_dataloader"}[part]
        if not overridden(name, self.datamodule, L.LightningDataModule):
            return None
        return getattr(self.datamodule, name)()


def overridden(name: str, instance: Any, base: type) -> bool:
    return getattr(type(instance), name) is not getattr(base, name)


def fit(trainer: L.Trainer, module: Tuned, feed: Feed) -> None:
    if isinstance(module, Net):
        hooks = ("on_train_batch_start", "on_train_batch_end", "on_before_zero_grad")
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
        for name in {"train_loss", self.objective} & self.metrics.keys():
            finite(str(name), self.metrics[name])
        stop = self.report(self.epochs, self.metrics)
        self.stopped = trainer.should_stop = trainer.strategy.reduce_boolean_decision(stop, all=False)

    def measured(self, trainer: L.Trainer, module: L.LightningModule) -> dict[str, float]:
        rate = {"lr": next(rates(trainer), 0.0)}
        if isinstance(module, Net):
            return {**validate(trainer, module, self.feed, self.objective), "train_loss": float(module.train_loss), **rate}
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
    followed = (objective or "").removeprefix("val_")
    every = ("accuracy" if net.task.kind == "classification" else "rmse", "loss")
    extra = (followed,) if followed in own_metrics(net.task.kind) and followed not in every else ()
    return {f"val_{k}": v for k, v in metrics.quality(net.task.kind, outputs, targets, (*every, *extra)).items()}


def own_metrics(kind: str) -> tuple[str, ...]:
    return metrics.CLASSIFICATION if kind == "classification" else metrics.REGRESSION


def outcome(trainer: L.Trainer, module: Tuned, reporter: Reporter, feed: Feed, job: Mapping[str, Any]) -> dict[str, Any]:
    """What the trial has to say: the metrics of the part that was asked for, and the costs."""
    part, objective = job.get("part", "validation"), job.get("objective")
    measured: dict[str, float] = dict(reporter.metrics)
    resamples: list[float] = []
    if isinstance(module, Net):
        compress(module, feed)
        outputs, targets = module.predict(feed.held_out(part), trainer)
        kind, prefix = module.task.kind, {"validation": "val", "test": "test"}[part]
        measured |= {f"{prefix}_{k}": v for k, v in metrics.quality(kind, outputs, targets, own_metrics(kind)).items()}
        followed = (objective or "").removeprefix("val_")
        if part == "test" and followed in own_metrics(kind):
            resamples = metrics.resampled(kind, followed, outputs, targets)
        if job.get("latency"):
            measured |= metrics.latency(module.model, feed.parts[part][0])
    elif job.get("load") and (loader := feed.held_out(part)) is not None:
        (found,) = trainer.validate(module, loader, verbose=False)
        measured |= {k.replace("val", "test", 1) if part == "test" else k: float(v) for k, v in found.items()}
    measured |= metrics.size(module) | costs(reporter, feed)
    if objective and objective in measured:
        finite(objective, measured[objective])
    return {"metrics": measured, "epochs": reporter.epochs, "seconds": reporter.seconds, "stopped": reporter.stopped, "resamples": resamples}


def costs(reporter: Reporter, feed: Feed) -> dict[str, float]:
    found = {"peak_memory_mb": metrics.peak_memory(), "epochs_trained": float(reporter.epochs), "seconds": reporter.seconds}
    if feed.parts and reporter.seconds:
        found["samples_per_second"] = len(feed.parts["train"][1]) * reporter.epochs / reporter.seconds
    return found


def compress(net: Net, feed: Feed) -> None:
    """Put what the recipe's compressions return, one after the other, in the place of the trained network."""
    chosen: Chosen = net.chosen
    for technique, values in chosen.of("compression"):
        compressed: nn.Module = call(technique, {"model": net.model, "batches": feed.held_out("validation")}, values)
        net.model = compressed
