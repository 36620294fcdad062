"""The trained model of an exported folder, as a module and as an ONNX graph."""

from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from contextlib import suppress
from functools import partial
from itertools import compress
from pathlib import Path
from typing import Any

import lightning.pytorch as L
import numpy as np
import pandas
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from autoopt.catalogue import installation
from autoopt.config import allow, paths_in_recipe, refuse_unnamed
from autoopt.data import table, words
from autoopt.data.rows import as_tensor
from autoopt.data.scale import Scale
from autoopt.data.task import Task
from autoopt.deployment import pictures
from autoopt.deployment.card import read_card, shaping
from autoopt.deployment.compress import deployed_network, take_up
from autoopt.deployment.packed import Compact, unpacked
from autoopt.errors import BadInput, TechniqueError, first_line, printable, summary
from autoopt.live import Factory
from autoopt.module.applied import Applied
from autoopt.module.build import apply_to, as_written, built_model, prepare_model
from autoopt.module.chosen import Chosen
from autoopt.module.hooks import overridden
from autoopt.module.net import Net
from autoopt.recipe import Recipe

PROBABILITIES: Mapping[str, Callable[[Tensor], Tensor]] = {"classification": partial(torch.softmax, dim=1), "multilabel": torch.sigmoid}
"""Of logits `(N, K)`, by the kind of the task."""
TRACED = 4
"""How many examples a graph is traced with."""


