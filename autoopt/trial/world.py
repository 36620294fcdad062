"""What every trial of a study shares: the imported techniques and the data, loaded once where the trials are forked from."""

import hashlib
import inspect
import logging
import platform
import warnings
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import lightning.pytorch as L
import torch
from lightning.pytorch.utilities import disable_possible_user_warnings
from torch import Tensor
from torchmetrics import Metric

from autoopt import namesakes
from autoopt.arguments import hints_of, passed, return_type
from autoopt.config import FROM, no_data
from autoopt.data.feed import overridden
from autoopt.data.loaders import BATCH_SIZE_NAMES, NO_LENGTH, USUAL, OwnLoaders, as_datamodule, drawn_alike, run_setup, seed_all
from autoopt.data.rows import cached
from autoopt.data.task import Examples, Raw, Task, fingerprint, make_task
from autoopt.domain import Unavailable
from autoopt.errors import BadInput
from autoopt.kind import check_kind, check_namesake
from autoopt.module.own_callbacks import source_of_callbacks
from autoopt.slots import SLOTS
from autoopt.space import Domain, Pin, Space
from autoopt.space.option import Settings
from autoopt.store import Store
from autoopt.technique import LIVE, REQUIRED, Technique, build, resolve

BATCH_HOOKS = ("on_before_batch_transfer", "transfer_batch_to_device", "on_after_batch_transfer")
IMBALANCE = 0.8
"""A class with more of the training examples than this makes accuracy say little."""
QUIET_LOGGERS = ("lightning.pytorch", "lightning.pytorch.utilities.rank_zero", "lightning.fabric.utilities.rank_zero")


@dataclass(frozen=True)
class World:
    """What every trial of a study shares.

    Args:
        store: where weights are stored.
        metrics: the user's own, by name.
    """

    task: Task
    example: tuple[Tensor, Tensor] | None
    store: Store
    metrics: Mapping[str, Any] = field(default_factory=dict)


