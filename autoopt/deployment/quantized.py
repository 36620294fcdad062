"""Networks in int8, as ONNX Runtime computes them. Needs the extra `onnx`."""

import io
import math
from ast import literal_eval
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import redirect_stdout
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnx
from onnx import ModelProto, TensorProto
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantType, quantize_static
from onnxruntime.quantization.operators.direct_q8 import QDQDirect8BitOp
from onnxruntime.quantization.registry import QDQRegistry
from onnxruntime.quantization.shape_inference import quant_pre_process
from torch import Tensor, nn

from autoopt.deployment.onnx import OnnxModel, calibration_inputs, in_float32
from autoopt.domain import Unavailable

CALIBRATION_EXAMPLES = 512
PERCENTILE = 99.9
INT8 = (TensorProto.INT8, TensorProto.UINT8)
OPERATORS = [kind for kind in QDQRegistry if not kind.endswith("Normalization")]  # norms are computed in float32 in any case
HISTOGRAM_LEVELS = 64
"""A weight is a whole number from -64 to 64: on x86 without VNNI, kernels add two products in 16 bits, which 8-bit weights overflow."""
METHODS = {"minmax": CalibrationMethod.MinMax, "percentile": CalibrationMethod.Percentile}
WEIGHTED = ("Conv", "Gemm", "MatMul")
ALIKE = [kind for kind, quantizer in QDQRegistry.items() if issubclass(quantizer, QDQDirect8BitOp)]
"""The operators whose output has the range of their input, such as MaxPool."""
SCOPES = "pkg.torch.onnx.name_scopes"
Ranges = Mapping[str, tuple[float, float]]
"""By the name of a layer or of a tensor: the least and the greatest value."""


def calibrated(model: nn.Module, batches: Iterable[Any], method: str, trained: Ranges | None = None) -> OnnxModel:
    """A network in int8; the ranges of its activations are fixed by the first 512 examples of the batches.

    Args:
        batches: (inputs, targets) of training, in random order.
        method: how a range is measured, a key of `METHODS`.
        trained: the ranges of the inputs of some layers, which are not measured.

    Raises:
        Unavailable: most of the weights are in layers that have no int8 form.
    """
    float32 = in_float32(model, batches)
    known = inputs_of_layers(onnx.load_from_string(float32.serialised()), trained or {})

    def quantize(source: Path, target: Path) -> None:
        ranges = with_sources(onnx.load(source), known)
        overrides = {name: [{"rmin": np.float32(low), "rmax": np.float32(high)}] for name, (low, high) in ranges.items()}
        extra = {"CalibPercentile": PERCENTILE, "WeightSymmetric": True, "TensorQuantOverrides": overrides}
        kinds = {"activation_type": QuantType.QUInt8, "weight_type": QuantType.QInt8, "op_types_to_quantize": OPERATORS}
        how = {"per_channel": True, "reduce_range": True, "calibrate_method": METHODS[method]}
        quantize_static(source, target, Reader(source, batches), extra_options=extra, **kinds, **how)

    return quantized(float32, quantize)


def inputs_of_layers(graph: ModelProto, ranges: Ranges) -> Ranges:
    """Ranges by layer as ranges by tensor: the first input of each node that computes with the layer's weight."""
    found = {}
    for node in graph.graph.node:
        scopes = [literal_eval(note.value) for note in node.metadata_props if note.key == SCOPES]
        layer = next((name.removesuffix(".weight") for name in node.input if name.endswith(".weight")), scopes[0][-2] if scopes else "")
        if layer in ranges and node.op_type in WEIGHTED:
            found[node.input[0]] = ranges[layer]
    return found


def with_sources(graph: ModelProto, ranges: Ranges) -> Ranges:
    """The ranges, and those of the tensors that they come from through operators that do not change the range."""
    sources = {node.output[0]: node.input[0] for node in graph.graph.node if node.op_type in ALIKE}
    found: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for name, extent in ranges.items():
        place: str | None = name
        while place is not None:
            found[place].append(extent)
            place = sources.get(place)
    return {name: (min(low for low, _ in extents), max(high for _, high in extents)) for name, extents in found.items()}


def quantized(float32: OnnxModel, quantize: Callable[[Path, Path], None]) -> OnnxModel:
    """A graph in int8.

    Args:
        quantize: reads the graph in float32 from one file, and writes it in int8 to another.

    Raises:
        Unavailable: most of the weights are in layers that stay in float32.
    """
    with TemporaryDirectory() as folder, redirect_stdout(io.StringIO()):  # ONNX Runtime prints its progress
        given, source, target = (Path(folder, f"{name}.onnx") for name in ("given", "float32", "int8"))
        given.write_bytes(float32.serialised())
        quant_pre_process(given, source, skip_symbolic_shape=True, skip_onnx_shape=True)  # symbolic shapes fail for token indices
        prepared = onnx.load(source)
        prepared.graph.ClearField("value_info")  # shapes, which are wrong after a weight was transposed
        onnx.save(prepared, source)
        quantize(source, target)
        graph = bare(onnx.load(target))
    if (share := share_in_int8(graph)) < 0.5:
        raise Unavailable(f"only {share:.0%} of the weights are in layers that can run in int8; most others are in {largest(graph)}")
    return OnnxModel(graph.SerializeToString(), float32.stored_parameters)


class Reader(CalibrationDataReader):
    """The calibration batches in the form that ONNX Runtime reads."""

    def __init__(self, graph: Path, batches: Iterable[Any]):
        self.name = onnx.load(graph).graph.input[0].name
        self.batches = first(batches)

    def get_next(self) -> dict[str, Any] | None:
        inputs = next(self.batches, None)
        return None if inputs is None else {self.name: inputs.numpy()}


def first(batches: Iterable[Any]) -> Iterator[Tensor]:
    """The inputs of batches, up to `CALIBRATION_EXAMPLES`; all of the first batch's size, since ONNX Runtime stacks them."""
    seen, length = 0, None
    for batch in batches:
        length = length or len(batch[0])
        if len(batch[0]) == length:
            yield calibration_inputs(batch)
            seen += length
        if seen >= CALIBRATION_EXAMPLES:
            return


def share_in_int8(model: ModelProto) -> float:
    """The share of the graph's weights that are integers of 8 bits."""
    sizes = [(weight.data_type in INT8, math.prod(weight.dims)) for weight in model.graph.initializer]
    return sum(size for whole, size in sizes if whole) / sum(size for _, size in sizes)


def largest(model: ModelProto) -> str:
    """The kind of operator that has most of the weights which are no integers."""
    sizes = {weight.name: math.prod(weight.dims) for weight in model.graph.initializer if weight.data_type not in INT8}
    kinds = Counter[str]()
    for node in model.graph.node:
        kinds[node.op_type] += sum(sizes.get(name, 0) for name in node.input)
    return kinds.most_common(1)[0][0]


def bare(model: ModelProto) -> ModelProto:
    """The graph without notes about its making."""
    for part in (model, model.graph, *model.graph.node):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")
    model.graph.ClearField("value_info")
    return model
