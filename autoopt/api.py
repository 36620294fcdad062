"""autoopt from Python: what a script or a notebook calls."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning.pytorch as L
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from autoopt.config import Tree, compose, is_live
from autoopt.errors import BadInput
from autoopt.live import Made, path_of
from autoopt.module import Chosen, Net, apply_to, call, prepare_model
from autoopt.recipe import Recipe
from autoopt.space import Space
from autoopt.study import search as study
from autoopt.study import train as training
from autoopt.study.export import described
from autoopt.study.stored import recipe_overrides
from autoopt.study.verdict import Verdict
from autoopt.task import Scale, Task
from autoopt.terminal import Progress, closing


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
    """Train one recipe to its end, measure it on the test split and export it.

    Raises:
        BadInput: with a line for every problem; nothing was started.
        NotConcluded: the training or its measurement failed.
    """
    with Progress(quiet=quiet) as screen:
        return training.train(tree_of(overrides, model, data), screen)


def tree_of(overrides: Sequence[str], model: Made | None, data: Made | None) -> Tree:
    live = {"model": model, "data": data}
    named = [f"{slot}={path_of(slot, made)}" for slot, made in live.items() if made is not None]
    tree = compose([*named, *overrides])
    if is_live(tree) and torch.cuda.is_initialized():
        problem = "cannot be handed over to other processes, since CUDA is in use in this one already"
        raise BadInput(f"{' and '.join(named)} {problem}; write it into a file and name it by an import path: model=my_file:Net")
    return tree


def apply(
    recipe: Recipe | str | Path, module: L.LightningModule, total_steps: int | None = None
) -> tuple[L.LightningModule, list[L.Callback], dict[str, Any]]:
    """Put a recipe on a LightningModule in one's own script.

    Args:
        recipe: a recipe, a recipe file, a study's name (its best) or `NAME/TRIAL`.
        module: changed in place: its class is replaced by a subclass of it.
        total_steps: optimizer steps of the whole training, which some regularizers ask for.

    Returns:
        the module, the callbacks and the Trainer arguments: `Trainer(callbacks=callbacks, **arguments).fit(module, …)`.

    Raises:
        BadInput: the recipe cannot be had, or a regularizer asks for `total_steps`; the module is as it was.
    """
    point = recipe if isinstance(recipe, Recipe) else Space(compose(recipe_overrides(str(recipe), None))).baseline()
    chosen = Chosen(point)
    if total_steps is None and chosen.asks("regularizer", "total_steps"):
        names = ", ".join(t.name for t, _ in chosen.of("regularizer") if "total_steps" in t.asks)
        raise BadInput(f"regularizer={names} asks for total_steps: say apply(…, total_steps=…), the optimizer steps of the whole training")
    prepare_model(chosen, module, None)
    tuned = apply_to(module, chosen, None)
    return tuned, chosen.callbacks(tuned, total_steps or 0, None), chosen.one("device", model=tuned)


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
        BadInput: a file is missing or is not as it was written; a technique of its recipe that shapes the model is not
            installed; the weights do not fit it; a compression looks at training batches.
        FileNotFoundError: there is no such folder.
    """
    folder = Path(path)
    card = described(folder)
    scales = {side: None if card[side] is None else Scale(*map(torch.tensor, card[side].values())) for side in ("inputs", "targets")}
    task = Task(card["kind"], tuple(card["input_shape"]), card["outputs"], tuple(card["classes"]))
    chosen = Chosen(Recipe({**card["recipe"], **{slot: {} for slot in TRAINING}}))
    for compression, _ in chosen.of("compression"):
        if compression.asks != ("model",):
            raise BadInput(f"{folder}: compression/{compression.name} looks at training batches, which are not kept with a model")
    model = trained(chosen, task, folder)
    for compression, values in chosen.of("compression"):
        model = call(compression, {"model": model}, values)
    return Deployed(model, scales["inputs"], scales["targets"], task.classes).eval()


def trained(chosen: Chosen, task: Task, folder: Path) -> nn.Module:
    """The model as it was after its training, without what was around it.

    Raises:
        BadInput: the weights do not fit it.
    """
    model: nn.Module = chosen.one("model", task=task)
    prepare_model(chosen, model, None)
    lightning = isinstance(model, L.LightningModule)
    module = model if lightning else Net(model, nn.Identity(), chosen, task, None)
    chosen.callbacks(module, 1, None)
    try:
        weights = load_file(folder / "model.safetensors")
        module.load_state_dict({k: v for k, v in weights.items() if lightning or k.startswith("model.")})  # without the loss's
    except (RuntimeError, SafetensorError) as error:
        raise BadInput(f"{folder}: the weights do not fit the model: {str(error).splitlines()[-1].strip()}") from error
    return module.model if isinstance(module, Net) else module
