"""Where the activations of a model are that act between its layers."""

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import Node

from autoopt.data.task import Task
from autoopt.errors import out_of_memory
from autoopt.module.graph import graph_of, read_by_weights

ACTIVATIONS = tuple(
    getattr(nn, name)
    for name in ("ReLU", "ReLU6", "LeakyReLU", "PReLU", "ELU", "CELU", "SELU", "GELU", "SiLU", "Mish", "Tanh", "Softplus", "Hardswish")
)
Site = tuple[nn.Module, str]
"""The parent of a module, and its name there."""


def activation_sites(model: nn.Module, inputs: Any = None) -> list[Site]:
    """The sites of the activation modules, of a shared module several; without those that give the outputs, or are of a frozen part.

    Args:
        inputs: pass through the model, to see which activations a layer follows. Without them, or where the pass fails, the
            activation that was written last counts as the output.
    """
    frozen = {part for module in model.modules() if is_frozen(module) for part in module.modules()}
    parts = [module for module in model.modules() if module not in frozen]
    sites = [(parent, name) for parent in parts for name, child in parent._modules.items() if isinstance(child, ACTIVATIONS)]
    if sites and isinstance(inputs, Tensor):
        try:
            return followed(model, sites, inputs)
        except Exception as error:
            if out_of_memory(error):
                raise
    last = end(model)
    return [site for site in sites if site != last or only_one(sites)]


def is_frozen(module: nn.Module) -> bool:
    """Whether all weights of a module are frozen, as those of a teacher or of a pretrained part, which were learnt with its activations."""
    weights = list(module.parameters())
    return bool(weights) and not any(weight.requires_grad for weight in weights)


def plain_inputs(model: nn.Module, task: Task | None) -> Tensor | None:
    """Inputs that can pass through a model: its `example_input_array`, else ones in the shape of the task, if that is known."""
    array = getattr(model, "example_input_array", None)
    if isinstance(array, Tensor):
        return array
    if task is None or not task.input_shape:
        return None
    return torch.ones(2, *task.input_shape, dtype=torch.int64 if task.tokens else torch.float32)


def followed(model: nn.Module, sites: list[Site], inputs: Tensor) -> list[Site]:
    """The sites on whose results weights act in a forward pass, and those that it does not reach.

    Raises:
        ValueError: the outputs do not depend on the weights.
    """
    seen: list[set[Node | None]] = [set() for _ in sites]
    written = [parent._modules[name] for parent, name in sites]
    try:
        for (parent, name), activation, nodes in zip(sites, written, seen, strict=True):
            parent._modules[name] = copy.deepcopy(activation)  # a shared activation is called at several sites
            parent._modules[name].register_forward_hook(lambda *given, nodes=nodes: nodes.add(given[2].grad_fn))  # type: ignore[union-attr]
        outputs = graph_of(model, inputs.detach().clone())
    finally:
        for (parent, name), activation in zip(sites, written, strict=True):
            parent._modules[name] = activation
    if not outputs:
        raise ValueError("the outputs do not depend on the weights")
    read = read_by_weights(outputs)
    return [site for site, nodes in zip(sites, seen, strict=True) if not nodes or nodes & read]


def end(model: nn.Module) -> Site | None:
    """The site of the layer that was written last; modules without weights, such as losses and metrics, are not layers."""
    layers = [n for n, child in model._modules.items() if isinstance(child, ACTIVATIONS) or (child and list(child.parameters()))]
    if not layers:
        return None
    return end(model._modules[layers[-1]]) or (model, layers[-1])  # type: ignore[arg-type]


def only_one(sites: list[Site]) -> bool:
    """Whether the only activation is outside of any `Sequential`: then the layers share it, even if it is written last."""
    return len(sites) == 1 and not isinstance(sites[0][0], nn.Sequential)
