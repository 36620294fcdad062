from collections.abc import Callable, Iterator
from typing import Annotated, Any

import torch
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer, _muon

from autoopt.domain import Bounds, Range
from autoopt.errors import out_of_memory
from autoopt.module.decay import decays
from autoopt.plugins.optimizer.edges import edges

NEWTON_SCHULZ = {"ns_coefficients": (3.4445, -4.7750, 2.0315), "ns_steps": 5, "eps": 1e-7, "adjust_lr_fn": "original"}


class MuonAdamW(Optimizer):
    """Muon on the groups with `muon`, AdamW on the others; a convolution's weight is a matrix with a row for each output.

    AdamW works on the same groups and the same state, so that schedules and `state_dict` see one optimizer.
    """

    def __init__(self, groups: list[dict[str, Any]], adamw: dict[str, Any]):
        super().__init__(groups, {})
        self.adamw = AdamW([group for group in self.param_groups if not group["muon"]], **adamw)
        self.share()

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """A group that a callback adds later is stepped by AdamW."""
        super().add_param_group({"muon": False, **param_group})
        if "adamw" in vars(self):
            self.adamw.add_param_group(self.param_groups[-1])

    def share(self) -> None:
        self.adamw.param_groups = [group for group in self.param_groups if not group["muon"]]
        self.adamw.state = self.state

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict(state_dict)
        self.share()

    @torch.no_grad()
    def step(self, closure: Callable[[], Tensor] | None = None) -> Tensor | None:
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            if group["muon"]:
                self.orthogonalize(group)
        self.adamw.step()
        return loss

    def orthogonalize(self, group: dict[str, Any]) -> None:
        settings = {key: group[key] for key in ("lr", "weight_decay", "momentum")}
        for p in group["params"]:
            if p.grad is not None:
                matrix, gradient = p.flatten(1), p.grad.flatten(1)
                momentum = self.state[p].setdefault("momentum", torch.zeros_like(gradient))
                _muon.muon([matrix], [gradient], [momentum], **settings, nesterov=True, has_complex=False, **NEWTON_SCHULZ)
                p.copy_(matrix.view_as(p))  # a weight in another memory format was copied by flatten


def hidden_matrices(params: list[dict[str, Any]], model: nn.Module, batch: Any, head: str | None) -> set[Tensor]:
    """The matrices that may be decayed, without embeddings and without the first and the last.

    A single row or column is not orthogonalized, but it may be the first layer or the head, such as that of one output. Nor is a complex
    matrix, of which the iterations would drop the imaginary part.

    Raises:
        ValueError: the model has no such head.
    """
    matrices = [*filter(decays(model), model.parameters())]
    first, last, used = first_and_last(model, matrices, batch[0] if batch else getattr(model, "example_input_array", None))
    if head is not None:
        last = {p for name, p in model.named_parameters() if f".{head}." in f".{name}"}
        if not last:
            raise ValueError(f"muon.head={head}: the model has no module of this name with parameters")
    embeddings = {module.weight for module in model.modules() if isinstance(module, nn.Embedding | nn.EmbeddingBag)}
    decayed = {p for group in params if group.get("weight_decay") != 0.0 for p in group["params"]}
    return {p for p in used & decayed if min(p.flatten(1).shape) > 1 and not p.is_complex()} - embeddings - first - last


def first_and_last(model: nn.Module, matrices: list[Tensor], inputs: Any) -> tuple[set[Tensor], set[Tensor], set[Tensor]]:
    """The first, the last and all matrices in the order of their use; where no inputs can be passed through, in that of the model."""
    if isinstance(inputs, Tensor) and matrices:
        try:
            return edges(model, inputs.detach().clone().to(matrices[0] if inputs.is_floating_point() else matrices[0].device), {*matrices})
        except Exception as error:
            if out_of_memory(error):
                raise
    return set(matrices[:1]), set(matrices[-1:]), set(matrices)


def split_groups(
    params: list[dict[str, Any]], orthogonalized: set[Tensor], muon: dict[str, Any], adamw: dict[str, Any]
) -> Iterator[dict[str, Any]]:
    """Split each group in two; a group's own settings, such as its weight decay, replace those of its optimizer."""
    for group in params:
        for is_muon, settings in ((True, muon), (False, adamw)):
            if chosen := [p for p in group["params"] if (p in orthogonalized) is is_muon]:
                yield {**settings, **group, "params": chosen, "muon": is_muon}


def muon(
    params,
    model: nn.Module,
    batch: tuple[Tensor, Tensor] | None,
    *,
    lr: Annotated[float, Range(1e-3, 0.2, log=True), Bounds(0)] = 0.02,
    momentum: Annotated[float, Range(0.8, 0.99), Bounds(0, below=1)] = 0.95,
    weight_decay: Annotated[float, Range(1e-6, 1.0, log=True), Bounds(0)] = 1e-2,
    adamw_lr: Annotated[float, Range(1e-4, 3e-2, log=True), Bounds(0)] = 3e-3,
    head: str | None = None,
) -> Optimizer:
    """Steps of `lr * sqrt(max(1, rows / columns)) * U V^T` for hidden matrices, U S V^T the Nesterov momentum; AdamW for the rest.

    Five Newton-Schulz iterations approximate U V^T, with singular values between 0.7 and 1.2. The filters of a convolution are a
    matrix with a row for each output. The rest are embeddings, the first layer, the layer that gives the outputs (or the module
    `head`), and what is not decayed, at the rate `adamw_lr`. A batch that is passed through the model tells which layers these
    are; a LightningModule needs an `example_input_array` for that, else its first and its last matrix count as such.

    Jordan et al. 2024, https://kellerjordan.github.io/posts/muon/.

    Raises:
        ValueError: the model has no module `head`.
    """
    orthogonalized = hidden_matrices(params, model, batch, head)
    adamw = {"lr": adamw_lr, "weight_decay": weight_decay, "betas": (0.9, 0.95), "eps": 1e-10}
    settings = {"lr": lr, "weight_decay": weight_decay, "momentum": momentum}
    return MuonAdamW(list(split_groups(params, orthogonalized, settings, adamw)), adamw)
