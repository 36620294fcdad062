"""What is used after a search: the trained model of an exported folder, as a module and as an ONNX graph."""

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import lightning.pytorch as L
import numpy as np
import pandas
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from autoopt.catalogue import installation
from autoopt.data import table, words
from autoopt.data.feed import overridden
from autoopt.data.scale import Scale
from autoopt.data.task import Task
from autoopt.deployment import pictures
from autoopt.deployment.card import read_card
from autoopt.deployment.compress import deployed_network, take_up
from autoopt.errors import BadInput
from autoopt.module.applied import Applied
from autoopt.module.build import apply_to, as_written, built_model, prepare_model
from autoopt.module.chosen import Chosen
from autoopt.module.net import Net
from autoopt.recipe import Recipe

TRAINING_SLOTS = ("data", "initializer", "augmentation", "loss", "optimizer", "schedule", "device", "compression")
"""The slots that a trained model can be used without; of a compressed one the structure is kept."""


class Deployed(nn.Module):
    """A trained model between raw inputs and outputs in the units of the data.

    `classes` are the class names, in the order of the outputs.
    """

    def __init__(self, model: nn.Module, task: Task):
        super().__init__()
        self.model, self.task = model, task
        self.inputs, self.targets, self.classes, self.encoding = task.inputs, task.targets, task.classes, task.encoding

    def forward(self, inputs: Tensor) -> Tensor:
        outputs = self.model(single(inputs) if self.inputs is None else self.inputs.apply(inputs))
        return outputs if self.targets is None else self.targets.invert(outputs)

    def encode(self, examples: Any) -> Tensor:
        """Examples as their source has them as inputs of the model.

        Args:
            examples: rows of a table (a `pandas.DataFrame`, or what makes one) with the columns that it was trained on; texts;
                images (`autoopt.deployment.pictures.encode_images`); or what are inputs already.

        Raises:
            BadInput: a column is missing, a value cannot be read as what training has seen, or the images are not such as those.
        """
        try:
            return self.encoded(examples)
        except BadInput as error:
            raise BadInput(*(f"predict: {problem.removeprefix('data: ')}" for problem in error.problems)) from error

    def encoded(self, examples: Any) -> Tensor:
        """The same, with errors that do not say who asks."""
        if "values" in self.encoding:
            return pictures.encode_images(examples, self.task)
        if isinstance(examples, Tensor):
            return self.checked(examples / 255 if examples.dtype == torch.uint8 else examples)
        if "columns" in self.encoding:
            return table.encode_columns(frame_of(examples), self.encoding["columns"])
        if "vocabulary" in self.encoding:
            return words.encode_texts([words.words(text) for text in texts_of(examples)], **self.encoding)
        numbers = np.asarray(examples)
        if numbers.dtype.kind not in "biuf":
            raise BadInput(f"expected numbers, got {type(examples).__name__}; call `.model` with what its forward takes")
        return self.encoded(torch.as_tensor(numbers))

    def checked(self, inputs: Tensor) -> Tensor:
        """Inputs as they are.

        Raises:
            BadInput: these are rows of numbers, but not as many as the model takes.
        """
        shape = self.task.input_shape
        if len(shape) == 1 and inputs.shape[1:] != shape:
            raise BadInput(f"expected {shape[0]} numbers in each row, got the shape {tuple(inputs.shape)}")
        return inputs

    @torch.no_grad()
    def predict(self, examples: Any) -> list[str] | Tensor:
        """What `encode` takes as the names of the classes, int64 `(N,)` where these have none, or values `(N, D)`.

        A LightningModule with outputs of another form, such as a decoder of images, gives these.
        """
        device = next((t.device for t in (*self.parameters(), *self.buffers())), torch.device("cpu"))
        outputs = self(self.encode(examples).to(device))
        if self.task.kind != "classification" or not isinstance(outputs, Tensor) or outputs.ndim != 2:
            return outputs
        found = outputs.argmax(1)
        return [self.classes[number] for number in found.tolist()] if self.classes else found

    def stages(self) -> list[nn.Module]:
        """The same as modules in a row."""
        before = [] if self.inputs is None else [Scaled(self.inputs)]
        return [*before, self.model, *([] if self.targets is None else [Scaled(self.targets, inverted=True)])]


class Scaled(nn.Module):
    """A scale, applied or inverted."""

    def __init__(self, scale: Scale, inverted: bool = False):
        super().__init__()
        self.scale, self.inverted = scale, inverted

    def forward(self, values: Tensor) -> Tensor:
        return self.scale.invert(values) if self.inverted else self.scale.apply(values)


def single(inputs: Tensor) -> Tensor:
    """In single precision, as a network computes; indices stay whole."""
    return inputs.float() if inputs.is_floating_point() else inputs


def frame_of(examples: Any) -> pandas.DataFrame:
    """Rows of a table as a frame.

    Raises:
        BadInput: they are none.
    """
    try:
        return pandas.DataFrame(examples)
    except (ValueError, TypeError) as error:
        raise BadInput(f"expected a DataFrame or a list of rows, got {type(examples).__name__}: {error}") from error


def texts_of(examples: Any) -> list[str]:
    """Texts as a list.

    Raises:
        BadInput: it is one text, a table, or holds something else.
    """
    if isinstance(examples, str | pandas.DataFrame) or not isinstance(examples, Iterable):
        raise BadInput(f"expected a list of texts, got {type(examples).__name__}")
    found = list(examples)
    if wrong := [(number, text) for number, text in enumerate(found, 1) if not isinstance(text, str)]:
        raise BadInput(f"expected texts, but number {wrong[0][0]} is {wrong[0][1]!r:.60}")
    return found


