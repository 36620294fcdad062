"""For Muon: the weights with which a network begins, and those that give its outputs, by the graph of their computation."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import Node
from torch.utils._pytree import tree_leaves


def edges(model: nn.Module, inputs: Tensor, weights: set[Tensor]) -> tuple[set[Tensor], set[Tensor], set[Tensor]]:
    """Of these weights: those that no other comes before, those that no other comes after, and all that are used."""
    first, used, last = set[Tensor](), set[Tensor](), dict[Node, set[Tensor]]()
    made_of: dict[Node, set[Tensor]] = {}
    """Nodes that no input enters, such as a transposed weight, with their parameters."""
    outputs = graph_of(model, inputs)
    for node in in_order(outputs):
        children = [child for child, _ in node.next_functions if child is not None]
        if hasattr(node, "variable"):
            given = node.variable is inputs
            made_of |= {} if given else {node: {node.variable}}
            last |= {node: set()} if given else {}
        elif children and made_of.keys() >= set(children) and "Embedding" not in node.name():
            made_of[node] = set[Tensor]().union(*(made_of[child] for child in children))
        else:
            own = set[Tensor]().union(*(made_of.get(child, set()) for child in children)) & weights
            before = set[Tensor]().union(*(last.get(child, set()) for child in children))
            first |= set() if before else own
            last[node] = own or before
            used |= own
    return first, set[Tensor]().union(*(last.get(node, set()) for node in outputs)), used


def graph_of(model: nn.Module, inputs: Tensor) -> list[Node]:
    """The nodes that give the outputs of a network in evaluation mode, frozen weights included; the network stays as it is."""
    modes = {module: module.training for module in model.modules()}
    frozen = [p for p in model.parameters() if not p.requires_grad and p.is_floating_point()]
    if inputs.is_floating_point():
        inputs.requires_grad_()
    try:
        for parameter in frozen:
            parameter.requires_grad_()
        with torch.enable_grad():
            outputs: Any = model.eval()(inputs)
    finally:
        for parameter in frozen:
            parameter.requires_grad_(False)
        for module, mode in modes.items():
            module.training = mode
    return [leaf.grad_fn for leaf in tree_leaves(outputs) if isinstance(leaf, Tensor) and leaf.grad_fn is not None]


def in_order(outputs: Iterable[Node]) -> list[Node]:
    """The nodes of a graph, each after those that it needs."""
    done: dict[Node, None] = {}
    waiting = list(outputs)
    while waiting:
        needed = [child for child, _ in waiting[-1].next_functions if child is not None and child not in done]
        waiting += needed
        if not needed:
            done[waiting.pop()] = None
    return list(done)
