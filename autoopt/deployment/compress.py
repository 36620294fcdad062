"""What the compressions of a recipe make of a trained model, and how the result is kept."""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import lightning.pytorch as L
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from autoopt.data.feed import Feed
from autoopt.data.task import Task
from autoopt.deployment.structure import describe_modules, restore
from autoopt.domain import Unavailable
from autoopt.errors import BadInput, TechniqueError
from autoopt.module.applied import applied_to
from autoopt.module.build import apply_to, built_model, prepare_model
from autoopt.module.chosen import call
from autoopt.module.net import Net
from autoopt.module.tuned import Tuned

STRUCTURE = "structure"
Finetune = Callable[..., nn.Module]


def deployed_network(module: Tuned) -> nn.Module:
    """What would be deployed: the plain network inside of ours, or the user's own module."""
    deployed = applied_to(module).deployed
    return deployed or (module.model if isinstance(module, Net) else module)


def apply_compressions(module: Tuned, task: Task, example: Any, feed: Feed, finetune: Finetune) -> nn.Module:
    """The trained network after every compression of the recipe, one on what the other returned; it itself stays.

    Raises:
        TechniqueError: a compression raised, or made what cannot be stored.
    """
    trained = compressed = deployed_network(module).eval()
    if isinstance(trained, L.LightningModule):
        trained.trainer = None  # which a copy would take along
    build = partial(rebuilt, module, task, example)
    for technique, values in applied_to(module).chosen.of("compression"):
        offered = {"model": compressed, "batches": feed.calibration(), "finetune": finetune, "build": build}
        compressed = call(technique, offered, values).eval()
        for part in compressed.modules():
            part._non_persistent_buffers_set.clear()  # of another shape or type than those that the builder makes
        try:
            describe_modules(compressed, trained)
        except ValueError as error:
            raise TechniqueError(technique.slot, technique.name, str(error)) from error
    return compressed


def rebuilt(module: Tuned, task: Task, example: Any, **arguments: Any) -> nn.Module:
    """An untrained model of the same recipe with other arguments; a function is given the trained model's value.

    Raises:
        Unavailable: the model has no such argument.
    """
    chosen, objective = applied_to(module).chosen, applied_to(module).objective
    ((technique, values),) = chosen.of("model")
    known = {name: param.default for name, param in technique.params.items()} | values
    for name in arguments.keys() - known.keys():
        raise Unavailable(f"{technique.name} has no argument '{name}'; its arguments: {', '.join(known) or 'none'}")
    changed = {name: value(known[name]) if callable(value) else value for name, value in arguments.items()}
    model = built_model(technique, values | changed, task)
    prepare_model(chosen, model, example)
    if isinstance(model, L.LightningModule):
        model = apply_to(model, chosen, objective)
    chosen.callbacks(model, 1, objective)
    return model


def deploy(module: Tuned, compressed: nn.Module) -> None:
    """Let a compressed network answer where the trained one did: in the user's module, for its `forward`."""
    if isinstance(module, Net):
        module.model = compressed
    else:
        applied_to(module).deployed = compressed  # no child: the module's own weights stay what they are
        vars(module)["forward"] = compressed.__call__


def save(module: Tuned, path: Path) -> None:
    """Keep the weights, and of a compressed network its structure, in one file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    kept: nn.Module = module
    notes = None
    if applied_to(module).chosen.of("compression"):
        kept = deployed_network(module)
        notes = {STRUCTURE: json.dumps(describe_modules(kept, module))}
    save_file({k: v.detach().contiguous().clone() for k, v in kept.state_dict().items() if isinstance(v, Tensor)}, path, notes)


def take_up(module: Tuned, path: Path) -> bool:
    """Give the module the weights of a file; whether they were those of a compressed network.

    Raises:
        BadInput: they do not fit, or what they need is not installed.
    """
    structure = structure_of(path)
    if structure is None:
        weights, own = load_file(path), module.state_dict().keys()
        if isinstance(module, Net):  # which may be without its loss, once it is trained
            weights = {k: v for k, v in weights.items() if k in own or k.startswith("model.")}
        module.load_state_dict(weights)
        return False
    try:
        deploy(module, restore(structure, load_file(path), module))
    except (ImportError, ValueError) as error:
        raise BadInput(f"{path} cannot be taken up: {error}") from error
    return True


def structure_of(path: Path) -> dict[str, Any] | None:
    """The structure that a file of weights carries, where they are those of a compressed network."""
    with safe_open(path, framework="pt") as file:
        notes = file.metadata() or {}
    return json.loads(notes[STRUCTURE]) if STRUCTURE in notes else None
