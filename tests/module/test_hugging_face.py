"""Models of transformers, made by a factory function of the user's."""

import pytest
import torch
from torch import nn

transformers = pytest.importorskip("transformers")

import autoopt  # noqa: E402
from autoopt.data.task import Task  # noqa: E402
from autoopt.module.hugging_face import Answering, answering  # noqa: E402

SMALL = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}


def vision(task: Task, *, width: int = 16) -> nn.Module:
    config = transformers.ViTConfig(
        image_size=task.input_shape[1],
        patch_size=4,
        num_channels=task.input_shape[0],
        num_labels=task.outputs,
        **SMALL | {"hidden_size": width},
    )
    return transformers.ViTForImageClassification(config)


def language(task: Task) -> nn.Module:
    return transformers.BertForSequenceClassification(transformers.BertConfig(vocab_size=task.tokens, num_labels=task.outputs, **SMALL))


def test_images_in_and_logits_out():
    made = answering(vision(Task("classification", (1, 8, 8), 10)))
    assert isinstance(made, Answering)
    assert made(torch.rand(3, 1, 8, 8)).shape == (3, 10)


def test_padding_is_not_looked_at():
    made = answering(language(Task("classification", (6,), 2, tokens=20))).eval()
    short, long = torch.tensor([[3, 4, 5]]), torch.tensor([[3, 4, 5, 0, 0, 0]])
    torch.testing.assert_close(made(short), made(long))
    assert not torch.allclose(made(short), made(torch.tensor([[3, 4, 5, 6, 7, 8]])))


def test_any_other_model_stays_what_it_is():
    model = nn.Linear(2, 2)
    assert answering(model) is model


@pytest.mark.slow
def test_it_is_trained_exported_and_loaded_like_any_other(tmp_path):
    tiny = ["data=digits", "data.digits.train=100", "study.epochs=1", "device=cpu", "tracking.enabled=false", f"root={tmp_path}"]
    trained = autoopt.train([*tiny, f"model={__name__}:vision", "model.vision.width=8"], quiet=True)
    model = autoopt.load(trained.path)
    assert model(torch.rand(2, 1, 8, 8)).shape == (2, 10)
    assert sum(p.numel() for p in model.parameters()) == trained.metrics["parameters"]
