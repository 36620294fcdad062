"""The structure of a network as plain data, without pickle, for networks that no builder can make, such as pruned ones."""

import copy
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from autoopt.namesakes import imported

JSON_TYPES = (bool, int, float, str)
OF_EVERY_MODULE = frozenset(vars(nn.Module()))


def describe_modules(model: nn.Module, donor: nn.Module) -> dict[str, Any]:
    """The class, the plain attributes and the names of the tensors of every module, as JSON.

    Args:
        donor: a network that a builder makes; its modules give their other attributes to modules of the same class.

    Raises:
        ValueError: a module has an attribute that is not plain, and the donor has no module of its class.
    """
    opaque = [name for name, value in attributes(model) if not name.startswith("_") and not is_plain(value)]
    opaque += sorted(model._non_persistent_buffers_set)
    if opaque and lender(donor, class_path(type(model))) is None:
        raise ValueError(f"a {type(model).__name__} cannot be stored: its attribute '{opaque[0]}' is not a plain value")
    return {
        "class": class_path(type(model)),
        "attributes": {name: to_json(value) for name, value in attributes(model) if is_plain(value)},
        "parameters": [name for name, value in model._parameters.items() if value is not None],
        "buffers": [n for n, b in model._buffers.items() if b is not None and n not in model._non_persistent_buffers_set],
        "absent": [name for name, value in [*model._parameters.items(), *model._buffers.items()] if value is None],
        "modules": {name: None if child is None else describe_modules(child, donor) for name, child in model._modules.items()},
    }


def restore(node: Mapping[str, Any], tensors: Mapping[str, Tensor], donor: nn.Module, prefix: str = "") -> nn.Module:
    """The network of a description, with its tensors.

    Args:
        node: what `describe_modules` returned.
        tensors: by the names of the network's `state_dict`.
        donor: as for `describe_modules`.
        prefix: the path of the node in the network, with a dot at its end.

    Raises:
        ValueError: a tensor is missing, a class is not a `torch.nn.Module`, or an attribute is not plain.
        ImportError: a class cannot be imported.
    """
    lent = lender(donor, node["class"], prefix)
    kind = class_at(node["class"]) if lent is None else type(lent)
    model = kind.__new__(kind)
    nn.Module.__init__(model)
    registered = {name for part in ("parameters", "buffers", "absent", "modules") for name in node[part]}
    for name, value in () if lent is None else attributes(lent):
        if name not in registered:  # an attribute of the same name would hide it
            object.__setattr__(model, name, copy.copy(value))
    for name, value in node["attributes"].items():
        if name in OF_EVERY_MODULE and name != "training":
            raise ValueError(f"{name} is no attribute of its own")
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


def foreign_classes(node: Mapping[str, Any], donor: nn.Module) -> set[str]:
    """The import paths of the classes in a description that the donor does not have."""
    inner = (foreign_classes(child, donor) for child in node["modules"].values() if child is not None)
    own = set() if lender(donor, node["class"]) is not None else {node["class"]}
    return own.union(*inner)


def attributes(model: nn.Module) -> Iterator[tuple[str, Any]]:
    """The attributes of a module besides its tensors and modules."""
    return ((name, value) for name, value in vars(model).items() if name not in OF_EVERY_MODULE or name == "training")


def lender(donor: nn.Module, kind: str, prefix: str = "") -> nn.Module | None:
    """The donor's module of this class; of several, the one at the same path, which wrappers may have made longer."""
    candidates = {name: module for name, module in donor.named_modules(remove_duplicate=False) if class_path(type(module)) == kind}
    same = [name for name in candidates if f".{prefix}".endswith(f".{name}." if name else ".")]
    return candidates[max(same, key=len)] if same else next(iter(candidates.values()), None)


def is_plain(value: Any) -> bool:
    if isinstance(value, tuple | list):
        return all(map(is_plain, value))
    return value is None or isinstance(value, torch.dtype) or type(value) in JSON_TYPES


def to_json(value: Any) -> Any:
    """A plain value as JSON; a dtype and a tuple are marked by a mapping."""
    if isinstance(value, torch.dtype):
        return {"dtype": str(value).removeprefix("torch.")}
    if isinstance(value, tuple):
        return {"tuple": [to_json(part) for part in value]}
    return [to_json(part) for part in value] if isinstance(value, list) else value


def decoded(value: Any) -> Any:
    """The plain value that `to_json` wrote; raises ValueError for anything else."""
    if isinstance(value, dict):
        found = tuple(map(decoded, value["tuple"])) if "tuple" in value else getattr(torch, value["dtype"], None)
        if not isinstance(found, tuple | torch.dtype):
            raise ValueError(f"{value['dtype']} is no dtype")
        return found
    return [decoded(part) for part in value] if isinstance(value, list) else value


def class_path(kind: type) -> str:
    return f"{kind.__module__}:{kind.__qualname__}"


def class_at(path: str) -> type[nn.Module]:
    """The class of modules at an import path.

    Raises:
        ValueError: the path is not the one of a subclass of `torch.nn.Module`.
        ImportError: the module of the path cannot be imported.
    """
    module, _, name = path.partition(":")
    kind: Any = imported(module)
    for part in name.split("."):
        kind = getattr(kind, part, None)
    if not (isinstance(kind, type) and issubclass(kind, nn.Module) and class_path(kind) == path):  # no other module's by way of this one
        raise ValueError(f"{path} is not a torch.nn.Module")
    return kind
