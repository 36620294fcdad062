from collections import Counter
from typing import Annotated, Any

from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor, nn
from torch.autograd.graph import Node
from torch.nn.modules.dropout import _DropoutNd

from autoopt.domain import Bounds, Range, Unavailable
from autoopt.module.activations import ACTIVATIONS
from autoopt.module.graph import in_order, read_by_weights


class DropHook:
    """A forward hook of a module that may be called several times in a pass: drops the outputs of those calls that `acts` names.

    Args:
        layer: drops; always in training mode.

    Attributes:
        acts: whether to drop, for each call of a pass; empty until the first backward pass shows it.
        nodes: of the autograd graph, one for each call, while they are recorded.
    """

    def __init__(self, layer: _DropoutNd):
        self.layer, self.calls = layer, 0
        self.acts: list[bool] = []
        self.nodes: list[Node | None] | None = None

    def __call__(self, place: nn.Module, inputs: Any, outputs: Tensor) -> Tensor:
        if not place.training:
            return outputs
        if self.nodes is not None:
            self.nodes.append(outputs.grad_fn)
        self.calls += 1
        acts = bool(self.acts) and self.acts[(self.calls - 1) % len(self.acts)]
        dropped: Tensor = self.layer(outputs) if acts else outputs
        return dropped


class Dropout(Callback):
    """Finds the places by the first backward pass: an output on which later weights act, and which is used once.

    On the trunk it is used by the branch and by the shortcut.
    """

    def __init__(self, drops: list[DropHook]):
        self.drops = drops

    def state_dict(self) -> dict[str, Any]:
        return {"acts": [drop.acts for drop in self.drops], "calls": [drop.calls for drop in self.drops]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        for drop, acts, calls in zip(self.drops, state_dict["acts"], state_dict["calls"], strict=True):
            drop.acts, drop.calls, drop.nodes = acts, calls, None if acts else []

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        for drop in self.drops:
            drop.nodes = None if drop.acts else []

    def on_before_backward(self, trainer: Trainer, pl_module: LightningModule, loss: Tensor) -> None:
        recording = [drop for drop in self.drops if drop.nodes is not None]
        if not recording:
            return
        outputs = [loss.grad_fn] if loss.grad_fn is not None else []
        uses = Counter(child for node in in_order(outputs) for child, _ in node.next_functions)
        read = {node for node in read_by_weights(outputs) if uses[node] == 1}
        for drop in recording:
            drop.acts, drop.nodes, drop.calls = [node in read for node in drop.nodes or ()], None, 0
        if not any(any(drop.acts) for drop in self.drops):
            raise Unavailable("every activation of the model is on a residual trunk, or gives its outputs")

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if any(drop.nodes is not None for drop in self.drops):
            raise Unavailable("the module calls loss.backward() by itself; self.manual_backward(loss) shows its residual branches")


def dropout(model: nn.Module, *, p: Annotated[float, Range(0.05, 0.5), Bounds(0, below=1)] = 0.2, replace: bool = False) -> Callback | None:
    """In training every hidden activation is 0 with the probability `p`, else divided by `1 - p`, but for a residual trunk's.

    It acts on the outputs of activation modules inside of residual branches, between layers and before the head, from the second
    step on; a zero on the trunk would reach all later layers. After SELU it is alpha dropout, which keeps mean and variance.
    Dropout modules of the model itself keep their rate; `replace` gives them `p`, apart from those in an attention, and adds no
    others. Those that are off (rate 0) are places that the author left for it.

    Srivastava et al. 2014 (JMLR 15); alpha dropout: Klambauer et al. 2017, arXiv:1706.02515; inside of the branches: Zagoruyko &
    Komodakis 2016, arXiv:1605.07146, section 2.4.

    Raises:
        Unavailable: the model has dropout of its own, or no activation module, or none but on the trunk and at the outputs.
    """
    own = [module for module in model.modules() if isinstance(module, _DropoutNd)]
    if own and replace:
        for module in outside_attention(model, own):
            module.p = p
        return None
    if any(module.p for module in own):
        raise Unavailable("the model has dropout of its own, which keeps its rate; regularizer.dropout.replace=true gives it this one")
    places: list[nn.Module] = [*own] or [module for module in model.modules() if isinstance(module, ACTIVATIONS)]
    if not places:
        raise Unavailable("the model has neither dropout nor an activation module")
    drops = [drop_hook(place) for place in places]
    for drop in drops:
        drop.layer.p = p
    return Dropout(drops)


def outside_attention(model: nn.Module, modules: list[_DropoutNd]) -> list[_DropoutNd]:
    inside = {child for module in model.modules() if "attention" in type(module).__name__.lower() for child in module.children()}
    return [module for module in modules if module not in inside]


def drop_hook(place: nn.Module) -> DropHook:
    """The hook of a module, registered at the first call."""
    for hook in place._forward_hooks.values():
        if isinstance(hook, DropHook):
            return hook
    kind = type(place) if isinstance(place, _DropoutNd) else nn.AlphaDropout if isinstance(place, nn.SELU) else nn.Dropout
    drop = DropHook(kind())
    place.register_forward_hook(drop)
    return drop