def prepare(setup: dict[str, Any]) -> tuple[World, dict[str, Any]]:
    """Import the selected techniques and load the data, once, in the process from which the trials are forked.

    Args:
        setup: the composed `tree`, and the `store`'s root.

    Returns:
        the world, and the facts about it that the supervisor needs: JSON.

    Raises:
        BadInput: a technique cannot be loaded, or the data cannot be used.
    """
    silence()
    seed_all(setup["tree"]["seed"])  # what a data technique draws is drawn alike in every session
    tree, store = setup["tree"], Store(setup["store"])
    space = Space.of(tree)
    check_loaders(space)
    load_all(space)
    own_callbacks = {f"trainer.callbacks={path}": source_of_callbacks(path) for path in (tree["trainer"]["callbacks"] or "").split()}
    ((_, _, data),) = [row for row in space.techniques() if row[0] == "data"]
    models = {t.name: class_made(t) for s, _, t in space.techniques() if s == "model"}
    lightning = all(made is not None and issubclass(made, L.LightningModule) for made in models.values())
    recipe = space.baseline()
    refuse_trainer(tree["trainer"], lightning)
    values = {k: v for k, v in next(iter(recipe.tree["data"].values())).items() if k != FROM}
    try:
        examples = as_datamodule(build(data, {}, values))
        digits = fingerprint(examples) if isinstance(examples, Examples) else ""
        if isinstance(examples, Examples) and not isinstance(examples.inputs, Raw):
            examples = replace(examples, inputs=cached(examples.inputs, recipe.tree["batches"]["cache"], store.root))
        remade = partial(remake, data, values, tree["seed"])
        task = make_task(examples, recipe.tree["split"], not lightning, not lightning, tree["seed"], remade)
    except BadInput:
        raise
    except Unavailable as error:
        raise BadInput(f"data={data.name}: {error}") from error
    except Exception as error:
        raise BadInput(f"data={data.name}: {type(error).__name__}: {error}") from error
    if task.datamodule and not lightning and not overridden("val_dataloader", task.datamodule, L.LightningDataModule):
        raise BadInput(f"data={data.name}: it has no val_dataloader, which a network is judged on")
    if task.datamodule and not lightning and (hook := next((h for h in BATCH_HOOKS if overrides_hook(task.datamodule, h)), None)):
        raise BadInput(f"data={data.name}: its {hook} is for a LightningModule; a network needs batches that are ready as they are loaded")
    size = recipe.tree["batches"]["size"]
    if task.datamodule and task.batch_size.resize is None and size is not None:
        raise BadInput(f"batches.size={tree['batches']['size']}: {fixed_size(data, task)}; leave batches.size away")
    if "balanced" in str(tree["batches"]["sampler"]) and (task.datamodule or task.kind != "classification"):
        why = f"{data.name} draws its own batches" if task.datamodule else "the targets are no classes"
        raise BadInput(f"batches.sampler={tree['batches']['sampler']}: {why}; leave batches.sampler away")
    check_searched_size(space, task)
    metrics = own_metrics(tree["metrics"], lightning)
    known = {"examples": digits, "sources": sources(space, metrics, own_callbacks), "told": namesakes.namesake_note()}
    found = facts(task, lightning) | known
    if lightning and (name := unconfigured(models)):
        for slot in ("optimizer", "schedule"):
            found["absent"][slot]["own"] = f"{name} has no configure_optimizers"
    if task.datamodule and task.batch_size.resize is None:
        found["absent"]["batches"] = {"size": fixed_size(data, task)}
    if isinstance(task.datamodule, OwnLoaders):
        found["notes"] = (f"no other data are named, so the loaders are those of {data.name} itself", *found["notes"])
    if found["objective"] and tree["objective"] is None:
        why = f"{imbalance(task)}; the objective is {found['objective']}, as accuracy would say little"
        found["notes"] = (*found["notes"], why)
    return World(task, task.example(), store, metrics), found


def check_loaders(space: Space) -> None:
    """Raise BadInput where no data are named and the model, which then has to bring them, is no LightningModule."""
    model = brings_data(space)
    if model and not issubclass(class_made(model) or object, L.LightningModule):
        raise BadInput(f"{no_data()}; {model.name} has no loaders of its own")


def brings_data(space: Space) -> Technique | None:
    """The model that is the data too, if it is."""
    (data,) = [technique for slot, _, technique in space.techniques() if slot == "data"]
    return next((t for slot, _, t in space.techniques() if slot == "model" and t.path == data.path), None)


def check_searched_size(space: Space, task: Task) -> None:
    """Raise BadInput where the batch size is searched as an argument of the model, from whose loaders all trials train."""
    if not isinstance(task.datamodule, OwnLoaders) or task.datamodule.each_its_own:
        return
    for name, option in space.options["model"].items():
        for key in BATCH_SIZE_NAMES:
            if isinstance(option.values.get(key), Domain):
                raise BadInput(f"model.{name}.{key} is searched, but all trials share the loaders; search batches.size")


def remake(data: Technique, values: dict[str, Any], seed: int, name: str, size: int) -> L.LightningDataModule:
    """The data module, set up, with another value of the argument that is its batch size.

    Raises:
        KeyError: there is no such argument.
    """
    data.params[name]
    with drawn_alike(seed):
        made: L.LightningDataModule = as_datamodule(build(data, {}, {**values, name: size}))
    return run_setup(made, "fit", seed)


def fixed_size(data: Technique, task: Task) -> str:
    """Why a data module's batch size is not searched."""
    if isinstance(task.datamodule, OwnLoaders) and task.datamodule.each_its_own:
        return f"{data.name} has no val_dataloader, so each trial trains on the loader of its own module, as that makes it"
    if task.batch_size.usual is None:
        return f"the batch size of {data.name} cannot be told from its training loader"
    return f"{data.name} has no batch_size that its training loader follows"


