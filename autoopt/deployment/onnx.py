"""A network as an ONNX graph, and a module that runs a graph in ONNX Runtime. Needs the extra `onnx`."""

import logging
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import onnx
import onnxruntime
import onnxscript  # noqa: F401 - torch's exporter imports it seconds later; a missing package fails here
import torch
from torch import Tensor, nn

from autoopt.deployment.packed import unpacked
from autoopt.process.system import without_gpus

GRAPH_TOLERANCE = 1e-3
EXPORTER = logging.getLogger("torch.onnx._internal.exporter._registration")


class OnnxModel(nn.Module):
    """A graph that ONNX Runtime runs on the CPU, in as many threads as torch has.

    The graph is a buffer, so that it is stored, counted and copied like weights.

    Args:
        graph: a serialised ONNX model with one input and one output, whose first dimension is the batch.
        parameters: how many weights the graph holds.
    """

    _session: onnxruntime.InferenceSession | None = None

    def __init__(self, graph: bytes, parameters: int):
        super().__init__()
        self.stored_parameters = parameters
        self.register_buffer("graph", torch.frombuffer(bytearray(graph), dtype=torch.uint8))

    def forward(self, inputs: Tensor) -> Tensor:
        """The outputs of the graph, on the device of the inputs."""
        if self._session is None:
            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads = torch.get_num_threads()
            options.log_severity_level = 3
            self._session = onnxruntime.InferenceSession(self.serialised(), options, providers=["CPUExecutionProvider"])
        (name,) = (node.name for node in self._session.get_inputs())
        (outputs,) = self._session.run(None, {name: inputs.detach().cpu().numpy()})
        return torch.from_numpy(np.asarray(outputs)).to(inputs.device)

    def serialised(self) -> bytes:
        """The graph as the bytes of an `.onnx` file."""
        return bytes(self.get_buffer("graph").cpu().numpy().tobytes())

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in self.__dict__.items() if key != "_session"}


def in_float32(model: nn.Module, batches: Iterable[Any]) -> OnnxModel:
    """A network as an ONNX graph in float32.

    Args:
        batches: (inputs, targets) of training; the first is used to trace the network.
    """
    plain = unpacked(model).cpu()
    return OnnxModel(to_onnx(plain, calibration_inputs(next(iter(batches)))), sum(p.numel() for p in plain.parameters()))


def calibration_inputs(batch: Any) -> Tensor:
    inputs: Tensor = batch[0].detach().cpu()
    return inputs


def chain_graphs(*graphs: bytes) -> bytes:
    """One graph from several with one input and one output, each of which takes the output of the one before it."""
    whole = onnx.compose.add_prefix(onnx.load_from_string(graphs[0]), "0/")
    for number, graph in enumerate(graphs[1:], 1):
        following = onnx.compose.add_prefix(onnx.load_from_string(graph), f"{number}/")
        following.ir_version = whole.ir_version = max(following.ir_version, whole.ir_version)
        link = (whole.graph.output[0].name, following.graph.input[0].name)
        whole = onnx.compose.merge_models(whole, following, io_map=[link])
    return whole.SerializeToString()


def to_onnx(model: nn.Module, inputs: Tensor) -> bytes:
    """A network in evaluation mode as an ONNX graph for batches of any size.

    Args:
        inputs: a batch `(N, …)` of two examples or more.

    Raises:
        ValueError: the graph and the network give different outputs for the batch.
    """
    model = model.eval()
    if isinstance(model, OnnxModel):
        return model.serialised()
    with torch.no_grad():
        expected = model(inputs)  # before the export, so that packed weights are unpacked
    batch = {0: torch.export.Dim("batch", min=1)}
    with quiet_export(), without_gpus():  # it keeps the state of CUDA's random generator
        program = torch.onnx.export(model, (inputs,), dynamo=True, dynamic_shapes=(batch,), verbose=False, external_data=False)
    assert program is not None
    graph = program.model_proto.SerializeToString()
    outputs = OnnxModel(graph, 0)(inputs)
    if expected.shape != outputs.shape or not torch.allclose(expected, outputs, rtol=GRAPH_TOLERANCE, atol=GRAPH_TOLERANCE):
        raise ValueError(f"the ONNX graph gives other outputs than the network, by up to {(expected - outputs).abs().max():.2g}")
    return graph


@contextmanager
def quiet_export() -> Iterator[None]:
    """Hide the warnings of torch's exporter, such as that torchvision is missing."""
    level = EXPORTER.level
    EXPORTER.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        EXPORTER.setLevel(level)
