"""Shared by models of texts: the mean of the words' vectors."""

from torch import Tensor, nn

from autoopt.data.words import PADDING


class MeanEmbedding(nn.Embedding):
    """The mean of the vectors of a text's words, without the padding: (N, T) -> (N, W).

    An `nn.EmbeddingBag` does the same, but becomes a loop over the texts in ONNX.
    """

    def __init__(self, tokens: int, width: int):
        super().__init__(tokens, width, padding_idx=PADDING)

    def forward(self, inputs: Tensor) -> Tensor:
        words = (inputs != PADDING).to(self.weight.dtype)[..., None]
        total: Tensor = (super().forward(inputs) * words).sum(1)
        return total / words.sum(1).clamp(min=1)
