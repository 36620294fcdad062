"""Models of Hugging Face's transformers behind one tensor in and one tensor out."""

from torch import Tensor, nn


class Answering(nn.Module):
    """A transformers model that is given its main input and answers with its logits.

    Of token indices, those that are 0 are padding, which it is told not to look at.
    """

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model

    def forward(self, inputs: Tensor) -> Tensor:
        tokens = not inputs.is_floating_point()
        mask = {"attention_mask": (inputs != 0).long()} if tokens else {}
        return self.model(**{str(self.model.main_input_name): inputs}, **mask).logits


def answering(model: nn.Module) -> nn.Module:
    """The model; one of transformers so that it takes and gives tensors."""
    return Answering(model) if hasattr(model, "main_input_name") else model
