"""Models of transformers, made by a factory function of the user's."""

import pytest
import torch
from torch import nn

transformers = pytest.importorskip("transformers")

import autoopt  # noqa: E402
from autoopt.data.task import Task  # noqa: E402
from autoopt.module.hugging_face import Answering, answering  # noqa: E402
from autoopt.plugins.regularizer.stochastic_depth import stochastic_depth  # noqa: E402

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
@pytest.mark.usefixtures("forks")
def test_it_is_trained_exported_and_loaded_like_any_other(tmp_path):
    tiny = ["data=digits", "data.digits.train=100", "study.epochs=1", "device=auto", "tracking.enabled=false", f"root={tmp_path}"]
    trained = autoopt.train([*tiny, f"model={__name__}:vision", "model.vision.width=8"], quiet=True)
    model = autoopt.load(trained.path)
    assert model(torch.rand(2, 1, 8, 8)).shape == (2, 10)
    assert sum(p.numel() for p in model.parameters()) == trained.metrics["parameters"]


@pytest.mark.parametrize("rate", [0.0, 0.5])
def test_stochastic_depth_acts_where_the_authors_drop_paths(rate):
    config = {"num_channels": 1, "patch_size": 2, "hidden_sizes": [8], "depths": [3], "num_stages": 1, "num_labels": 3}
    made = answering(transformers.ConvNextForImageClassification(transformers.ConvNextConfig(**config, drop_path_rate=rate)))
    stochastic_depth(made, survival=0.7)
    blocks = [block for block in made.modules() if hasattr(block, "drop_path")]
    for block, expected in zip(blocks, (0.9, 0.8, 0.7), strict=True):
        branch = block.drop_path(torch.ones(5000, 8, 2, 2)).flatten(1)
        assert (branch == branch[:, :1]).all()
        assert sorted(branch[:, 0].unique().tolist()) == pytest.approx([0, 1 / expected])
        assert (branch[:, 0] > 0).float().mean().item() == pytest.approx(expected, abs=0.03)
    assert torch.equal(blocks[0].eval().drop_path(torch.ones(2, 8, 2, 2)), torch.ones(2, 8, 2, 2))
