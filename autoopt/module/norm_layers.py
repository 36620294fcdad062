"""Which layers are norms, and their parameters."""

from torch import nn
from torch.nn.modules.batchnorm import _NormBase

NORMS = (_NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)


def gains_and_shifts(model: nn.Module) -> set[nn.Parameter]:
    """The parameters of the norms, which scale and shift what is normalised: of a norm over several axes they are no vectors."""
    return {p for module in model.modules() if isinstance(module, NORMS) for p in module.parameters(recurse=False)}
