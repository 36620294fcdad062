"""The code that a config names, the user's above all: imported, checked before it is called, and known by a digest of its file."""

import hashlib
import inspect
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import lightning.pytorch as L
from torchmetrics import Metric

from autoopt.arguments import hints_of, passed, return_type
from autoopt.config import no_data
from autoopt.data.task import Task
from autoopt.errors import BadInput
from autoopt.kind import check_kind, check_namesake
from autoopt.module.own_callbacks import source_of_callbacks
from autoopt.namesakes import imported, why_not
from autoopt.space import Domain, Pin, Space
from autoopt.space.option import Settings
from autoopt.technique import LIVE, REQUIRED, Technique, resolve


def import_techniques(space: Space) -> dict[str, type | None]:
    """Import every selected technique, and refuse an import path that is not of its slot's kind; all problems at once.

    Returns:
        the class of each model, by the model's name, where it can be told.

    Raises:
        BadInput: a technique cannot be imported, is of another kind, or lacks an argument; or nothing brings the data.
    """
    check_loaders(space)
    problems: list[str] = []
    for slot, name, technique in space.techniques():
        try:
            if is_own(technique):
                check_kind(slot, technique)
                check_arguments(technique, space.options[slot][name].values)
            technique.load()
        except BadInput as error:
            problems.extend(error.problems)
    if problems:
        raise BadInput(*problems)
    return {technique.name: class_made(technique) for slot, _, technique in space.techniques() if slot == "model"}


def is_own(technique: Technique) -> bool:
    """Whether a technique is the user's, by its import path, and no plugin's."""
    return ":" in technique.path and not technique.owner


def check_loaders(space: Space) -> None:
    """Raise BadInput where no data are named and the model, which then has to bring them, is no LightningModule."""
    (data,) = [technique for slot, _, technique in space.techniques() if slot == "data"]
    model = next((t for slot, _, t in space.techniques() if slot == "model" and t.path == data.path), None)
    if model and not issubclass(class_made(model) or object, L.LightningModule):
        raise BadInput(f"{no_data()}; {model.name} has no loaders of its own")


def check_arguments(technique: Technique, values: Settings) -> None:
    """Raise BadInput where an object among the arguments is not of its kind, or an argument is missing that is the author's."""
    label = f"{technique.slot}.{technique.name}"
    pins = {key: value.value if isinstance(value, Pin) else value.default for key, value in values.items()}
    choices = [(key, option) for key, value in values.items() if isinstance(value, Domain) for option in value.options]
    builder = technique.load()
    for arguments in [pins, *({**pins, key: option} for key, option in choices if isinstance(option, str))]:
        passed(builder, arguments, label)
    if isinstance(builder, type) and issubclass(builder, L.LightningModule):
        hints = hints_of(builder)
        if missing := [ask for ask in technique.asks if ask not in values and hints.get(ask) is not Task]:
            raise BadInput(f"{label}.{missing[0]} is missing: say {label}.{missing[0]}=…")


def class_made(technique: Technique) -> type | None:
    """The class of the objects that a builder makes; one from Python that does not say so is tried, where it asks for nothing."""
    builder = technique.load()
    returned = return_type(builder)
    asks = technique.asks or any(param.default is REQUIRED for param in technique.params.values())
    if technique.path in LIVE and returned is REQUIRED and not asks:
        returned = type(builder())
        check_namesake(technique.slot, technique, returned)
    return returned if isinstance(returned, type) else None


def import_metrics(paths: str | None, lightning: bool) -> dict[str, Any]:
    """The user's metrics by name.

    Args:
        paths: import paths, spaces between them, as `metrics=` gives them.

    Raises:
        BadInput: a metric cannot be imported, or is neither a class of torchmetrics nor a function; or the module logs its own.
    """
    if paths and lightning:
        raise BadInput(f"metrics={paths}: a LightningModule logs its own metrics; say objective=… for one of them")
    return {path.rpartition(":")[2]: import_metric(path) for path in (paths or "").split()}


def import_metric(path: str) -> Any:
    try:
        metric = resolve(path)
    except Exception as error:
        raise BadInput(f"metrics={path}: {why_not(error, path)}") from error
    if not (issubclass(metric, Metric) if isinstance(metric, type) else callable(metric)):
        raise BadInput(f"metrics={path} is {metric!r}; expected a class of torchmetrics, or a function of (outputs, targets)")
    return metric


def import_callbacks(paths: str | None) -> dict[str, Any]:
    """What the import paths of `trainer.callbacks` name, spaces between them, by path.

    Raises:
        BadInput: one cannot be imported, or is no list of callbacks and nothing that makes them.
    """
    return {path: source_of_callbacks(path) for path in (paths or "").split()}


def file_digests(space: Space, metrics: Mapping[str, Any], callbacks: Mapping[str, Any]) -> dict[str, str]:
    """Digests of the files of the user's code, by `slot=path`; a script or a notebook has none."""
    code: dict[str, Any] = {f"{slot}={t.path}": t.load() for slot, _, t in space.techniques() if is_own(t) and t.path not in LIVE}
    code |= {f"metrics={name}": metric for name, metric in metrics.items()}
    for path, source in callbacks.items():  # a list is known by the module that it is written in
        code[f"trainer.callbacks={path}"] = imported(path.partition(":")[0]) if isinstance(source, list | tuple) else source
    digests = {}
    for key, each in code.items():
        with suppress(TypeError, OSError):
            digests[key] = hashlib.sha256(Path(inspect.getfile(each)).read_bytes()).hexdigest()[:16]
    return digests
