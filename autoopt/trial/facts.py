"""What the supervisor has to know of the data and the models: the task, and what cannot be offered for it, with the reason."""

from collections.abc import Mapping
from typing import Any

import lightning.pytorch as L
from lightning.pytorch.utilities.model_helpers import is_overridden

from autoopt.config.settings import BATCH_SIZE
from autoopt.data.image_values import WITHIN
from autoopt.data.loaders import NO_LENGTH, OwnLoaders
from autoopt.data.rows import random_indices
from autoopt.data.task import Task
from autoopt.slots import SLOTS
from autoopt.trial.environment import versions_here
from autoopt.trial.metrics import METRICS, quality_metrics

IMBALANCE = 0.8
"""A class with more of the training examples than this makes accuracy say little."""
MOST_JUDGED = 1000
"""How many examples tell what chance is."""
BALANCED = "val_balanced_accuracy"
BEFORE = "on_before_batch_transfer"
NO_CLASSES = {"regression": "the targets are no classes", "multilabel": "an example has several labels, not one class"}
Reasons = dict[str, dict[str, str]]
"""Why a name cannot be offered, by slot and name."""


def facts(task: Task, models: Mapping[str, type | None], lightning: bool, fixed_size: str, objective: str | None) -> dict[str, Any]:
    """The facts about the task and the models, as JSON.

    Args:
        models: the class of each model, by name; None where it is not known, or where it is known to configure an optimizer.
        lightning: whether they are LightningModules.
        fixed_size: why the batch size cannot be changed, if it cannot.
        objective: that of the config, if it names one.
    """
    balanced = bool(imbalance(task)) and not lightning
    usual = None if lightning else BALANCED if balanced else f"val_{next(iter(METRICS[task.kind]))}"
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
        "objective": usual,
        "notes": notes(task, balanced and objective is None),
        "chance": chance_level(task),
        "absent": absent(task, models, lightning, fixed_size),
        "test": task.datamodule is None or task.testing is not None,
        "batch_size": task.batch_size.usual if task.datamodule else BATCH_SIZE,
        "versions": {name: versions_here()[name] for name in ("python", "torch", "lightning")},
    }


def chance_level(task: Task) -> dict[str, float]:
    """Our metrics, by name, of a constant prediction on the validation part: the frequencies of the training part, or its mean."""
    if not task.parts:
        return {}
    targets = task.parts["validation"][1]
    targets = targets[random_indices(len(targets), MOST_JUDGED)]
    targets = targets.long() if task.kind == "multilabel" else targets
    if task.class_counts is not None:
        outputs = task.class_counts.log().expand(len(targets), -1)
    else:
        mean = task.parts["train"][1].mean(0)
        outputs = (mean.logit(eps=1e-6) if task.kind == "multilabel" else mean).expand_as(targets)
    in_units = (outputs, targets) if task.targets is None else (task.targets.invert(outputs), task.targets.invert(targets))
    values = quality_metrics(task.kind, *in_units, METRICS[task.kind]) | quality_metrics(task.kind, outputs, targets, ["loss"])
    return {f"val_{name}": value for name, value in values.items()}


def notes(task: Task, balanced: bool) -> tuple[str, ...]:
    """What the user should know of the data, a line each."""
    lines = task.notes
    if isinstance(task.datamodule, OwnLoaders):
        lines = (f"no other data are named, so the loaders are those of {type(task.datamodule).__name__} itself", *lines)
    if balanced:
        lines = (*lines, f"{imbalance(task)}; the objective is {BALANCED}, as accuracy would say little")
    if task.kind == "multilabel":
        lines = (*lines, f"the targets are {task.outputs} labels, any number of which an example has")
    return lines


def absent(task: Task, models: Mapping[str, type | None], lightning: bool, fixed_size: str) -> Reasons:
    """The names that the slots cannot offer for this task."""
    reasons: Reasons = {slot: {} for slot in SLOTS}
    reasons["augmentation"] = absent_augmentation(task, models)
    if task.class_counts is None:
        reasons["loss"]["class_counts"] = NO_CLASSES.get(task.kind, "the classes are not known")
    if not task.sized:
        for slot in ("optimizer", "schedule", "regularizer"):
            reasons[slot] |= dict.fromkeys(("total_steps", "steps_per_epoch"), NO_LENGTH)
    if not lightning:
        for slot in ("loss", "optimizer", "schedule"):
            reasons[slot]["own"] = "a plain network has none of its own"
    else:
        reasons["loss"] |= dict.fromkeys(("task", "class_counts"), "a LightningModule computes its loss in its own training_step")
        if task.kind == "unknown":
            reasons["compression"] = dict.fromkeys(SLOTS["compression"].offers, unchangeable(task))
        if name := unconfigured(models):
            for slot in ("optimizer", "schedule"):
                reasons[slot]["own"] = f"{name} has no configure_optimizers"
    if fixed_size:
        reasons["batches"] = {"size": fixed_size}
    return reasons


def absent_augmentation(task: Task, models: Mapping[str, type | None]) -> dict[str, str]:
    """The names that an augmentation may ask for and that these inputs do not give."""
    offers = SLOTS["augmentation"].offers
    if reason := unchangeable(task):
        return dict.fromkeys(offers, reason)
    if task.tokens:
        return {**task.unoffered, **dict.fromkeys(offers, "the inputs are words")}
    if task.categories:
        reason = "the table has columns with the codes of categories, which cannot be mixed"
        return {**task.unoffered, **dict.fromkeys(offers, reason)}
    if not task.images and task.input_shape:
        reason = f"the inputs are no images but {'x'.join(map(str, task.input_shape))} numbers"
        return {**task.unoffered, **dict.fromkeys(("planes", "images", "pixels"), reason)}
    if name := changing(task, models):
        return dict.fromkeys(WITHIN, f"{name} may change the values of the images, in its {BEFORE}") | dict(task.unoffered)
    return dict(task.unoffered)


def changing(task: Task, models: Mapping[str, type | None]) -> str:
    """Who changes batches between the loader, whose values are known, and the augmentations, if anyone does."""
    inherited = getattr(L.LightningModule, BEFORE)
    if name := next((name for name, model in models.items() if getattr(model, BEFORE, inherited) is not inherited), ""):
        return name
    return "the data module" if task.datamodule and is_overridden(BEFORE, task.datamodule) else ""


def unchangeable(task: Task) -> str:
    """Why the batches of a data module cannot be augmented, if they cannot."""
    if task.kind == "unknown":
        return "the data module's batches are not tensors (inputs, targets)"
    if task.datamodule and is_overridden("on_after_batch_transfer", task.datamodule):
        return "the data module changes the batches itself, in its on_after_batch_transfer"
    return ""


def imbalance(task: Task) -> str:
    """How much one class prevails among the training examples, where that is too much for accuracy."""
    if task.class_counts is None:
        return ""
    share, number = (value.item() for value in (task.class_counts / task.class_counts.sum()).max(0))
    name = repr(task.classes[int(number)]) if task.classes else str(number)
    return f"{share:.1%} of the training examples are of class {name}" if share > IMBALANCE else ""


def unconfigured(models: Mapping[str, type | None]) -> str:
    """The name of a LightningModule that does not configure an optimizer, if there is one."""
    inherited = L.LightningModule.configure_optimizers
    return next((name for name, model in models.items() if getattr(model, "configure_optimizers", None) is inherited), "")
