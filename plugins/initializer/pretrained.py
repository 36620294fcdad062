import re
from pathlib import Path
from typing import Annotated, Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from autoopt.domain import Choice, Range
from autoopt.errors import BadInput


def pretrained(
    model: nn.Module,
    *,
    path: str,
    prefix: str = "model.",
    freeze: Annotated[bool, Choice(False, True)] = False,
    layer_decay: Annotated[float, Range(0.5, 1.0)] = 1.0,
) -> None:
    """Loads from a safetensors file every tensor that the model has under the same name and in the same shape.

    A name may begin with `prefix` in the file only, or in the model only.
    `freeze`: loaded weights are not trained, except those of the last layer; norms among them keep their statistics, and use them.
    `layer_decay`: loaded weights learn at `layer_decay ** depth` times the rate of the recipe's optimizer; depth is the number of
    layers between them and the output. A layer is all parameters with the same name up to the first number, if one is a matrix.

    Yosinski et al. 2014, arXiv:1411.1792; rates by layer: Clark et al. 2020, arXiv:2003.10555.

    Raises:
        BadInput: the file cannot be read, or nothing in it fits.
    """
    tensors = tensors_of(path)
    own = {name: value for name, value in model.state_dict(keep_vars=True).items() if isinstance(value, Tensor)}
    depths, loaded, depth = depths_of(model), 0, 0
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


def depths_of(model: nn.Module) -> dict[str, int]:
    """For every parameter, the number of layers after its own, in the order of the model.

    A norm, or another part without a matrix, belongs to the layer before it.
    """
    parameters = list(model.named_parameters())
    layers = list(dict.fromkeys(layer_of(name) for name, p in parameters if p.ndim > 1))
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