class Deployed(nn.Module):
    """A trained model that takes inputs before scaling and returns outputs in the units of the data.

    Args:
        model: the trained network.
        task: what it was trained on: its scales, its encoding, and its `classes`, the names in the order of the outputs.
        logits: classes and labels have logits as outputs; those of a LightningModule may be anything.
    """

    def __init__(self, model: nn.Module, task: Task, logits: bool = True):
        super().__init__()
        self.model, self.task, self.logits = model, task, logits
        self.inputs, self.targets, self.classes, self.encoding = task.inputs, task.targets, task.classes, task.encoding

    def forward(self, inputs: Tensor) -> Tensor:
        floats = self.encoding.get("numbers") or inputs.is_floating_point()
        outputs = self.model(self.inputs.apply(inputs) if self.inputs is not None else inputs.float() if floats else inputs)
        return outputs if self.targets is None else self.targets.invert(outputs)

    def encode(self, examples: Any) -> Tensor:
        """Examples in the form of their source as inputs of the model.

        Args:
            examples: rows of a table (a `pandas.DataFrame`, or data for one) with the columns of the training data; texts;
                images (`autoopt.deployment.pictures.encode_images`); or inputs `(N, …)`.

        Raises:
            BadInput: a column is missing, a value cannot be read, or images or inputs have another shape or range than in
                training.
        """
        try:
            return self.encoded(examples)
        except BadInput as error:
            raise BadInput(*(f"predict: {problem.removeprefix('data: ')}" for problem in error.problems)) from error

    def encoded(self, examples: Any) -> Tensor:
        """As `encode`; errors do not name `predict`."""
        if np.ma.is_masked(examples):
            raise BadInput("the array has masked values; fill them")
        if "values" in self.encoding:
            return pictures.encode_images(examples, self.task)
        if isinstance(examples, Tensor):
            return self.checked(examples)
        if "columns" in self.encoding:
            return table.encode_columns(frame_of(examples), self.encoding["columns"])
        if "vocabulary" in self.encoding:
            return words.encode_texts([words.words(text) for text in texts_of(examples)], **self.encoding)
        numbers = np.asarray(examples)
        if numbers.dtype.kind not in "biuf":
            raise BadInput(f"expected numbers, got {type(examples).__name__}; call `.model` with what its forward takes")
        return self.checked(as_tensor(numbers))

    def checked(self, inputs: Tensor) -> Tensor:
        """The inputs, unchanged.

        Raises:
            BadInput: rows of numbers have another length than the model takes.
        """
        shape = self.task.input_shape
        if len(shape) == 1 and inputs.shape[1:] != shape:
            raise BadInput(f"expected {shape[0]} numbers in each row, got the shape {tuple(inputs.shape)}")
        return inputs

    def predict(self, examples: Any) -> list[str] | list[tuple[Any, ...]] | Tensor:
        """Predictions for examples as `encode` takes them.

        Returns:
            the class names, or class indices int64 `(N,)` if the classes have no names; or a tuple for each example with its labels,
            those with a probability above 0.5, by name or by index; or values `(N, D)`; or the outputs of a LightningModule as they
            are, if it was trained on labels, or if they are not scores `(N, K)` of classes.

        Raises:
            BadInput: as `encode`; the scores of an example are NaN, as those of inputs that hold NaN.
        """
        outputs = self.outputs_for(examples)
        if self.task.kind == "multilabel" and self.logits:
            refuse_nan(outputs)
            names = self.classes or range(outputs.shape[1])
            return [tuple(compress(names, row)) for row in (PROBABILITIES["multilabel"](outputs) > 0.5).tolist()]
        if self.task.kind != "classification" or not isinstance(outputs, Tensor) or outputs.ndim != 2:
            return outputs
        refuse_nan(outputs)
        indices = outputs.argmax(1)
        return [self.classes[index] for index in indices.tolist()] if self.classes else indices

    def predict_proba(self, examples: Any) -> Tensor:
        """The probability `(N, K)` of each class, which add up to 1, or of each label by itself, for examples as `encode` takes them.

        Raises:
            BadInput: the model gives values, or is a LightningModule, whose outputs may be anything.
        """
        if self.task.kind not in PROBABILITIES or not self.logits:
            seen = f"the task is {self.task.kind}" if self.logits else "a LightningModule's outputs are its author's"
            raise BadInput(f"predict_proba: {seen}, not the logits of classes or labels; call model(model.encode(examples))")
        return PROBABILITIES[self.task.kind](self.outputs_for(examples))

    @torch.no_grad()
    def outputs_for(self, examples: Any) -> Any:
        """The outputs for examples as `encode` takes them."""
        device = next((t.device for t in (*self.parameters(), *self.buffers())), torch.device("cpu"))
        return self(self.encode(examples).to(device))

    def stages(self) -> list[nn.Module]:
        """The steps of `forward` as modules."""
        before = [] if self.inputs is None else [Scaled(self.inputs)]
        return [*before, self.model, *([] if self.targets is None else [Scaled(self.targets, inverted=True)])]


def refuse_nan(scores: Tensor) -> None:
    """Raise BadInput where the scores `(N, K)` of an example name no class."""
    if (rows := scores.isnan().any(1)).any():
        raise BadInput(f"predict: the outputs for row {int(rows.int().argmax()) + 1} are NaN, which is no class; do its inputs hold NaN?")


class Scaled(nn.Module):
    """A scale, applied or inverted."""

    def __init__(self, scale: Scale, inverted: bool = False):
        super().__init__()
        self.scale, self.inverted = scale, inverted

    def forward(self, values: Tensor) -> Tensor:
        return self.scale.invert(values) if self.inverted else self.scale.apply(values)


def frame_of(examples: Any) -> pandas.DataFrame:
    """Rows of a table as a `pandas.DataFrame`.

    Raises:
        BadInput: the examples are not rows of a table.
    """
    try:
        return pandas.DataFrame(examples)
    except (ValueError, TypeError) as error:
        read = "; read the file first, as with pandas.read_csv" if isinstance(examples, str | Path) else f": {error}"
        raise BadInput(f"expected a DataFrame or a list of rows, got {type(examples).__name__}{read}") from error


