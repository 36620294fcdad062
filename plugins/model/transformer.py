from typing import Annotated

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from autoopt.data.task import Task
from autoopt.data.words import PADDING
from autoopt.domain import Bounds, Choice, Range, Unavailable


class Attention(nn.Module):
    """`softmax(q k^T / sqrt(d)) v` in each head; `seen` (N, 1, 1, T) marks the places that are attended to."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.project, self.combine = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, inputs: Tensor, seen: Tensor | None = None) -> Tensor:
        query, key, value = self.project(inputs).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        attended = scaled_dot_product_attention(query, key, value, attn_mask=seen)
        return self.combine(attended.transpose(1, 2).flatten(2))


class Residual(nn.Module):
    """`x + branch(norm(x))`."""

    def __init__(self, width: int, branch: nn.Module):
        super().__init__()
        self.norm, self.branch = nn.LayerNorm(width), branch

    def forward(self, inputs: Tensor, *given: Tensor | None) -> Tensor:
        return inputs + self.branch(self.norm(inputs), *given)


class SwiGLU(nn.Module):
    """`W (silu(U x) * V x)`."""

    def __init__(self, width: int, hidden: int):
        super().__init__()
        self.gate, self.value, self.combine = nn.Linear(width, hidden), nn.Linear(width, hidden), nn.Linear(hidden, width)
        self.activation = nn.SiLU()

    def forward(self, inputs: Tensor) -> Tensor:
        return self.combine(self.activation(self.gate(inputs)) * self.value(inputs))


def feedforward_network(kind: str, width: int) -> nn.Module:
    """A network of 8 `width`² weights."""
    if kind == "swiglu":
        return SwiGLU(width, round(8 * width / 3))
    return nn.Sequential(nn.Linear(width, 4 * width), nn.ReLU(), nn.Linear(4 * width, width))


class Layer(nn.Module):
    """Attention, then a feed-forward network, both residual: (N, T, width) -> (N, T, width)."""

    def __init__(self, width: int, heads: int, feedforward: str):
        super().__init__()
        self.attention = Residual(width, Attention(width, heads))
        self.feedforward = Residual(width, feedforward_network(feedforward, width))

    def forward(self, inputs: Tensor, seen: Tensor | None) -> Tensor:
        return self.feedforward(self.attention(inputs, seen))


class Transformer(nn.Module):
    """Encoder layers over embedded places, and a linear layer on their mean; padding is neither attended to nor averaged."""

    def __init__(self, embedding: nn.Module, layers: list[Layer], width: int, length: int, outputs: int, tokens: bool):
        super().__init__()
        self.embedding, self.tokens = embedding, tokens
        self.register_buffer("positions", sinusoids(length, width), persistent=False)
        self.layers = nn.ModuleList(layers)
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, outputs)

    def forward(self, inputs: Tensor) -> Tensor:
        signal, seen = self.embedding(inputs), token_positions(inputs) if self.tokens else None
        signal = signal + self.positions[: signal.shape[1]]  # type: ignore[index]
        for layer in self.layers:
            signal = layer(signal, None if seen is None else seen[:, None, None])
        signal = self.norm(signal)
        if seen is None:
            return self.head(signal.mean(1))
        return self.head((signal * seen[..., None]).sum(1) / seen.sum(1, keepdim=True))


def transformer(
    task: Task,
    *,
    width: Annotated[int, Range(32, 256, step=32), Bounds(1)] = 64,
    depth: Annotated[int, Range(1, 6), Bounds(1)] = 2,
    heads: Annotated[int, Choice(1, 2, 4, 8), Bounds(1)] = 4,
    feedforward: Annotated[str, Choice("mlp", "swiglu")] = "mlp",
    patch: Annotated[int | None, Bounds(1)] = None,
) -> nn.Module:
    """A transformer encoder of `depth` layers, `width` and `heads`, over a sequence (N, T, F), and a linear layer on its mean.

    Tokens (N, T) are embedded; images are cut into squares of `patch` by `patch` pixels, by default about 14 along the shorter side,
    as of 16 pixels in an image of 224, but of 4 pixels or more.
    Sinusoids encode the positions; the feed-forward layers are 4 `width` wide; each norm comes before its branch. With `swiglu` they
    are `W (silu(U x) * V x)`, 8/3 `width` wide, so that they have as many weights.

    Vaswani et al. 2017, arXiv:1706.03762; norm first: Xiong et al. 2020, arXiv:2002.04745; images: Dosovitskiy et al. 2020,
    arXiv:2010.11929; swiglu: Shazeer 2020, arXiv:2002.05202.

    Raises:
        Unavailable: the inputs are neither sequences (T, F) nor tokens nor images.
        ValueError: `width` is not a multiple of `heads`, or `patch` is larger than the image.
    """
    if width % heads:
        raise ValueError(f"width={width} is not a multiple of heads={heads}")
    embedding, length = embed(task, width, patch)
    layers = [Layer(width, heads, feedforward) for _ in range(depth)]
    return Transformer(embedding, layers, width, length, task.outputs, task.tokens > 0)


def embed(task: Task, width: int, patch: int | None) -> tuple[nn.Module, int]:
    """The module that embeds inputs as a sequence of vectors, each `width` wide, and the length of the sequence.

    Raises:
        Unavailable: the inputs are neither sequences (T, F) nor tokens nor images.
        ValueError: `patch` is larger than the image.
    """
    shape = task.input_shape
    if task.tokens:
        return nn.Embedding(task.tokens, width, padding_idx=PADDING), shape[0]
    if len(shape) == 2:
        return nn.Linear(shape[1], width), shape[0]
    if not task.images:
        raise Unavailable(f"transformer needs sequences (T, F), tokens or images, the inputs have the shape {shape}")
    side = patch or min(max(4, min(shape[1:]) // 14), *shape[1:])
    if side > min(shape[1:]):
        raise ValueError(f"patch={patch} is larger than the image, {shape[1]}x{shape[2]}")
    cut = nn.Sequential(nn.Conv2d(shape[0], width, side, side), nn.Flatten(2), Turn())
    return cut, (shape[1] // side) * (shape[2] // side)


class Turn(nn.Module):
    """(N, width, T) -> (N, T, width)."""

    def forward(self, inputs: Tensor) -> Tensor:
        return inputs.transpose(1, 2)


def token_positions(tokens: Tensor) -> Tensor:
    """The mask (N, T) of the tokens; all True for a text without tokens, so that its mean exists."""
    seen = tokens != PADDING
    return seen | ~seen.any(1, keepdim=True)


def sinusoids(length: int, width: int) -> Tensor:
    """`sin(t / 10000^(2i/width))` and its cosine, side by side: (length, width)."""
    frequencies = 10000 ** (-torch.arange(0, width, 2) / width)
    angles = torch.arange(length)[:, None] * frequencies
    return torch.stack([angles.sin(), angles.cos()], 2).flatten(1)[:, :width]
