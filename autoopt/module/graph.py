"""The graph of a network's computation, as autograd records it in a forward pass: what acts on what, in whatever order it was written."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import Node
from torch.utils._pytree import tree_leaves

from autoopt.module.probing import probing


def graph_of(model: nn.Module, inputs: Tensor) -> list[Node]:
    """The nodes that give the outputs of a network in evaluation mode, frozen weights included; the network stays as it is."""
    frozen = [p for p in model.parameters() if not p.requires_grad and p.is_floating_point()]
    if inputs.is_floating_point():
        inputs.requires_grad_()
    try:
        for parameter in frozen:
            parameter.requires_grad_()
        with torch.enable_grad(), probing(model):
            outputs: Any = model(inputs)
    finally:
        for parameter in frozen:
            parameter.requires_grad_(False)
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


def read_by_weights(outputs: Iterable[Node]) -> set[Node]:
    """The nodes on whose results weights act before the outputs.

    A frozen parameter is no weight in the graph of a training.
    """
    order = in_order(outputs)
    weights, read = set[Node](), set[Node]()
    for node in order:
        inner = [child for child, _ in node.next_functions]
        made_of_weights = bool(inner) and weights.issuperset(inner) and "Embedding" not in node.name()  # as a transposed weight is
        if isinstance(getattr(node, "variable", None), nn.Parameter) or made_of_weights:
            weights.add(node)
    for node in reversed(order):
        children = {child for child, _ in node.next_functions if child is not None}
        if node in read or weights & children:
            read |= children - weights
    return read
