import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from autoopt.domain import Bounds, Choice, Range
from autoopt.errors import BadInput
from autoopt.module.norm_layers import gains_and_shifts
from autoopt.module.probing import probing


def pretrained(
    model: nn.Module,
    batch: tuple[Tensor, Tensor] | None,
    *,
    path: str,
    prefix: str = "model.",
    freeze: Annotated[bool, Choice(False, True)] = False,
    layer_decay: Annotated[float, Range(0.5, 1.0), Bounds(high=1, above=0)] = 1.0,
) -> None:
    """Loads from a safetensors file every tensor that the model has under the same name and in the same shape.

    A name may begin with `prefix` in the file only, or in the model only.
    `freeze`: loaded weights are not trained, except those of the last layer; norms among them keep their statistics, and use them.
    `layer_decay`: loaded weights learn at `layer_decay ** depth` times the rate of the recipe's optimizer; depth is the number of
    layers between them and the output, in the order in which a training batch passes through them; in a LightningModule in that in
    which they are written. A layer is all parameters with the same name up to the first number, if one is a matrix.

    Yosinski et al. 2014, arXiv:1411.1792; rates by layer: Clark et al. 2020, arXiv:2003.10555.

    Raises:
        BadInput: the file cannot be read, or nothing in it fits.
    """
    tensors = tensors_of(path)
    own = {name: value for name, value in model.state_dict(keep_vars=True).items() if isinstance(value, Tensor)}
    depths, loaded, depth = depths_of(model, calls(model, batch)), 0, 0
    for name, value in own.items():
        parameter = isinstance(value, nn.Parameter)
        depth = depths.get(name, 0) if parameter else depth  # a buffer belongs to the parameter before it
        stored = (tensors.get(key) for key in (name, prefix + name, name.removeprefix(prefix)))
        tensor = next((t for t in stored if t is not None and t.shape == value.shape), None)
        if tensor is None:
            continue
        value.data.copy_(tensor)
        loaded += parameter
        if parameter and depth:
            value.requires_grad = value.requires_grad and not freeze
            value.lr_scale = layer_decay**depth  # type: ignore[attr-defined]
        elif depth and freeze and name.endswith("running_mean"):
            model.get_submodule(name.rpartition(".")[0]).register_forward_pre_hook(hold)
    if not loaded:
        raise BadInput(f"initializer.pretrained.path: nothing in {path} fits the model; it has {some(tensors)}; the model has {some(own)}")


def hold(norm: nn.Module, *_: Any) -> None:
    """Before a norm acts: let it use the statistics that it has, whatever mode the model is in."""
    if norm.training:
        norm.eval()


def tensors_of(path: str) -> dict[str, Tensor]:
    """The tensors of a safetensors file by name; raises BadInput if it cannot be read."""
    file = Path(path).expanduser()
    if not file.is_file():
        raise BadInput(f"initializer.pretrained.path: there is no file {path}")
    try:
        return load_file(file)
    except SafetensorError as error:
        raise BadInput(f"initializer.pretrained.path: {path} is not a safetensors file: {error}") from error


def layer_of(name: str) -> str:
    """`encoder.layers.3` of `encoder.layers.3.attention.weight`; without a number, the module: `head` of `head.weight`."""
    numbered = re.match(r"(.*?\.)?\d+(?=\.)", name)
    return numbered[0] if numbered else name.rpartition(".")[0]


@torch.no_grad()
def calls(model: nn.Module, batch: tuple[Tensor, Tensor] | None) -> dict[str, int]:
    """The modules that a batch passes through, by name, with the place of their first call among all; empty without a batch."""
    called: dict[str, int] = {}
    if batch is None:
        return called

    def note(module: nn.Module, _: Any) -> None:
        called.setdefault(names[module], len(called))

    names = {module: name for name, module in model.named_modules()}
    hooks = [module.register_forward_pre_hook(note) for module in names]
    with probing(model, hooks):
        model(batch[0])
    return called


def depths_of(model: nn.Module, called: Mapping[str, int]) -> dict[str, int]:
    """For every parameter, the number of layers after its own.

    A norm, or another part without a matrix, belongs to the layer before it.

    Args:
        called: the place of each module in the order of the calls; parameters of others are used where the module around them is called.
    """

    def place_of(name: str) -> int:
        module = name.rpartition(".")[0]
        return called[module] if module in called else place_of(module) if module else 0

    parameters = sorted(model.named_parameters(), key=lambda row: place_of(row[0]))  # stable: else as they are written
    norms = gains_and_shifts(model)
    layers = list(dict.fromkeys(layer_of(name) for name, p in parameters if p.ndim > 1 and p not in norms))
    places = {layer: place for place, layer in enumerate(layers)}
    depths, place = {}, 0
    for name, _ in parameters:
        place = places.get(layer_of(name), place)
        depths[name] = len(layers) - 1 - place
    return depths


def some(tensors: dict[str, Tensor], count: int = 3) -> str:
    """The names and shapes of the first tensors; scalars are left out, since they fit everywhere."""
    shown = [f"{name} {tuple(t.shape)}" for name, t in sorted(tensors.items()) if t.ndim]
    return ", ".join(shown[:count]) + (f" and {len(shown) - count} more" if len(shown) > count else "")
