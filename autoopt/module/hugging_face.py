"""Models of Hugging Face's transformers as networks that take a tensor and return a tensor."""

from torch import Tensor, nn

from autoopt.data.words import PADDING


class Answering(nn.Module):
    """A transformers model that takes its main input and returns its logits.

    The attention mask hides the padding of token indices.
    """

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model

    def forward(self, inputs: Tensor) -> Tensor:
        tokens = not inputs.is_floating_point()
        mask = {"attention_mask": (inputs != PADDING).long()} if tokens else {}
        return self.model(**{str(self.model.main_input_name): inputs}, **mask).logits


def answering(model: nn.Module) -> nn.Module:
    """The model, wrapped in `Answering` if it comes from transformers."""
    return Answering(model) if hasattr(model, "main_input_name") else model
