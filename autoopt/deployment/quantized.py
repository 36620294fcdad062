"""Networks in int8, as ONNX Runtime computes them. Needs the extra `onnx`."""

import io
import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import redirect_stdout
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import onnx
from onnx import ModelProto, TensorProto
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantType, quantize_static
from onnxruntime.quantization.registry import QDQRegistry
from onnxruntime.quantization.shape_inference import quant_pre_process
from torch import Tensor, nn

from autoopt.deployment.onnx import OnnxModel, to_onnx
from autoopt.deployment.packed import unpacked
from autoopt.domain import Unavailable

CALIBRATION_EXAMPLES = 512
PERCENTILE = 99.9
INT8 = (TensorProto.INT8, TensorProto.UINT8)
OPERATORS = [kind for kind in QDQRegistry if not kind.endswith("Normalization")]  # norms are computed in float32 in any case
HISTOGRAM_LEVELS = 64
"""A weight is a whole number from -64 to 64: on x86 without VNNI, kernels add two products in 16 bits, which 8-bit weights overflow."""
METHODS = {"minmax": CalibrationMethod.MinMax, "percentile": CalibrationMethod.Percentile}


def calibrated(model: nn.Module, batches: Iterable[Any], method: str) -> OnnxModel:
    """A network in int8; the ranges of its activations are fixed by the first 512 examples.

    Args:
        batches: (inputs, targets) of training, for the calibration.
        method: how a range is measured, a key of `METHODS`.

    Raises:
        Unavailable: most of the weights are in layers that have no int8 form.
    """

    def quantize(source: Path, target: Path) -> None:
        extra = {"CalibPercentile": PERCENTILE, "WeightSymmetric": True}
        kinds = {"activation_type": QuantType.QUInt8, "weight_type": QuantType.QInt8, "op_types_to_quantize": OPERATORS}
        how = {"per_channel": True, "reduce_range": True, "calibrate_method": METHODS[method]}
        quantize_static(source, target, Reader(source, batches), extra_options=extra, **kinds, **how)

    return quantized(model, batches, quantize)


def quantized(model: nn.Module, batches: Iterable[Any], quantize: Callable[[Path, Path], None]) -> OnnxModel:
    """A network as an ONNX graph in int8.

    Args:
        batches: (inputs, targets) of training; the first is used to trace the network.
        quantize: reads the graph in float32 from one file, and writes it in int8 to another.

    Raises:
        Unavailable: most of the weights are in layers that stay in float32.
    """
    plain = unpacked(model).cpu()
    with TemporaryDirectory() as folder, redirect_stdout(io.StringIO()):  # ONNX Runtime prints its progress
        exported, source, target = (Path(folder, f"{name}.onnx") for name in ("exported", "float32", "int8"))
        exported.write_bytes(to_onnx(plain, calibration_inputs(next(iter(batches)))))
        quant_pre_process(exported, source, skip_symbolic_shape=True, skip_onnx_shape=True)  # symbolic shapes fail for token indices
        prepared = onnx.load(source)
        prepared.graph.ClearField("value_info")  # shapes, which are wrong after a weight was transposed
        onnx.save(prepared, source)
        quantize(source, target)
        graph = bare(onnx.load(target))
    if (share := share_in_int8(graph)) < 0.5:
        raise Unavailable(f"only {share:.0%} of the weights are in layers that can run in int8")
    return OnnxModel(graph.SerializeToString(), sum(p.numel() for p in plain.parameters()))


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


def calibration_inputs(batch: Any) -> Tensor:
    return batch[0].detach().cpu()


def share_in_int8(model: ModelProto) -> float:
    """The share of the graph's weights that are integers of 8 bits."""
    sizes = [(weight.data_type in INT8, math.prod(weight.dims)) for weight in model.graph.initializer]
    return sum(size for whole, size in sizes if whole) / sum(size for _, size in sizes)


def bare(model: ModelProto) -> ModelProto:
    """The graph without notes about its making."""
    for part in (model, model.graph, *model.graph.node):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")
    model.graph.ClearField("value_info")
    return model
