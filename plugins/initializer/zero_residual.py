from torch import nn
from torch.nn.modules.conv import _ConvNd
from torch.nn.modules.dropout import _DropoutNd

from autoopt.domain import Unavailable
from autoopt.module.norm_layers import NORMS

LAYERS = (nn.Linear, _ConvNd, *NORMS)
FLAT_AT_0 = (nn.ReLU, nn.ReLU6, nn.Hardshrink, nn.Softshrink, nn.Tanhshrink)
"""Activations that give no gradient where their input is 0."""


def zero_residual(model: nn.Module) -> None:
    """The last layer of each residual branch 0, of a norm its scale, so that every block begins as its shortcut; else as the model is.

    A residual branch is a child `branch`, which its module adds to its input. The shift of a norm and the bias of a layer are 0 too.
    Signals and gradients then pass through all blocks unchanged at first. A branch that ends in a ReLU stays as it is: at 0 it would
    get no gradient, and never learn.

    Norms: Goyal et al. 2017, arXiv:1706.02677; other layers: Zhang et al. 2019, arXiv:1901.09321.

    Raises:
        Unavailable: the model has no residual branch, or only those that end in a ReLU, or in a weight that cannot be set to 0.
    """
    branches = [child for block in model.modules() for name, child in block.named_children() if name == "branch"]
    layers = [[layer for layer in branch.modules() if isinstance(layer, LAYERS)] for branch in branches]
    if not any(layers):
        raise Unavailable("the model has no residual branch: no module has a child 'branch' with layers, which is added to its input")
    learning = [own[-1] for branch, own in zip(branches, layers, strict=True) if own and not isinstance(end(branch), FLAT_AT_0)]
    if not learning:
        raise Unavailable("every residual branch of the model ends in an activation without a slope at 0, so that it would never learn")
    settable = [last for last in learning if isinstance(last.weight, nn.Parameter)]
    if not settable:
        raise Unavailable("every residual branch of the model ends in a layer without a weight of its own, or whose weight is computed")
    for last in settable:
        for parameter in last.parameters(recurse=False):
            if parameter.requires_grad:
                nn.init.zeros_(parameter)


def end(branch: nn.Module) -> nn.Module:
    """The module that gives the outputs of a branch, but for dropout, as far as the order is known: that of a `Sequential`."""
    acting = [child for child in branch if not isinstance(child, nn.Identity | _DropoutNd)] if isinstance(branch, nn.Sequential) else []
    return end(acting[-1]) if acting else branch
