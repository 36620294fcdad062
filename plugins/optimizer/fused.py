"""What torch's own optimizers share: whether one kernel can make the step of all parameters."""

from collections.abc import Iterable, Mapping
from typing import Any

from torch.utils._foreach_utils import _get_fused_kernels_supported_devices


def fused(params: Iterable[Mapping[str, Any]], without: str = "") -> bool:
    """Whether there are such kernels for the device of every parameter; for a TPU's there are none.

    Args:
        params: parameter groups.
        without: a device for which this optimizer has none in some of the versions of torch.
    """
    return {p.device.type for group in params for p in group["params"]} <= {*_get_fused_kernels_supported_devices()} - {without}
