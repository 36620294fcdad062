from typing import Annotated, Any

from torch import Tensor, nn
from torch.nn.modules.dropout import _DropoutNd

from autoopt.domain import Range, Unavailable
from autoopt.module.build import activation_sites


def dropout(model: nn.Module, *, p: Annotated[float, Range(0.05, 0.8)] = 0.5) -> None:
    """In training every hidden activation is 0 with the probability `p`, else divided by `1 - p`; the outputs are never dropped.

    If the model has dropout modules, they get this p; else every activation module, unless it ends the model, gets a
    child that drops its outputs. The names of the parameters stay.

    Srivastava et al. 2014 (JMLR 15).

    Raises:
        Unavailable: the model has neither dropout nor a hidden activation module.
    """
    hidden = {getattr(parent, name): None for parent, name in activation_sites(model)}
    if not any(isinstance(module, _DropoutNd) for module in model.modules()):
        for activation in hidden:
            activation.dropout = nn.Dropout(p)
            activation.register_forward_hook(drop)
    modules = [module for module in model.modules() if isinstance(module, _DropoutNd)]
    if not modules:
        raise Unavailable("the model has neither dropout nor an activation module after a hidden layer")
    for module in modules:
        module.p = p


def drop(activation: Any, inputs: Any, outputs: Tensor) -> Tensor:
    dropped: Tensor = activation.dropout(outputs)
    return dropped
