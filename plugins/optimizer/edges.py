"""For Muon: the weights with which a network begins, and those that give its outputs, by the graph of their computation."""

from torch import Tensor, nn
from torch.autograd.graph import Node

from autoopt.module.graph import graph_of, in_order


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
