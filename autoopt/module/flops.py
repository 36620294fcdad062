"""Floating-point operations of a network, of fused operations too."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode, flop_registry

WITHOUT_FLOPS = {
    "_to_copy", "cat", "clone", "copy_", "detach", "embedding", "_embedding_bag", "gather", "index", "index_select", "native_batch_norm",
    "_native_batch_norm_legit", "_native_batch_norm_legit_no_training", "native_group_norm", "native_layer_norm", "stack",
    "_weight_norm_interface",
}  # fmt: skip
"""Operations that move weights, or scale something else by them: these are not counted, as is usual."""
FREE = {getattr(torch.Tag, name) for name in ("pointwise", "reduction") if hasattr(torch.Tag, name)}

FORMULAS = {
    torch.ops.aten.mv: lambda matrix, vector, **_: 2 * prod(matrix),
    torch.ops.aten.addmv: lambda bias, matrix, vector, **_: 2 * prod(matrix),
}
"""Of shapes; beside those of torch."""


class Fused(TorchDispatchMode):
    """Notes the operations that have no formula although they multiply by a matrix of weights."""

    def __init__(self, model: nn.Module):
        super().__init__()
        self.weights = {parameter.untyped_storage().data_ptr() for parameter in model.parameters() if parameter.ndim > 1}
        self.names: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        packet = func._overloadpacket
        counted = packet in flop_registry or packet in FORMULAS
        if not counted and not func.is_view and FREE.isdisjoint(func.tags) and packet.__name__ not in WITHOUT_FLOPS:
            tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
            if func.namespace != "aten" or any(tensor.untyped_storage().data_ptr() in self.weights for tensor in tensors):
                self.names.append(str(func))
        return func(*args, **kwargs)


@contextmanager
def unfused() -> Iterator[None]:
    """Let attentions and recurrent layers compute by the plain matrix products that they consist of."""
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with (
            sdpa_kernel(SDPBackend.MATH),
            warnings.catch_warnings(action="ignore"),  # the flags warn of names that they use themselves
            torch.backends.mkldnn.flags(enabled=False),
            torch.backends.cudnn.flags(enabled=False),
        ):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)


@torch.no_grad()
def flops(model: nn.Module, *inputs: Tensor) -> int | None:
    """Floating-point operations of a forward pass, a multiplication and an addition counted as two.

    Biases, norms and activations are left out, as is usual.

    Returns:
        their number; None where an operation with weights cannot be counted.
    """
    model.eval()
    with unfused(), Fused(model) as fused, FlopCounterMode(display=False, custom_mapping=FORMULAS) as counter:
        model(*inputs)
    if fused.names:
        print(f"flops are not measured: {fused.names[0]} cannot be counted")
        return None
    return counter.get_total_flops()
