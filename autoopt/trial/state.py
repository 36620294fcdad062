"""The state of a training between two batches: read off its objects, and put back into equal ones of a training that has just begun."""

import random
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import lightning.pytorch as L
import numpy as np
import torch
from lightning.fabric.utilities.apply_func import move_data_to_device
from torch import Tensor, nn
from torch.optim import Optimizer

from autoopt.data.loaders import random_states
from autoopt.module.applied import applied_to
from autoopt.module.net import Net
from autoopt.module.tuned import Tuned
from autoopt.store import CHECKPOINTS
from autoopt.trial.reporter import Reporter

CPU = torch.device("cpu")
STORED_SCALARS = (type(None), bool, int, float, str)
OF_LIGHTNING = vars(L.LightningModule()).keys() - {"training"}
"""Attributes that every module has: weights, which are stored by name, and what Lightning makes anew, partly by addresses."""
NOT_FOR_WEIGHTS = ("optimizer_states", "lr_schedulers", "loops", "callbacks", "current_model_state", "averaging_state")
"""Parts of Lightning's checkpoint of the best epoch that are not needed to take up its weights."""
GENERATORS: Mapping[type, tuple[Callable[[Any], Any], Callable[[Any, Any], Any]]] = {
    torch.Generator: (torch.Generator.get_state, torch.Generator.set_state),
    random.Random: (random.Random.getstate, random.Random.setstate),
    np.random.Generator: (lambda g: g.bit_generator.state, lambda g, state: setattr(g.bit_generator, "state", state)),
    np.random.RandomState: (np.random.RandomState.get_state, np.random.RandomState.set_state),
}
"""How the state of a generator that an object has for itself is read and set."""


def captured(trainer: L.Trainer, module: Tuned, reporter: Reporter) -> dict[str, Any]:
    """All that decides how a training goes on, but for the position of its batches.

    An object's own state is that of `state_dict`, and its attributes that are numbers, texts, tensors, collections of these or
    generators: a module or a callback that counts or collects goes on as it was. Other objects in attributes are not seen.
    """
    reporter.count_time()
    applied, parameters = applied_to(module), dict(module.named_parameters())
    collects = not isinstance(module, Net) and not module.automatic_optimization  # gradients over several batches, perhaps
    return {
        "objects": [plain_attributes(each) for each in (*module.modules(), applied, applied.passed)],
        "weights": weights_of(module),
        "trained": {name: p.requires_grad for name, p in parameters.items()},
        "gradients": {name: p.grad for name, p in parameters.items() if collects and p.grad is not None},
        "callbacks": [of_callback(each, module) for each in trainer.callbacks],  # type: ignore[attr-defined]
        "groups": [groups_by_name(optimizer, parameters) for optimizer in trainer.optimizers],
        "optimizers": [optimizer.state_dict() for optimizer in trainer.optimizers],
        "schedules": [config.scheduler.state_dict() for config in trainer.lr_scheduler_configs],
        "precision": trainer.precision_plugin.state_dict(),
        "metrics": dict(trainer.callback_metrics),
        "logged": {name: sums_of(each) for name, each in trainer.fit_loop.epoch_loop._results.items() if each.is_tensor},
        "ends": trainer.should_stop,
        "files": files_of(reporter_folder(trainer)),
        "random": random_states(),
    }


def groups_by_name(optimizer: Optimizer, parameters: Mapping[str, nn.Parameter]) -> list[list[str | None]]:
    """The names of the parameters of each group of an optimizer; None for one that is not the module's."""
    names = {parameter: name for name, parameter in parameters.items()}
    return [[names.get(parameter) for parameter in group["params"]] for group in optimizer.param_groups]


MEAN_PARTS = ("value", "cumulated_batch_size")
"""What a mean over the batches of an epoch, which a module logs, is made of."""


def sums_of(metric: Any) -> dict[str, Tensor]:
    return {name: vars(metric)[name] for name in MEAN_PARTS if name in vars(metric)}


def put_back(state: Mapping[str, Any], trainer: L.Trainer, module: Tuned, reporter: Reporter) -> None:
    """Give the objects of a training the state that equal ones had; the random generators are left to the caller.

    The state is on the CPU, since another machine may have other devices; each part goes where its object is.

    Raises:
        ValueError, KeyError, RuntimeError: the training has other objects.
    """
    applied, device = applied_to(module), trainer.strategy.root_device
    put_attributes(state["objects"], (*module.modules(), applied, applied.passed), device)
    put_weights(state["weights"], module)
    for name, parameter in module.named_parameters():
        parameter.requires_grad_(state["trained"][name])
        gradient = state["gradients"].get(name)
        parameter.grad = None if gradient is None else gradient.to(parameter.device)
    callbacks: list[L.Callback] = trainer.callbacks  # type: ignore[attr-defined]
    for callback, own in zip(callbacks, state["callbacks"], strict=True):
        put_callback(callback, own, device)
    for optimizer, groups, own in zip(trainer.optimizers, state["groups"], state["optimizers"], strict=True):
        for names in groups[len(optimizer.param_groups) :]:  # those that a callback has added
            optimizer.add_param_group({"params": [module.get_parameter(name) for name in names]})
        optimizer.load_state_dict(own)
    configs = trainer.lr_scheduler_configs[: len(state["schedules"])]  # a callback may have ended them
    trainer.strategy.lr_scheduler_configs = configs
    for config, own in zip(configs, state["schedules"], strict=True):
        config.scheduler.load_state_dict(own)
    trainer.precision_plugin.load_state_dict(state["precision"])
    trainer._logger_connector._callback_metrics.update(move_data_to_device(state["metrics"], device))
    trainer.should_stop = state["ends"]
    put_files(state["files"], reporter_folder(trainer))
    reporter.started = time.perf_counter()


