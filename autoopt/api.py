"""autoopt from Python: what a script or a notebook calls."""

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import lightning.pytorch as L
import torch
from safetensors.torch import load_file
from torch import nn

from autoopt import technique
from autoopt.config import Tree, compose
from autoopt.module import Chosen, apply_to, call, prepare_model
from autoopt.recipe import Recipe
from autoopt.space import Space
from autoopt.study import search as study
from autoopt.study import train as training
from autoopt.study.stored import recipe_overrides
from autoopt.study.verdict import Verdict
from autoopt.task import Scale, Task
from autoopt.terminal import Progress, closing

Made = type | Callable[..., Any]


def search(overrides: Sequence[str] = (), *, model: Made | None = None, data: Made | None = None, quiet: bool = False) -> Verdict:
    """Search for a better recipe; the same call resumes.

    Args:
        overrides: as on the command line, such as `["data=digits", "optimizer=adamw,sgd"]`.
        model: a class or function that makes an `nn.Module` or a `LightningModule`.
        data: a class or function that makes a `LightningDataModule` or `autoopt.task.Examples`.

    Raises:
        BadInput: with a line for every problem; nothing was started.
    """
    with Progress(quiet=quiet) as screen:
        verdict = study.search(tree_of(overrides, model, data), screen)
    closing(verdict, screen.say)
    return verdict


def train(overrides: Sequence[str] = (), *, model: Made | None = None, data: Made | None = None, quiet: bool = False) -> training.Trained:
    """Train one recipe to its end, measure it on the test split and export it."""
    with Progress(quiet=quiet) as screen:
        return training.train(tree_of(overrides, model, data), screen)


def tree_of(overrides: Sequence[str], model: Made | None, data: Made | None) -> Tree:
    live = {"model": model, "data": data}
    named = [f"{slot}={path_of(slot, made)}" for slot, made in live.items() if made is not None]
    return compose([*named, *overrides])


def path_of(slot: str, made: Made) -> str:
    """The import path of a class or function; one that cannot be imported is kept for the processes forked from this one.

    One without a name of its own (a lambda, a partial) goes by its slot's.
    """
    module, name = getattr(made, "__module__", "__main__"), getattr(made, "__qualname__", "")
    if module != "__main__" and getattr(sys.modules.get(module), name, None) is made:
        return f"{module}:{name}"
    word = name.rpartition(".")[2]
    path = f"__main__:{word if word.isidentifier() else slot}"
    technique.LIVE[path] = made
    technique.find.cache_clear()
    return path


def apply(recipe: Recipe | str | Path, module: L.LightningModule) -> tuple[L.LightningModule, list[L.Callback], dict[str, Any]]:
    """Put a recipe on a LightningModule in one's own script.

    Args:
        recipe: a recipe, a recipe file, a study's name (its best) or `NAME/TRIAL`.
        module: changed in place: its class is replaced by a subclass of it.

    Returns:
        the module, the callbacks and the Trainer arguments: `Trainer(callbacks=callbacks, **arguments).fit(module, …)`.
    """
    point = recipe if isinstance(recipe, Recipe) else Space(compose(recipe_overrides(str(recipe), None))).baseline()
    chosen = Chosen(point)
    prepare_model(chosen, module, None)
    tuned = apply_to(module, chosen, None)
    made = chosen.build("regularizer", model=tuned, total_steps=point.epochs, objective=None)
    return tuned, [c for c in made if c is not None], chosen.one("device", model=tuned)


TRAINING = ("data", "initializer", "augmentation", "loss", "optimizer", "schedule", "device")
"""The slots that a trained model can be used without."""


class Deployed(nn.Module):
    """A trained model between raw inputs and outputs in the units of the data.

    `classes` are the class names, in the order of the outputs.
    """

    def __init__(self, model: nn.Module, inputs: Scale | None, targets: Scale | None, classes: tuple[str, ...]):
        super().__init__()
        self.model, self.inputs, self.targets, self.classes = model, inputs, targets, classes

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        outputs = self.model(inputs if self.inputs is None else self.inputs.apply(inputs))
        return outputs if self.targets is None else self.targets.invert(outputs)


def load(path: str | Path) -> nn.Module:
    """The trained module of a `best/` folder, in evaluation mode.

    Raises:
        BadInput: a technique of its recipe that shapes the model is not installed.
        FileNotFoundError: there is no such folder.
    """
    folder = Path(path)
    card = json.loads((folder / "model.json").read_text())
    scales = {side: None if card[side] is None else Scale(*map(torch.tensor, card[side].values())) for side in ("inputs", "targets")}
    task = Task(card["kind"], tuple(card["input_shape"]), card["outputs"], tuple(card["classes"]))
    chosen = Chosen(Recipe({**card["recipe"], **{slot: {} for slot in TRAINING}}))
    model = chosen.one("model", task=task)
    prepare_model(chosen, model, None)
    chosen.build("regularizer", model=model, total_steps=1, objective=None)
    weights = load_file(folder / "model.safetensors")
    if not isinstance(model, L.LightningModule):  # it was trained inside our own
        weights = {key.removeprefix("model."): tensor for key, tensor in weights.items() if key.startswith("model.")}
    model.load_state_dict(weights)
    for compression, values in chosen.of("compression"):
        model = call(compression, {"model": model}, values)
    return Deployed(model, scales["inputs"], scales["targets"], task.classes).eval()