def load(path: str | Path) -> Deployed:
    """The trained module of a `best/` folder, in evaluation mode.

    Raises:
        BadInput: a file is missing or is not as it was written; a technique of its recipe that shapes the model, or what
            its compressed form runs in, is not installed; the weights do not fit it.
        FileNotFoundError: there is no such folder.
    """
    folder = Path(path)
    card = read_card(folder)
    task = card_task(card)
    chosen = Chosen(Recipe({**card["recipe"], **{slot: {} for slot in TRAINING_SLOTS}}))
    return Deployed(trained(chosen, task, folder / "model.safetensors"), task).eval()


def card_task(card: dict[str, Any]) -> Task:
    """What a model has to know of the task that it was trained on."""
    inputs, targets = (None if card[side] is None else Scale.read(card[side]) for side in ("inputs", "targets"))
    encoding = {"tokens": card["tokens"], "categories": tuple(card["categories"]), "encoding": card["encoding"]}
    shape = tuple(card["input_shape"])
    return Task(card["kind"], shape, card["outputs"], tuple(card["classes"]), inputs=inputs, targets=targets, **encoding)


def trained(chosen: Chosen, task: Task, weights: Path) -> nn.Module:
    """The model as it was after its training, without what was around it.

    Raises:
        BadInput: the weights do not fit it.
    """
    model: nn.Module = built_model(*chosen.of("model")[0], task)
    prepare_model(chosen, model, None)
    own = apply_to(model, chosen, None) if isinstance(model, L.LightningModule) else Net(model, nn.Identity(), Applied(chosen), task)
    chosen.callbacks(own, 1, None)
    try:
        if not isinstance(own, Net) and overridden("setup", own, L.LightningModule):
            make_late_layers(own, weights)
        take_up(own, weights)
    except (RuntimeError, SafetensorError) as error:
        raise BadInput(f"{weights.parent}: the weights do not fit the model: {str(error).splitlines()[-1].strip()}") from error
    return as_written(deployed_network(own))


def make_late_layers(module: L.LightningModule, weights: Path) -> None:
    """Make the layers that a module's author makes in `setup`, where the weights have them."""
    parts = {name for name, _ in module.named_modules()}
    with safe_open(weights, framework="pt") as file:
        late = [name for name in file.keys() if name.rpartition(".")[0] not in parts]  # noqa: SIM118 - no mapping
    if late:
        with suppress(Exception):  # it may need a Trainer: then the weights do not fit
            module.setup("fit")


def write_onnx(folder: Path) -> Path:
    """Write an exported folder's model as `model.onnx`, raw inputs to outputs in the units of the data, and check it.

    Raises:
        BadInput: the extra is not installed, or there is no such graph.
    """
    try:
        from autoopt.deployment.onnx import OnnxModel, chain_graphs, to_onnx  # an extra
    except ImportError as error:
        raise BadInput(f"model.onnx needs {error.name}: {installation('autoopt', 'onnx')}") from error
    model = load(folder)
    try:
        inputs = inputs_for(model)
        if isinstance(model.model, OnnxModel):  # what runs elsewhere cannot be traced, but put in a row
            graphs = []
            for stage in model.stages():
                graphs.append(to_onnx(stage, inputs))
                inputs = stage(inputs)
            graph = chain_graphs(*graphs)
        else:
            graph = to_onnx(model, inputs)
    except Exception as error:
        said = next(iter(str(error).strip().splitlines()), "")
        raise BadInput(said if isinstance(error, BadInput) else f"{type(error).__name__}: {said}") from error
    path = folder / "model.onnx"
    draft = path.with_suffix(".new")
    draft.write_bytes(graph)
    return draft.replace(path)


def inputs_for(model: Deployed) -> Tensor:
    """Inputs to trace a model with: a LightningModule's own `example_input_array`, else such as its task has.

    Raises:
        BadInput: there are none, or they are not one tensor.
    """
    own = getattr(model.model, "example_input_array", None)
    if own is None and model.task.kind == "unknown":
        raise BadInput(f"its inputs are not known; set self.example_input_array in {type(model.model).__name__}")
    if own is None:
        return example_inputs(model.task)
    own = own[0] if isinstance(own, tuple | list) and len(own) == 1 else own
    if not isinstance(own, Tensor):
        raise BadInput(f"its example_input_array is a {type(own).__name__}; a graph is written for one tensor")
    return torch.cat([own, own]) if len(own) == 1 else own  # a batch of one would be fixed to one


def example_inputs(task: Task, count: int = 4) -> Tensor:
    """Random inputs as `Deployed.encode` makes them: of the task's shape, rows of a table in double precision."""
    generator = torch.Generator().manual_seed(0)
    if task.tokens:
        return torch.randint(1, task.tokens, (count, *task.input_shape), generator=generator)
    values = torch.rand(count, *task.input_shape, generator=generator)
    values = values if task.inputs is None else task.inputs.invert(values)
    for column, levels in zip(range(-len(task.categories), 0), task.categories, strict=True):
        values[:, column] = torch.randint(levels, (count,), generator=generator).to(values)
    return values.double() if "columns" in task.encoding else values.float()