def refuse_trainer(settings: Mapping[str, Any], lightning: bool) -> None:
    """Raise BadInput where something is said to the Trainer of a plain network."""
    told = [f"trainer.{name}={value}" for name, value in settings.items() if value is not None]
    if told and not lightning:
        instead = "regularizer=gradient_clip, batches.accumulate=…, device.cpu.precision=… and the like"
        raise BadInput(f"{', '.join(told)}: a network without a training_step of its own is trained by autoopt's loop; give {instead}")


def sources(space: Space, metrics: Mapping[str, Any], callbacks: Mapping[str, Any]) -> dict[str, str]:
    """Digits of the files of the user's own techniques, by `slot=path`, metrics and callbacks; a script or a notebook has none."""
    own = {f"{s}={t.path}": t.load() for s, _, t in space.techniques() if ":" in t.path and not t.owner and t.path not in LIVE}
    found = {}
    for key, made in {**own, **{f"metrics={name}": made for name, made in metrics.items()}, **callbacks}.items():
        with suppress(TypeError, OSError):
            found[key] = hashlib.sha256(Path(inspect.getfile(made)).read_bytes()).hexdigest()[:16]
    return found


def own_metrics(said: str | None, lightning: bool) -> dict[str, Any]:
    """The metrics that `metrics=` names by import paths, spaces between them.

    Raises:
        BadInput: one cannot be had, or is neither a class of torchmetrics nor a function; or the module logs its own.
    """
    if said and lightning:
        raise BadInput(f"metrics={said}: a LightningModule logs its own metrics; say objective=… for one of them")
    found = {path.rpartition(":")[2]: path for path in (said or "").split()}
    for name, path in found.items():
        try:
            made = resolve(path)
        except Exception as error:
            raise BadInput(f"metrics={path}: {type(error).__name__}: {error}") from error
        if not (issubclass(made, Metric) if isinstance(made, type) else callable(made)):
            raise BadInput(f"metrics={path} is {made!r}; expected a class of torchmetrics, or a function of (outputs, targets)")
        found[name] = made
    return found


def silence() -> None:
    """Adverts and warnings that a user can do nothing about stay out of the log."""
    warnings.filterwarnings("ignore", module="lightning|torch|mlflow|sklearn")
    disable_possible_user_warnings()
    for name in QUIET_LOGGERS:
        logging.getLogger(name).setLevel(logging.ERROR)


def load_all(space: Space) -> None:
    """Import every selected technique, and refuse an import path that is not of its slot's kind; all problems at once."""
    problems: list[str] = []
    for slot, name, technique in space.techniques():
        try:
            if ":" in technique.path and not technique.owner:
                check_kind(slot, technique)
                check_arguments(technique, space.options[slot][name].values)
            technique.load()
        except BadInput as error:
            problems.extend(error.problems)
    if problems:
        raise BadInput(*problems)


def check_arguments(technique: Technique, values: Settings) -> None:
    """Raise BadInput where an object among the arguments is not of its kind, or an argument is missing that is the author's."""
    label = f"{technique.slot}.{technique.name}"
    pins = {key: value.value if isinstance(value, Pin) else value.default for key, value in values.items()}
    choices = [(key, option) for key, value in values.items() if isinstance(value, Domain) for option in value.options]
    builder = technique.load()
    for said in [pins, *({**pins, key: option} for key, option in choices if isinstance(option, str))]:
        passed(builder, said, label)
    if isinstance(builder, type) and issubclass(builder, L.LightningModule):
        hints = hints_of(builder)
        if own := [ask for ask in technique.asks if ask not in values and hints.get(ask) is not Task]:
            raise BadInput(f"{label}.{own[0]} is missing: say {label}.{own[0]}=…")


