"""An embedding of a table's large categories, learnt in front of a recipe's network."""

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor, nn

from autoopt.data.examples import embedding_width
from autoopt.data.task import Task
from autoopt.module.probing import probing


class Embedded(nn.Module):
    """A network behind embeddings: the level codes in the last columns of a table become learnt vectors.

    Code 0 means an unknown or rare level; its vector starts at zero.

    Guo & Berkhahn 2016, arXiv:1604.06737.
    """

    def __init__(self, categories: tuple[int, ...], model: nn.Module):
        super().__init__()
        self.embeddings = nn.ModuleList(nn.Embedding(levels, embedding_width(levels)) for levels in categories)
        for embedding in self.embeddings:
            nn.init.zeros_(embedding.weight.detach()[0])  # type: ignore[operator]
        self.model = model

    def forward(self, inputs: Tensor) -> Tensor:
        return self.model(self.joined(inputs))

    def joined(self, inputs: Tensor) -> Tensor:
        """The inputs of the network: the numeric columns, in the precision of the vectors, and the vectors."""
        numbers, codes = inputs.tensor_split([inputs.shape[1] - len(self.embeddings)], 1)
        vectors = [embedding(codes[:, i].long()) for i, embedding in enumerate(self.embeddings)]
        return torch.cat([numbers.to(vectors[0].dtype), *vectors], 1)


def embedded(task: Task, make: Callable[[Task], nn.Module]) -> nn.Module:
    """The network that `make` builds for a task, behind an embedding if the task has categories to embed."""
    if not task.categories:
        return make(task)
    columns = task.input_shape[0] - len(task.categories) + sum(map(embedding_width, task.categories))
    return Embedded(task.categories, make(replace(task, input_shape=(columns,), categories=())))


@torch.no_grad()
def reads_codes(model: nn.Module, inputs: Tensor) -> bool:
    """Whether embeddings of the model look up codes that come from floating inputs: these must not be rounded or mixed."""
    embeddings = [m for m in model.modules() if isinstance(m, nn.Embedding | nn.EmbeddingBag)]
    if not embeddings or not inputs.is_floating_point():
        return False
    seen: list[Tensor] = []
    hooks = [m.register_forward_pre_hook(lambda _, given: seen.append(given[0].clone())) for m in embeddings]
    with probing(model, hooks):
        model(inputs)
        calls = len(seen)
        model(torch.zeros_like(inputs))  # positions stay the same
    return any(not torch.equal(before, after) for before, after in zip(seen[:calls], seen[calls:], strict=True))
