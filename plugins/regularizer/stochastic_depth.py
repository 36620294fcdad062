import re
from typing import Annotated, Any

import torch
from torch import Tensor, nn

from autoopt.domain import Bounds, Range, Unavailable

DROP_PATH = re.compile(r"drop_path\d*$")


class Drop:
    """A forward hook of a residual branch: for each example it drops the whole output, or scales it so that its mean stays.

    Attributes:
        called: the hooks of all branches in the order of their first calls, which is that of the blocks.
        blocks: how many branches there are.
        last: the probability with which the last branch is kept.
    """

    def __init__(self) -> None:
        self.called: list[Drop] = []
        self.blocks, self.last = 1, 1.0

    @property
    def survival(self) -> float:
        return 1 - (self.called.index(self) + 1) / self.blocks * (1 - self.last)

    def __call__(self, branch: nn.Module, inputs: Any, outputs: Tensor) -> Tensor:
        if self not in self.called:
            self.called.append(self)
        if not branch.training:
            return outputs
        drawn = torch.empty(len(outputs), *(1 for _ in outputs.shape[1:]), dtype=outputs.dtype, device=outputs.device)
        return outputs * drawn.bernoulli_(self.survival) / self.survival


def stochastic_depth(model: nn.Module, *, survival: Annotated[float, Range(0.8, 0.95), Bounds(high=1, above=0)] = 0.9) -> None:
    """In training the l-th of L residual branches is kept with the probability `1 - l / L * (1 - survival)`.

    A residual branch is a child `branch`, which its module adds to its input, or ends in a child `drop_path`, the place that the
    authors of timm and transformers have made for it; their own rate is replaced. Each example is drawn independently, and a kept
    branch is divided by its probability, so that nothing has to be scaled afterwards. The paper's `survival` of 0.5 suits 110 layers;
    fewer need more.

    Huang et al. 2016, arXiv:1603.09382.

    Raises:
        Unavailable: the model has no residual branch.
    """
    branches = [child for block in model.modules() for name, child in block.named_children() if name == "branch" or DROP_PATH.match(name)]
    if not branches:
        raise Unavailable("the model has no residual branch: no module has a child 'branch', which is added to its input, or 'drop_path'")
    called: list[Drop] = []
    for branch in branches:
        drop = drop_of(branch)
        drop.called, drop.blocks, drop.last = called, len(branches), survival
        if hasattr(branch, "drop_prob"):
            branch.drop_prob = 0.0  # type: ignore[assignment]


def drop_of(branch: nn.Module) -> Drop:
    """The hook of a branch, registered at the first call."""
    for hook in branch._forward_hooks.values():
        if isinstance(hook, Drop):
            return hook
    drop = Drop()
    branch.register_forward_hook(drop)
    return drop
