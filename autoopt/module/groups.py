"""The parameters that an optimizer trains: which of them decay, and each at its own rate."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from autoopt.module.decay import decays


def own_optimizers(configured: Any) -> list[Optimizer]:
    """The optimizers in a result of `configure_optimizers`, in any of the forms that Lightning takes."""
    if isinstance(configured, Optimizer):
        return [configured]
    if isinstance(configured, dict):
        return own_optimizers(configured["optimizer"])
    if not isinstance(configured, list | tuple) or not configured:
        return []
    parts = configured[0] if isinstance(configured[0], list | tuple) else configured
    return [optimizer for part in parts for optimizer in own_optimizers(part)]


def parameter_groups(model: nn.Module, author: Optimizer | None = None) -> list[dict[str, Any]]:
    """Parameter groups: those that weight decay may act on (`decays`), and the others with `weight_decay` 0.

    An initializer may mark parameters with an `lr_scale`: each scale has groups of its own, the largest first.

    Args:
        author: the author's optimizer, which is replaced. Parameters that it leaves out stay untrained, those in it are trained as soon
            as they are not frozen, and the ratios of its learning rates are kept; if it decays some of its groups only, weight decay acts
            on these.
    """
    groups: dict[tuple[bool, float], list[nn.Parameter]] = defaultdict(list)
    may_decay = decays(model)
    for p, ratio, decayed in ((p, 1.0, may_decay(p)) for p in model.parameters()) if author is None else trainable_by(author, may_decay):
        if p.requires_grad or author is not None:
            groups[not decayed, -ratio * getattr(p, "lr_scale", 1.0)].append(p)
    return [{"params": groups[rest, scale], "lr_scale": -scale} | ({"weight_decay": 0.0} if rest else {}) for rest, scale in sorted(groups)]


def trainable_by(optimizer: Optimizer, may_decay: Callable[[Tensor], bool]) -> Iterator[tuple[nn.Parameter, float, bool]]:
    """Each parameter of an optimizer with the ratio of its learning rate to the greatest, and whether weight decay acts on it.

    The learning rates are those before its schedule, which may begin at 0.
    """
    rates = [float(group.get("initial_lr", group.get("lr")) or 0.0) for group in optimizer.param_groups]
    strengths = [float(group.get("weight_decay") or 0.0) for group in optimizer.param_groups]
    some_only = any(strengths) and not all(strengths)
    for group, rate, decay in zip(optimizer.param_groups, rates, strengths, strict=True):
        for p in group["params"]:
            yield p, rate / max(rates) if any(rates) else 1.0, decay > 0 if some_only else may_decay(p)


def dense_gradients(model: nn.Module) -> None:
    """Let embeddings give dense gradients: few optimizers take sparse ones, and none of them with weight decay, nor does a penalty."""
    for module in model.modules():
        if isinstance(module, nn.Embedding | nn.EmbeddingBag):
            module.sparse = False


def scale_steps(optimizer: Optimizer, model: nn.Module) -> None:
    """Scale the steps of an author's optimizer by the `lr_scale` of the parameters; its groups and rates stay as the author set them."""
    marked = {p: scale for p in model.parameters() if (scale := getattr(p, "lr_scale", 1.0)) != 1.0}
    if not marked:
        return
    before: dict[nn.Parameter, Tensor] = {}

    def remember(*_: Any) -> None:
        before.update((p, p.detach().clone()) for p in marked)

    @torch.no_grad()
    def shorten(*_: Any) -> None:
        for p, scale in marked.items():
            p.copy_(before[p].lerp_(p, scale))

    optimizer.register_step_pre_hook(remember)
    optimizer.register_step_post_hook(shorten)


def train_alike(model: nn.Module, trained: nn.Module) -> None:
    """Give a network that was made of a trained one its rates (`lr_scale`) and its frozen parameters, which a copy or a new layer lacks.

    A parameter that has an `lr_scale` keeps it, and is trained as it is.
    """
    origins = {without_parametrization(name): parameter for name, parameter in trained.named_parameters(remove_duplicate=False)}
    for name, parameter in model.named_parameters():
        origin = None if hasattr(parameter, "lr_scale") else origin_of(without_parametrization(name), origins)
        if origin is not None:
            parameter.lr_scale = getattr(origin, "lr_scale", 1.0)  # type: ignore[attr-defined]
            parameter.requires_grad = parameter.requires_grad and origin.requires_grad


def without_parametrization(name: str) -> str:
    """The name of a parameter, without the module between it and its layer that a parametrization adds."""
    return name.replace("parametrizations.", "")


def origin_of(name: str, origins: Mapping[str, nn.Parameter]) -> nn.Parameter | None:
    """The parameter that a new one stands for: under the path of the parameter itself, or of its layer, which may be several layers now."""
    parts = name.split(".")
    for end in range(len(parts), 0, -1):
        path = ".".join(parts[:end])
        for place in (path, f"{path}.{parts[-1]}"):
            if place in origins:
                return origins[place]
    return None
