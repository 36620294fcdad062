from typing import Annotated

import torch
from torch import Tensor, nn

from autoopt.data.task import Task
from autoopt.data.words import PADDING
from autoopt.domain import Bounds, Choice, Range, Unavailable


class Recurrent(nn.Module):
    """Recurrent layers over an embedded sequence, and a linear layer on the last state: (N, T, F) or (N, T) -> (N, K)."""

    def __init__(self, embedding: nn.Module, layers: nn.Module, head: nn.Module, tokens: bool):
        super().__init__()
        self.embedding, self.layers, self.head, self.tokens = embedding, layers, head, tokens
        self.dropout = nn.Dropout(0.0)  # off; a regularizer sets it, since there is no activation module here

    def forward(self, inputs: Tensor) -> Tensor:
        states, _ = self.layers(self.embedding(inputs))
        state = states[:, -1]
        if self.tokens:
            last = ((inputs != PADDING) * torch.arange(inputs.shape[1], device=inputs.device)).amax(1)
            state = states.gather(1, last[:, None, None].expand(-1, 1, states.shape[2])).squeeze(1)
        return self.head(self.dropout(state))


def recurrent(
    task: Task,
    *,
    cell: Annotated[str, Choice("lstm", "gru")] = "lstm",
    width: Annotated[int, Range(16, 256, log=True), Bounds(1)] = 64,
    depth: Annotated[int, Range(1, 3), Bounds(1)] = 1,
) -> nn.Module:
    """`depth` recurrent layers of `width` units over a sequence (N, T, F), and a linear layer on their last state.

    Tokens (N, T) are embedded first, `width` wide; the last state is that at the last token, before the padding.

    LSTM: Hochreiter & Schmidhuber 1997, DOI 10.1162/neco.1997.9.8.1735; GRU: Cho et al. 2014, arXiv:1406.1078.

    Raises:
        Unavailable: the inputs are neither sequences (T, F) nor tokens.
    """
    if not task.tokens and len(task.input_shape) != 2:
        raise Unavailable(f"recurrent needs sequences (T, F) or tokens, the inputs have the shape {task.input_shape}")
    embedding = nn.Embedding(task.tokens, width, padding_idx=PADDING) if task.tokens else nn.Identity()
    features = width if task.tokens else task.input_shape[1]
    layers = {"lstm": nn.LSTM, "gru": nn.GRU}[cell](features, width, depth, batch_first=True)
    return Recurrent(embedding, layers, nn.Linear(width, task.outputs), task.tokens > 0)
