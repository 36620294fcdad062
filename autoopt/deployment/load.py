"""What is used after a search: the trained model of an exported folder, as a module and as an ONNX graph."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import lightning.pytorch as L
import numpy as np
import pandas
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from autoopt.data import table, words
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
        if "values" in self.encoding:
            return pictures.encode_images(examples, self.task)
        if isinstance(examples, Tensor):
            return self.checked(examples / 255 if examples.dtype == torch.uint8 else examples)
        if "columns" in self.encoding:
            return table.encode_columns(frame_of(examples), self.encoding["columns"])
        if "vocabulary" in self.encoding:
            return words.encode_texts([words.words(text) for text in texts_of(examples)], **self.encoding)
        return self.encode(torch.as_tensor(np.asarray(examples)))

    def checked(self, inputs: Tensor) -> Tensor:
        """Inputs as they are.

        Raises:
            BadInput: these are rows of numbers, but not as many as the model takes.
        """
        shape = self.task.input_shape
        if len(shape) == 1 and inputs.shape[1:] != shape:
            raise BadInput(f"predict: expected {shape[0]} numbers in each row, got the shape {tuple(inputs.shape)}")
        return inputs

    @torch.no_grad()
    def predict(self, examples: Any) -> list[str] | Tensor:
        """What `encode` takes as the names of the classes, int64 `(N,)` where these have none, or values `(N, D)`."""
        device = next((t.device for t in (*self.parameters(), *self.buffers())), torch.device("cpu"))
        outputs = self(self.encode(examples).to(device))
        if self.task.kind != "classification":
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
        raise BadInput(f"predict: expected a DataFrame or a list of rows, got {type(examples).__name__}: {error}") from error


def texts_of(examples: Any) -> list[str]:
    """Texts as a list.

    Raises:
        BadInput: it is one text, a table, or holds something else.
    """
    if isinstance(examples, str | pandas.DataFrame) or not isinstance(examples, Iterable):
        raise BadInput(f"predict: expected a list of texts, got {type(examples).__name__}")
    found = list(examples)
    if wrong := [(number, text) for number, text in enumerate(found, 1) if not isinstance(text, str)]:
        raise BadInput(f"predict: expected texts, but number {wrong[0][0]} is {wrong[0][1]!r:.60}")
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
        take_up(own, weights)
    except (RuntimeError, SafetensorError) as error:
        raise BadInput(f"{weights.parent}: the weights do not fit the model: {str(error).splitlines()[-1].strip()}") from error
    return as_written(deployed_network(own))


def write_onnx(folder: Path) -> Path:
    """Write an exported folder's model as `model.onnx`, raw inputs to outputs in the units of the data, and check it.

    Raises:
        BadInput: the extra is not installed, or there is no such graph.
    """
    try:
        from autoopt.deployment.onnx import OnnxModel, chain_graphs, to_onnx  # an extra
    except ImportError as error:
        raise BadInput(f"model.onnx needs {error.name}: pip install 'autoopt[onnx]'") from error
    model = load(folder)
    inputs = example_inputs(card_task(read_card(folder)))
    try:
        if isinstance(model.model, OnnxModel):  # what runs elsewhere cannot be traced, but put in a row
            graphs = []
            for stage in model.stages():
                graphs.append(to_onnx(stage, inputs))
                inputs = stage(inputs)
            graph = chain_graphs(*graphs)
        else:
            graph = to_onnx(model, inputs)
    except Exception as error:
        raise BadInput(f"{folder} cannot be written as ONNX: {type(error).__name__}: {str(error).strip().splitlines()[0]}") from error
    path = folder / "model.onnx"
    draft = path.with_suffix(".new")
    draft.write_bytes(graph)
    return draft.replace(path)


def example_inputs(task: Task, count: int = 4) -> Tensor:
    """Random inputs of the task's shape, as a stranger would give them; rows of a table are in double precision, as `encode` makes them."""
    generator = torch.Generator().manual_seed(0)
    if task.tokens:
        return torch.randint(1, task.tokens, (count, *task.input_shape), generator=generator)
    values = torch.rand(count, *task.input_shape, generator=generator)
    values = values if task.inputs is None else task.inputs.invert(values)
    for column, levels in zip(range(-len(task.categories), 0), task.categories, strict=True):
        values[:, column] = torch.randint(levels, (count,), generator=generator).to(values)
    return values.double() if "columns" in task.encoding else values.float()
