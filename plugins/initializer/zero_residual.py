from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd

from autoopt.domain import Unavailable

LAYERS = (nn.Linear, _ConvNd, _BatchNorm, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)


def zero_residual(model: nn.Module) -> None:
    """The last layer of each residual branch 0, of a norm its scale, so that every block begins as its shortcut; else as the model is.

    A residual branch is a child `branch`, which its module adds to its input. The shift of a norm and the bias of a layer are 0 too.
    Signals and gradients then pass through all blocks unchanged at first.

    Norms: Goyal et al. 2017, arXiv:1706.02677; other layers: Zhang et al. 2019, arXiv:1901.09321.

    Raises:
        Unavailable: the model has no residual branch.
    """
    branches = [child for block in model.modules() for name, child in block.named_children() if name == "branch"]
    layers = [[layer for layer in branch.modules() if isinstance(layer, LAYERS)] for branch in branches]
    if not any(layers):
        raise Unavailable("the model has no residual branch: no module has a child 'branch' with layers, which is added to its input")
    for *_, last in filter(None, layers):
        for parameter in last.parameters(recurse=False):
            if parameter.requires_grad:
                nn.init.zeros_(parameter)
