from typing import Annotated

from torch import nn

from autoopt.deployment.quantized import calibrated
from autoopt.domain import Acts, Choice


def quantize_static(
    model: nn.Module, batches, *, calibration: Annotated[str, Choice("minmax", "percentile")] = "minmax"
) -> Annotated[nn.Module, Acts(last=True, dense=True)]:
    """Weights and activations in int8: r = S (q - Z), with a scale S for each output channel of a weight and one for each activation.

    The ranges of the activations are measured on 512 training examples drawn at random: from the least to the greatest value, or all but a
    thousandth of them (percentile). Weights have 7 bits, so that no processor's kernels overflow. Runs in ONNX Runtime, on the CPU;
    batch norms are folded into the layers before them.

    Jacob et al. 2018, arXiv:1712.05877.

    Raises:
        Unavailable: most of the weights are in layers that have no int8 form.
    """
    return calibrated(model, batches, calibration)