def texts_of(examples: Any) -> list[str]:
    """Texts as a list.

    Raises:
        BadInput: the examples are no list but a single text, a table or the like, or are not all texts.
    """
    if isinstance(examples, str | Mapping | Set) or getattr(examples, "ndim", 1) != 1 or not isinstance(examples, Iterable):
        raise BadInput(f"expected a list of texts, got {type(examples).__name__}")
    texts = list(examples)
    if wrong := [(number, text) for number, text in enumerate(texts, 1) if not isinstance(text, str)]:
        raise BadInput(f"expected texts, but number {wrong[0][0]} is {wrong[0][1]!r:.60}")
    return texts


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
    return Deployed(trained(chosen, task, folder / "model.safetensors"), task, logits=not card["lightning"]).eval()


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
        reason = printable(str(error).splitlines()[-1].strip(), 300)
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


def write_onnx(folder: Path) -> Path:
    """Write the model of an exported folder as `model.onnx`, and check its outputs.

    The graph takes inputs before scaling and returns outputs in the units of the data. It computes in float32, with the weights of
    a model in 16 bits as they were rounded.

    Raises:
        BadInput: the extra `onnx` is not installed, or the model cannot be exported.
    """
    try:
        from autoopt.deployment.onnx import OnnxModel, chain_graphs, to_onnx  # needs an extra
    except ImportError as error:
        raise BadInput(f"model.onnx needs {error.name}: {installation('autoopt', 'onnx')}") from error
    model = load(folder)
    if isinstance(model.model, Compact):
        model.model = unpacked(model.model)
    try:
        inputs = inputs_for(model)
        if isinstance(model.model, OnnxModel):  # a graph cannot be traced, but it can be chained
            graphs = []
            for stage in model.stages():
                graphs.append(to_onnx(stage, inputs))
                inputs = stage(inputs)
            graph = chain_graphs(*graphs)
        else:
            graph = to_onnx(model, inputs)
    except Exception as error:
        raise in_a_line(error) from error
    path = folder / "model.onnx"
    draft = path.with_suffix(".new")
    draft.write_bytes(graph)
    return draft.replace(path)


def in_a_line(error: Exception) -> BadInput:
    """Why a model has no other form, of which others' code may tell at length: torch's exporter what to try next, and its cause why."""
    if type(error).__module__.startswith("torch.onnx") and isinstance(error.__cause__, Exception):
        error = error.__cause__
    return BadInput(first_line(error) if isinstance(error, BadInput) else f"{type(error).__name__}: {first_line(error)}")


def inputs_for(model: Deployed) -> Tensor:
    """Inputs to trace a model with: the `example_input_array` of a LightningModule, else random inputs of the task's shape.

    Raises:
        BadInput: the inputs are not known, or are not one tensor.
    """
    array = getattr(model.model, "example_input_array", None)
    if array is None and model.task.kind == "unknown":
        raise BadInput(f"its inputs are not known; set self.example_input_array in {type(model.model).__name__}")
    if array is None:
        return example_inputs(model.task)
    array = array[0] if isinstance(array, tuple | list) and len(array) == 1 else array
    if not isinstance(array, Tensor):
        raise BadInput(f"its example_input_array is a {type(array).__name__}; a graph is written for one tensor")
    return torch.cat([array, array]) if len(array) == 1 else array  # a traced batch of one would fix the batch size


def example_inputs(task: Task) -> Tensor:
    """Random inputs as `Deployed.encode` returns them, `(4, …)` in the task's shape; rows of a table are float64."""
    generator = torch.Generator().manual_seed(0)
    if task.tokens:
        return torch.randint(1, task.tokens, (TRACED, *task.input_shape), generator=generator)
    values = torch.rand(TRACED, *task.input_shape, generator=generator)
    values = values if task.inputs is None else task.inputs.invert(values)
    for column, levels in zip(range(-len(task.categories), 0), task.categories, strict=True):
        values[:, column] = torch.randint(levels, (TRACED,), generator=generator).to(values)
    return values.double() if "columns" in task.encoding else values.float()