def reporter_folder(trainer: L.Trainer) -> Path:
    return Path(trainer.default_root_dir) / CHECKPOINTS


def add_logged(pending: dict[str, Any], trainer: L.Trainer) -> None:
    """Add to the means over an epoch that a module logs what was logged before the checkpoint, as soon as it logs them again."""
    results = trainer.fit_loop.epoch_loop._results
    for name in pending.keys() & results.keys():
        metric, before = results[name], pending.pop(name)
        summed = metric.meta.is_mean_reduction or metric.meta.is_sum_reduction
        for key, value in before.items() if metric.meta.on_epoch else ():
            own = vars(metric)[key]
            value = value.to(own.device)
            vars(metric)[key] = value + own if summed else metric.meta.reduce_fx(value, own)


def plain_attributes(owner: object, plain: Callable[[Any], bool] | None = None) -> dict[str, Any]:
    """The attributes of an object that are plain data, and the states of its generators."""
    own = {name: value for name, value in vars(owner).items() if name not in OF_LIGHTNING}
    stored = {name: value for name, value in own.items() if (plain or may_be_stored)(value)}
    return {
        "plain": stored,
        "on_device": [name for name, value in stored.items() if on_device(value)],
        "generators": {name: GENERATORS[type(value)][0](value) for name, value in own.items() if type(value) in GENERATORS},
    }


def put_attributes(stored: Iterable[Mapping[str, Any]], owners: Iterable[object], device: torch.device = CPU) -> None:
    for own, owner in zip(stored, owners, strict=True):
        vars(owner).update(own["plain"])
        vars(owner).update({name: move_data_to_device(own["plain"][name], device) for name in own["on_device"]})
        for name, state in own["generators"].items():
            generator = vars(owner)[name]
            GENERATORS[type(generator)][1](generator, state)


def on_device(value: Any) -> bool:
    """Whether a value is a tensor on an accelerator, or holds one."""
    if isinstance(value, Tensor):
        return value.device.type != CPU.type
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, (list, tuple, set)) else ()
    return any(map(on_device, parts))


def is_scalar(value: Any) -> bool:
    return type(value) in STORED_SCALARS


def may_be_stored(value: Any) -> bool:
    """Whether a value is a scalar, a tensor, an array, or a collection of these; what it is exactly, since a subclass may do more."""
    kind = type(value)
    if kind is dict:
        return all(is_scalar(key) for key in value) and all(map(may_be_stored, value.values()))
    if kind in (list, tuple, set):
        return all(map(may_be_stored, value))
    return kind in (*STORED_SCALARS, Tensor) or (kind is np.ndarray and value.dtype.kind in "biufc")


def weights_of(module: nn.Module) -> dict[str, Tensor]:
    """The parameters and the buffers of a module, those too that its `state_dict` leaves out."""
    return {**dict(module.named_parameters()), **dict(module.named_buffers())}


@torch.no_grad()
def put_weights(stored: Mapping[str, Tensor], module: nn.Module) -> None:
    there = weights_of(module)
    if stored.keys() != there.keys():
        raise ValueError(f"other weights: {', '.join(sorted(stored.keys() ^ there.keys()))}")
    for name, value in stored.items():
        if value.shape != there[name].shape:
            raise ValueError(f"{name} is {tuple(there[name].shape)}, and was {tuple(value.shape)}")
        there[name].copy_(value)


def of_callback(callback: L.Callback, module: nn.Module) -> dict[str, Any]:
    parts = {*module.modules()}
    modules = {name: weights_of(m) for name, m in vars(callback).items() if isinstance(m, nn.Module) and m not in parts}
    state = callback.state_dict()
    there = [name for name, value in state.items() if on_device(value)]
    return {"state": state, "on_device": there, "attributes": plain_attributes(callback), "modules": modules}


def put_callback(callback: L.Callback, stored: Mapping[str, Any], device: torch.device) -> None:
    there = {name: move_data_to_device(stored["state"][name], device) for name in stored["on_device"]}
    callback.load_state_dict({**stored["state"], **there})
    put_attributes([stored["attributes"]], [callback], device)
    for name, weights in stored["modules"].items():
        put_weights(weights, vars(callback)[name])


def files_of(folder: Path) -> dict[str, Any]:
    """Lightning's checkpoints in a folder by their names, as plain data; this training has written them."""
    whole = {str(p.relative_to(folder)): torch.load(p, map_location="cpu", weights_only=False) for p in sorted(folder.rglob("*.ckpt"))}
    return {name: {key: part for key, part in content.items() if key not in NOT_FOR_WEIGHTS} for name, content in whole.items()}


def put_files(files: Mapping[str, Any], folder: Path) -> None:
    for name, content in files.items():
        path = folder / name
        if not path.resolve().is_relative_to(folder.resolve()):
            raise ValueError(f"the file {name} lies outside of {folder}")
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.save(content, path)
