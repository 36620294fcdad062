from collections.abc import Callable, Iterator
from typing import Annotated, Any

import torch
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer, _muon

from autoopt.domain import Range

NEWTON_SCHULZ = {"ns_coefficients": (3.4445, -4.7750, 2.0315), "ns_steps": 5, "eps": 1e-7, "adjust_lr_fn": "original"}


class MuonAdamW(Optimizer):
    """Muon on the groups that say so, a convolution's weight taken as a matrix of one row an output; AdamW on the others.

    AdamW works on the same groups and the same state, so that schedules and `state_dict` see one optimizer.
    """

    def __init__(self, groups: list[dict[str, Any]]):
        super().__init__(groups, {})
        self.adamw = AdamW([group for group in self.param_groups if not group["muon"]])
        self.share()

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
                self.turn(group)
        self.adamw.step()
        return loss

    def turn(self, group: dict[str, Any]) -> None:
        settings = {key: group[key] for key in ("lr", "weight_decay", "momentum")}
        for p in group["params"]:
            if p.grad is not None:
                matrix, gradient = p.flatten(1), p.grad.flatten(1)
                momentum = self.state[p].setdefault("momentum", torch.zeros_like(gradient))
                _muon.muon([matrix], [gradient], [momentum], **settings, nesterov=True, has_complex=False, **NEWTON_SCHULZ)
                p.copy_(matrix.view_as(p))  # a weight in another memory format was copied by flatten


def hidden_matrices(params: list[dict[str, Any]], model: nn.Module) -> set[Tensor]:
    """The matrices but the model's last, which gives the outputs, and the embeddings; what has one row or one column is a vector."""
    embeddings = {module.weight for module in model.modules() if isinstance(module, nn.Embedding | nn.EmbeddingBag)}
    trained = {p for group in params for p in group["params"]}
    matrices = [p for p in model.parameters() if p in trained - embeddings and p.ndim > 1 and min(p.flatten(1).shape) > 1]
    return set(matrices[:-1])


def split_groups(params: list[dict[str, Any]], model: nn.Module, muon: dict[str, Any], adamw: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Each group cut in two: what a group says itself, such as its weight decay, goes before what its optimizer says."""
    turned = hidden_matrices(params, model)
    for group in params:
        for each, settings in ((True, muon), (False, adamw)):
            if chosen := [p for p in group["params"] if (p in turned) is each]:
                yield {**settings, **group, "params": chosen, "muon": each}


def muon(
    params,
    model: nn.Module,
    *,
    lr: Annotated[float, Range(1e-3, 0.2, log=True)] = 0.02,
    momentum: Annotated[float, Range(0.8, 0.99)] = 0.95,
    weight_decay: Annotated[float, Range(1e-6, 1.0, log=True)] = 1e-2,
    adamw_lr: Annotated[float, Range(1e-5, 1e-2, log=True)] = 3e-4,
) -> Optimizer:
    """Steps of `lr * sqrt(max(1, rows / columns)) * U V^T` for hidden matrices, U S V^T the Nesterov momentum; AdamW for the rest.

    Five Newton-Schulz iterations come near to U V^T: its singular values lie between 0.7 and 1.2. The rest are embeddings, the last
    matrix, biases and norms, at the rate `adamw_lr`.

    Jordan et al. 2024, https://kellerjordan.github.io/posts/muon/.
    """
    adamw = {"lr": adamw_lr, "weight_decay": weight_decay, "betas": (0.9, 0.95), "eps": 1e-10}
    return MuonAdamW(list(split_groups(params, model, {"lr": lr, "weight_decay": weight_decay, "momentum": momentum}, adamw)))
