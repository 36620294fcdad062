"""What a network is made of, as plain data: for networks that no builder makes again, such as pruned ones. Nothing is pickled."""

import copy
import importlib
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

JSON_TYPES = (bool, int, float, str)
OF_EVERY_MODULE = frozenset(vars(nn.Module()))


def describe_modules(model: nn.Module, donor: nn.Module) -> dict[str, Any]:
    """Classes, plain attributes and the names of the tensors of every module, as JSON.

    Args:
        donor: the network that a builder makes; its modules lend what is not plain to those of the same class.

    Raises:
        ValueError: a module has an attribute that is not plain, and is not of the donor's.
    """
    opaque = [name for name, value in attributes(model) if not name.startswith("_") and not is_plain(value)]
    opaque += sorted(model._non_persistent_buffers_set)
    if opaque and lender(donor, class_path(type(model))) is None:
        raise ValueError(f"a {type(model).__name__} cannot be stored: its attribute '{opaque[0]}' is no plain value")
    return {
        "class": class_path(type(model)),
        "attributes": {name: to_json(value) for name, value in attributes(model) if is_plain(value)},
        "parameters": [name for name, value in model._parameters.items() if value is not None],
        "buffers": [n for n, b in model._buffers.items() if b is not None and n not in model._non_persistent_buffers_set],
        "absent": [name for name, value in [*model._parameters.items(), *model._buffers.items()] if value is None],
        "modules": {name: None if child is None else describe_modules(child, donor) for name, child in model._modules.items()},
    }


def restore(node: Mapping[str, Any], tensors: Mapping[str, Tensor], donor: nn.Module, prefix: str = "") -> nn.Module:
    """The network that was described, with its tensors.

    Args:
        tensors: by the names of the network's `state_dict`.
        donor: as it was for `describe`.

    Raises:
        ValueError: the description and the tensors do not belong together, or a class is no module.
        ImportError: a class cannot be imported.
    """
    lent = lender(donor, node["class"], prefix)
    kind = class_at(node["class"]) if lent is None else type(lent)
    model = kind.__new__(kind)
    nn.Module.__init__(model)
    for name, value in () if lent is None else attributes(lent):
        object.__setattr__(model, name, copy.copy(value))
    for name, value in node["attributes"].items():
        object.__setattr__(model, name, decoded(value))
    missing = [f"{prefix}{name}" for name in (*node["parameters"], *node["buffers"]) if f"{prefix}{name}" not in tensors]
    if missing:
        raise ValueError(f"there is no tensor {missing[0]}")
    for name in node["parameters"]:
        tensor = tensors[f"{prefix}{name}"]
        model._parameters[name] = nn.Parameter(tensor, requires_grad=tensor.is_floating_point())
    for name in node["buffers"]:
        model._buffers[name] = tensors[f"{prefix}{name}"]
    if lent is not None:
        for name in lent._non_persistent_buffers_set.difference(node["buffers"]):
            model.register_buffer(name, copy.deepcopy(lent._buffers[name]), persistent=False)
    for name in node["absent"]:
        model.register_parameter(name, None)
    for name, child in node["modules"].items():
        model._modules[name] = None if child is None else restore(child, tensors, donor, f"{prefix}{name}.")
    return model


def attributes(model: nn.Module) -> Iterator[tuple[str, Any]]:
    """What a module holds beside its tensors and modules."""
    return ((name, value) for name, value in vars(model).items() if name not in OF_EVERY_MODULE or name == "training")


def lender(donor: nn.Module, kind: str, prefix: str = "") -> nn.Module | None:
    """The donor's module of this class; where there are several, the one in the same place."""
    found = {name: module for name, module in donor.named_modules() if class_path(type(module)) == kind}
    return found.get(prefix.removesuffix("."), next(iter(found.values()), None))


def is_plain(value: Any) -> bool:
    if isinstance(value, tuple | list):
        return all(map(is_plain, value))
    return value is None or isinstance(value, torch.dtype) or type(value) in JSON_TYPES


def to_json(value: Any) -> Any:
    """A plain value as JSON; what JSON does not tell apart is named."""
    if isinstance(value, torch.dtype):
        return {"dtype": str(value).removeprefix("torch.")}
    if isinstance(value, tuple):
        return {"tuple": [to_json(part) for part in value]}
    return [to_json(part) for part in value] if isinstance(value, list) else value


def decoded(value: Any) -> Any:
    if isinstance(value, dict):
        return tuple(map(decoded, value["tuple"])) if "tuple" in value else getattr(torch, value["dtype"])
    return [decoded(part) for part in value] if isinstance(value, list) else value


def class_path(kind: type) -> str:
    return f"{kind.__module__}:{kind.__qualname__}"


def class_at(path: str) -> type[nn.Module]:
    """The module class of this import path.

    Raises:
        ValueError: it is none.
        ImportError: it cannot be imported.
    """
    module, _, name = path.partition(":")
    found: Any = importlib.import_module(module)
    for part in name.split("."):
        found = getattr(found, part, None)
    if not (isinstance(found, type) and issubclass(found, nn.Module)):
        raise ValueError(f"{path} is no torch.nn.Module")
    return found
