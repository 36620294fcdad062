from functools import partial
from typing import Annotated

from onnxruntime.quantization import quantize_dynamic as by_onnxruntime
from torch import nn

from autoopt.deployment.onnx import in_float32
from autoopt.deployment.quantized import quantized
from autoopt.domain import Acts

LAYERS = ["Gemm", "MatMul", "LSTM", "Gather"]


def quantize_dynamic(model: nn.Module, batches) -> Annotated[nn.Module, Acts(last=True, dense=True)]:
    """Linear, recurrent and embedding layers in int8: r = S (q - Z), with the range of an activation measured on every batch.

    Needs no calibration. Convolutions stay in float32: ranges that are measured at run time make them several times slower.
    Runs in ONNX Runtime, on the CPU, with weights of 7 bits: on x86 without VNNI its kernels add up in 16 bits, which 8 bits overflow.

    Jacob et al. 2018, arXiv:1712.05877.

    Raises:
        Unavailable: most of the weights are in convolutions, or in a GRU, of which ONNX Runtime has no int8 form.
    """
    return quantized(in_float32(model, batches), partial(by_onnxruntime, op_types_to_quantize=LAYERS, per_channel=True, reduce_range=True))
