import copy
from collections.abc import Callable
from typing import Annotated

import torch
import torch_pruning as tp
from torch import Tensor, nn

from autoopt.domain import Acts, Bounds, Choice, Range, Unavailable
from autoopt.module.embedded import Embedded, reads_codes

NORMS = (nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)


def prune_structured(
    model: nn.Module,
    batches,
    finetune: Callable[..., nn.Module],
    *,
    ratio: Annotated[float, Range(0.1, 0.8), Bounds(0, 1)] = 0.5,
    norm: Annotated[int, Choice(1, 2), Bounds(1)] = 1,
    epochs: Annotated[int, Range(0, 10), Bounds(0)] = 5,
    multiple: Annotated[int, Bounds(1)] = 1,
) -> Annotated[nn.Module, Acts(order="middle")]:
    """Removes the channels and units with the smallest L1 or L2 norm, a share `ratio` of each layer, and fine-tunes the rest.

    A layer keeps 1 - `ratio` of its channels, rounded to the nearest number, and at least one. Layers that are tied to each other,
    as by a residual connection, lose the same channels: those with the smallest mean norm over these layers. The outputs stay. A
    channel stays too if the network fails without it, or differs from the network with zeros there, or if layers that share a weight
    would have two without it.

    Args:
        multiple: each layer keeps the nearest multiple of so many channels, and at least so many, as some hardware is fastest with.

    Li et al. 2017, arXiv:1608.08710; layers that are tied: Fang et al. 2023, arXiv:2301.12900.

    Raises:
        Unavailable: nothing can be removed.
    """
    inputs = next(iter(batches))[0][:2].to(next(model.parameters()).device)
    stay: list[str] = []
    while True:
        pruned = copy.deepcopy(model)
        if (met := remove(*behind_embedding(pruned, inputs), ratio, norm, multiple, stay)) is None:
            break
        stay.append(met)
    if sizes(pruned) == sizes(model):
        raise Unavailable("no layer has channels that can be removed")
    return finetune(pruned, epochs).eval()


def share_removed(group: tp.Group, pruner: tp.pruner.BasePruner, ratio: float, multiple: int) -> float:
    """The share of a group's channels for which the pruner, which rounds the number that it keeps down, keeps the nearest number."""
    blocks = pruner.in_channel_groups | pruner.out_channel_groups  # such as of a group norm, which lose equally many
    width = len(group[0].idxs) // max(blocks.get(dependency.target.module, 1) for dependency, _ in group)
    kept = min(width, multiple * max(1, round(width * (1 - ratio) / multiple)))
    return 1 - min(1.0, (kept + 0.5) / width)


def behind_embedding(model: nn.Module, inputs: Tensor) -> tuple[nn.Module, Tensor]:
    """The network whose channels are pruned, and its inputs: of a table with embedded categories, the network behind the embedding."""
    return (model.model, model.joined(inputs).detach()) if isinstance(model, Embedded) else (model, inputs)


def remove(model: nn.Module, inputs: Tensor, ratio: float, norm: int, multiple: int, stay: list[str]) -> str | None:
    """Prune a network in place; stop at a layer that must not be pruned, and return its name."""
    entry = entrance(model, inputs)
    ignored = [entry, *map(model.get_submodule, stay)]

    def pruner_of(shares: dict[nn.Module, float]) -> tp.pruner.BasePruner:
        given = {"pruning_ratio": ratio, "pruning_ratio_dict": shares, "ignored_layers": ignored}
        blocks = {"in_channel_groups": {}, "out_channel_groups": {}, "num_heads": {}}
        importance = tp.importance.GroupMagnitudeImportance(norm)
        with torch.enable_grad():
            return tp.pruner.BasePruner(nn.Sequential(entry, model), [inputs], importance, **given, **blocks)

    first = pruner_of({})
    groups = first.DG.get_all_groups(first.ignored_layers, first.root_module_types)
    pruner = pruner_of({group[0].dep.target.module: share_removed(group, first, ratio, multiple) for group in groups})
    names = {module: name for name, module in model.named_modules()}
    # the result of a norm depends on the number of channels, so norms are left out of the comparison
    hooks = [m.register_forward_hook(lambda _, given, __: given[0]) for m in model.modules() if isinstance(m, NORMS)]
    for group in pruner.step(interactive=True):
        if not computes_the_same(model, group, inputs, pruner.DG):
            return names[group[0].dep.target.module]
    for hook in hooks:
        hook.remove()
    return None


def entrance(model: nn.Module, inputs: Tensor) -> nn.Module:
    """A layer before the network, for tracing: without it, inputs that are joined to a layer's outputs would not count as channels.

    There is none before codes, which such a layer would mix.
    """
    if not inputs.is_floating_point() or reads_codes(model, inputs):
        return nn.Identity()
    kinds = {4: nn.Conv2d(inputs.shape[1], inputs.shape[1], 1)}
    return kinds.get(inputs.ndim, nn.Linear(inputs.shape[-1], inputs.shape[-1])).to(inputs.device)


@torch.no_grad()
def computes_the_same(model: nn.Module, group: tp.Group, inputs: Tensor, graph: tp.DependencyGraph) -> bool:
    """Remove a group of channels; return whether the network gives the same outputs as with zeros for the weights that read them.

    Layers that shared a weight have to share it still: with two, the network may be larger than before.
    """
    for dependency, indices in group:
        layer, goes_in = dependency.target.module, graph.is_in_channel_pruning_fn(dependency.handler)
        if goes_in and not graph.is_out_channel_pruning_fn(dependency.handler) and isinstance(layer, tp.ops.TORCH_CONV | nn.Linear):
            side = 0 if getattr(layer, "transposed", False) else 1
            layer.weight.index_fill_(side, torch.tensor(indices, device=inputs.device) % layer.weight.shape[side], 0)
    before, weights = model(inputs), len(list(model.parameters()))
    try:
        group.prune()
        after = model(inputs)
    except Exception:  # its code may fail in any way on other shapes
        return False
    same = before.shape == after.shape and weights == len(list(model.parameters()))
    return same and torch.allclose(before, after, rtol=0, atol=1e-5 * before.abs().max().item())


def sizes(model: nn.Module) -> list[torch.Size]:
    return [parameter.shape for parameter in model.parameters()]
