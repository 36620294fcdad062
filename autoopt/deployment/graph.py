"""The model of an exported folder as an ONNX graph."""

from pathlib import Path

import torch
from torch import Tensor

from autoopt.catalogue import installation
from autoopt.data.task import Task
from autoopt.deployment.deployed import Deployed
from autoopt.deployment.load import load
from autoopt.deployment.packed import Compact, unpacked
from autoopt.errors import BadInput, first_line

TRACED = 4
"""How many examples a graph is traced with."""


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