def class_made(technique: Technique) -> type | None:
    """The class of the objects that a builder makes; one from Python that does not say so is tried, where it asks for nothing."""
    found = technique.load()
    returned = found if isinstance(found, type) else return_type(found)
    if (
        technique.path in LIVE
        and returned is REQUIRED
        and not technique.asks
        and all(p.default is not REQUIRED for p in technique.params.values())
    ):
        returned = type(found())
        check_namesake(technique.slot, technique, returned)
    return returned if isinstance(returned, type) else None


def unconfigured(models: Mapping[str, type | None]) -> str:
    """The name of a LightningModule that does not configure an optimizer, if there is one."""
    written = L.LightningModule.configure_optimizers
    return next((name for name, made in models.items() if getattr(made, "configure_optimizers", None) is written), "")


def overrides_hook(datamodule: L.LightningDataModule, hook: str) -> bool:
    return overridden(hook, datamodule, L.LightningDataModule)


def unchangeable(task: Task) -> str:
    """Why the batches of a data module cannot be augmented, if they cannot."""
    if task.kind == "unknown":
        return "the data module's batches are no (inputs, targets) tensors"
    if task.datamodule and overrides_hook(task.datamodule, "on_after_batch_transfer"):
        return "the data module changes the batches itself, in its on_after_batch_transfer"
    return ""


def imbalance(task: Task) -> str:
    """How much one class prevails among the training examples, where that is too much for accuracy."""
    if task.class_counts is None:
        return ""
    share, number = (value.item() for value in (task.class_counts / task.class_counts.sum()).max(0))
    name = repr(task.classes[int(number)]) if task.classes else str(number)
    return f"{share:.1%} of the training examples are of class {name}" if share > IMBALANCE else ""


def facts(task: Task, lightning: bool) -> dict[str, Any]:
    """What the supervisor has to know: the task in words, and what cannot be offered here, with the reason."""
    absent: dict[str, dict[str, str]] = {slot: {} for slot in SLOTS}
    if task.tokens:
        absent["augmentation"] = dict.fromkeys(SLOTS["augmentation"].offers, "the inputs are words")
    elif task.categories:
        reason = "the table has columns with the codes of categories, which cannot be mixed"
        absent["augmentation"] = dict.fromkeys(SLOTS["augmentation"].offers, reason)
    elif not task.images and task.input_shape:
        reason = f"the inputs are no images but {'x'.join(map(str, task.input_shape))} numbers"
        absent["augmentation"] = dict.fromkeys(("planes", "images", "pixels"), reason)
    absent["augmentation"] = {**task.unoffered, **absent["augmentation"]}
    if reason := unchangeable(task):
        absent["augmentation"] = dict.fromkeys(SLOTS["augmentation"].offers, reason)
    if task.class_counts is None:
        absent["loss"]["class_counts"] = "the targets are no classes" if task.kind != "unknown" else "the classes are not known"
    if not task.sized:
        for slot in ("optimizer", "schedule", "regularizer"):
            absent[slot] |= dict.fromkeys(("total_steps", "steps_per_epoch"), NO_LENGTH)
    if lightning:
        absent["loss"] |= dict.fromkeys(("task", "class_counts"), "a LightningModule computes its loss in its own training_step")
        if task.kind == "unknown":
            absent["compression"] = dict.fromkeys(SLOTS["compression"].offers, unchangeable(task))
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
        "tokens": task.tokens,
        "categories": task.categories,
        "encoding": task.encoding,
        "folds": len(task.folds) + 1,
        "lightning": lightning,
        "objective": "val_balanced_accuracy" if imbalance(task) and not lightning else None,
        "notes": task.notes,
        "absent": absent,
        "test": task.datamodule is None or task.testing is not None,
        "batch_size": task.batch_size.usual if task.datamodule else USUAL,
        "gpus": torch.cuda.device_count(),
        "versions": {"python": platform.python_version(), "torch": torch.__version__, "lightning": L.__version__},
    }
