"""The trained model of an exported folder."""

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import lightning.pytorch as L
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from autoopt.config import allow, paths_in_recipe, refuse_unnamed
from autoopt.data.scale import Scale
from autoopt.data.task import Task
from autoopt.deployment.card import read_card, shaping
from autoopt.deployment.compress import deployed_network, take_up
from autoopt.deployment.deployed import Deployed
from autoopt.errors import BadInput, TechniqueError, last_line, printable, summary
from autoopt.live import Factory
from autoopt.module.applied import Applied
from autoopt.module.build import apply_to, as_written, built_model, prepare_model
from autoopt.module.chosen import Chosen
from autoopt.module.hooks import overridden
from autoopt.module.net import Net
from autoopt.recipe import Recipe


def load(path: str | Path, *, trust: Sequence[str | Factory] = ()) -> Deployed:
    """The trained module of a `best/` folder, in evaluation mode.

    Args:
        trust: the code in the folder's files that may be imported: classes and functions, or import paths such as `my_models:Net`.

    Raises:
        BadInput: a file is missing or was changed, or names code that you have not named; a technique that shapes the model, or a
            package that its compressed form needs, is not installed; the weights do not fit the model.
        FileNotFoundError: the folder does not exist.
    """
    folder = Path(path)
    card = read_card(folder)
    allow(*trust)
    try:
        recipe, task = Recipe(shaping(card["recipe"])), card_task(card)
        refuse_unnamed(f"{folder}/model.json", paths_in_recipe(recipe.tree))
        chosen = Chosen(recipe)
        chosen.of("model")[0]
    except (TypeError, KeyError, ValueError, AttributeError, IndexError) as error:
        raise BadInput(f"{folder}/model.json is not as it was written ({summary(error)})") from error
    model = trained(chosen, task, folder / "model.safetensors")
    return Deployed(model, task_of_forward(model, task), logits=not card["lightning"]).eval()


def task_of_forward(model: nn.Module, task: Task) -> Task:
    """The task, as far as the model's `forward` takes its inputs.

    The `example_input_array` of a LightningModule may say that it does not: a generator takes noise where its batches hold images.
    Arrays of one rank may differ in their sizes, as those of images do; rows may not.
    """
    array = getattr(model, "example_input_array", None)
    array = array[0] if isinstance(array, tuple | list) and len(array) == 1 else array
    if not isinstance(array, Tensor) or task.kind == "unknown":
        return task
    shape = tuple(array.shape[1:])
    alike = shape == task.input_shape if len(shape) == 1 else len(shape) == len(task.input_shape)
    return task if alike else Task("unknown")


def card_task(card: dict[str, Any]) -> Task:
    """The task that a model was trained on, without its examples."""
    inputs, targets = (None if card[side] is None else Scale.read(card[side]) for side in ("inputs", "targets"))
    encoding = {"tokens": card["tokens"], "categories": tuple(card["categories"]), "encoding": card["encoding"]}
    shape = tuple(card["input_shape"])
    return Task(card["kind"], shape, card["outputs"], tuple(card["classes"]), inputs=inputs, targets=targets, **encoding)


def trained(chosen: Chosen, task: Task, weights: Path) -> nn.Module:
    """The trained model, without the parts that only training needs.

    Raises:
        BadInput: the weights do not fit the model, or a technique cannot make its part of it.
    """
    try:
        model: nn.Module = built_model(*chosen.of("model")[0], task)
        prepare_model(chosen, model, None, task)
        module = apply_to(model, chosen, None) if isinstance(model, L.LightningModule) else Net(model, nn.Identity(), Applied(chosen), task)
        chosen.callbacks(module, 1, None)
        if not isinstance(module, Net) and overridden("setup", module):
            make_late_layers(module, weights)
        take_up(module, weights)
    except TechniqueError as error:
        raise BadInput(f"{weights.parent}: {error}") from error
    except (RuntimeError, SafetensorError) as error:
        reason = printable(last_line(error), 300)
        raise BadInput(f"{weights.parent}: the weights do not fit the model: {reason}") from error
    return as_written(deployed_network(module))


def make_late_layers(module: L.LightningModule, weights: Path) -> None:
    """Call a module's `setup` if the weights have layers that the module lacks."""
    parts = {name for name, _ in module.named_modules()}
    with safe_open(weights, framework="pt") as file:
        late = [name for name in file.keys() if name.rpartition(".")[0] not in parts]  # noqa: SIM118 - not a mapping
    if late:
        with suppress(Exception):  # a setup that needs a Trainer; the weights then do not fit
            module.setup("fit")
