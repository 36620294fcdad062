"""Shared by torch's own optimizers: whether one fused kernel can step all parameters."""

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.optim import SGD
from torch.utils._foreach_utils import _get_fused_kernels_supported_devices


def fused(params: Iterable[Mapping[str, Any]], *without: str) -> bool:
    """Whether there are fused kernels for the device of every parameter, and all are real; there are none for a TPU.

    Args:
        params: parameter groups.
        without: devices for which some versions of torch have no fused kernel of this optimizer.
    """
    all_of_them = [p for group in params for p in group["params"]]
    devices = {*_get_fused_kernels_supported_devices()} - {*without}
    return all(p.device.type in devices and p.is_floating_point() for p in all_of_them)


class Momentum(SGD):
    """SGD with momentum, fused, also where some parameters get their first gradient later than others.

    The kernel takes a velocity of each parameter or of none; one that begins at 0 gives the same first step.
    """

    def _init_group(self, group: dict[str, Any], params: list[Tensor], grads: list[Tensor], velocities: list[Tensor | None]) -> bool:
        sparse = super()._init_group(group, params, grads, velocities)  # type: ignore[misc]
        velocities[:] = [torch.zeros_like(p) if v is None else v for p, v in zip(params, velocities, strict=False)]  # none without momentum
        return bool(sparse)
