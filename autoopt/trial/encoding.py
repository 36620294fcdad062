"""Plain data with tensors as a JSON file and a safetensors file: reading them runs no code."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

STATE_FILE, TENSOR_FILE = "state.json", "tensors.safetensors"
TRIAL_FOLDER = "@folder@"
"""Stands for the folder of the trial in the texts of a file, since another machine may have it elsewhere."""


class NotPlain(Exception):
    """An object that is no plain data: storing it would take pickle, and reading it would run code."""


def write_plain(folder: Path, value: Any, here: Path) -> None:
    """Write plain data into a folder.

    Args:
        here: the folder that may be elsewhere when the data are read; paths below it are stored relative to it.

    Raises:
        NotPlain: there is another object among the data.
    """
    tensors: dict[str, Tensor] = {}
    text = json.dumps(to_plain(value, tensors, "state")).replace(json.dumps(str(here))[1:-1], TRIAL_FOLDER)
    save_file(unshared(tensors), folder / TENSOR_FILE)
    (folder / STATE_FILE).write_text(text, encoding="utf-8")


def read_plain(folder: Path, here: Path) -> Any:
    """The data that `write_plain` wrote.

    Raises:
        ValueError, KeyError, SafetensorError: the files are something else.
    """
    text = (folder / STATE_FILE).read_text(encoding="utf-8").replace(TRIAL_FOLDER, json.dumps(str(here))[1:-1])
    return from_plain(json.loads(text), load_file(folder / TENSOR_FILE))


def unshared(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors on the CPU, each with memory of its own, as safetensors stores them."""
    seen: set[int] = set()
    stored = {}
    for name, tensor in tensors.items():
        own = tensor.detach().cpu().contiguous()
        address = own.untyped_storage().data_ptr()
        stored[name] = own.clone() if address in seen else own
        seen.add(address)
    return stored


def to_plain(value: Any, tensors: dict[str, Tensor], path: str) -> Any:
    """A value as JSON, its tensors put into `tensors`; what JSON does not have is a mapping with one key, its kind.

    Args:
        path: where the value is, for a message.

    Raises:
        NotPlain: it is another object, or holds one.
    """
    match value:
        case None | bool() | str():
            return value
        case np.generic():
            return to_plain(value.item(), tensors, path)
        case int() | float():
            return value
        case Tensor():
            if value.layout is not torch.strided or value.is_quantized or type(value).__name__ == "DTensor":
                raise NotPlain(f"{path} is a {value.layout} {type(value).__name__}")
            name = str(len(tensors))
            tensors[name] = value
            return {"tensor": [name, *([] if value.is_contiguous() else [list(value.stride())])]}
        case np.ndarray() if value.dtype.kind in "biufc":
            name = str(len(tensors))
            tensors[name] = torch.from_numpy(np.frombuffer(value.tobytes(), np.uint8).copy())
            return {"array": [name, value.dtype.str, list(value.shape)]}
        case list():
            return [to_plain(part, tensors, f"{path}[{i}]") for i, part in enumerate(value)]
        case tuple() | set():
            kind = "tuple" if isinstance(value, tuple) else "set"
            return {kind: [to_plain(part, tensors, f"{path}[{i}]") for i, part in enumerate(value)]}
        case Mapping():
            return {"dict": [[to_plain(key, tensors, path), to_plain(part, tensors, f"{path}.{key}")] for key, part in value.items()]}
    raise NotPlain(f"{path} is a {type(value).__name__}")


def from_plain(value: Any, tensors: Mapping[str, Tensor]) -> Any:
    """The value that `to_plain` wrote, its tensors on the CPU; dict, tuple and set stand for their subclasses too."""
    if isinstance(value, list):
        return [from_plain(part, tensors) for part in value]
    if not isinstance(value, dict):
        return value
    ((kind, content),) = value.items()
    match kind:
        case "tensor":
            name, *strides = content
            return in_layout(tensors[name], *strides)
        case "array":
            name, dtype, shape = content
            return np.frombuffer(tensors[name].numpy().tobytes(), dtype).reshape(shape).copy()
        case "tuple":
            return tuple(from_plain(part, tensors) for part in content)
        case "set":
            return {from_plain(part, tensors) for part in content}
        case "dict":
            return {from_plain(key, tensors): from_plain(part, tensors) for key, part in content}
    raise ValueError(f"a state has a value of the unknown kind {kind!r}")


def in_layout(tensor: Tensor, strides: list[int] | None = None) -> Tensor:
    """A copy with the strides that a tensor had, at an address as torch aligns it: in another order products are rounded otherwise."""
    if strides is None or 0 in strides:  # expanded
        return tensor.clone()
    return torch.empty_strided(tensor.shape, strides, dtype=tensor.dtype).copy_(tensor)
