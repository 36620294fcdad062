"""Values that a technique cannot mean are told: a number of epochs where a share is expected, and texts that it does not know."""

import pytest
import torch
from torch import nn
from torch.optim import SGD

from autoopt.data.task import Task
from autoopt.technique import build, find
from autoopt.testing.toys import ResidualBlock

IMAGES = Task("classification", (3, 8, 8), 4, class_counts=torch.ones(4))
TABLE = Task("classification", (6,), 4, class_counts=torch.ones(4))
WORDS = Task("classification", (5, 6), 4)

SHARES = [
    "schedule/cosine.warmup", "schedule/cosine_restarts.warmup", "schedule/linear.warmup", "schedule/inverse_sqrt.warmup",
    "schedule/warmup_stable_decay.warmup", "schedule/warmup_stable_decay.decay", "schedule/one_cycle.rise",
    "schedule/plateau.patience", "regularizer/early_stopping.patience", "regularizer/swa.start", "regularizer/ema.decay",
    "regularizer/stochastic_depth.survival", "optimizer/asgd.start", "optimizer/schedule_free_adamw.warmup",
    "optimizer/schedule_free_sgd.warmup", "compression/prune_magnitude.sparsity", "compression/prune_structured.ratio",
    "compression/low_rank.energy", "compression/distill.share", "compression/distill.weight", "augmentation/crop.cut",
    "augmentation/gaussian_samples.share", "augmentation/random_erasing.area", "augmentation/random_erasing.probability",
]  # fmt: skip
TEXTS = [
    "model/mlp.connection", "model/cnn.convolution", "model/transformer.feedforward", "model/recurrent.cell",
    "loss/cross_entropy.class_weight", "loss/focal.class_weight", "augmentation/flip.direction", "augmentation/trivial_augment.space",
    "augmentation/random_erasing.fill", "compression/quantize_static.calibration", "compression/half.dtype", "device/cpu.strategy",
    "device/cpu.hook",
]  # fmt: skip


def built(argument: str, value: object) -> object:
    path, key = argument.rsplit(".", 1)
    slot, name = path.split("/")
    model = nn.Sequential(ResidualBlock(nn.Linear(6, 6)), nn.Linear(6, 4))
    inputs, targets = torch.rand(8, 3, 8, 8), torch.eye(4).repeat(2, 1)
    offered = {
        "model": model, "optimizer": SGD(model.parameters(), lr=0.1), "params": [{"params": [*model.parameters()]}], "total_steps": 20,
        "steps_per_epoch": 5, "objective": "val_loss", "direction": "minimize", "batches": [(torch.rand(8, 6), torch.arange(8) % 4)],
        "finetune": lambda model, *_, **__: model, "build": lambda **_: model, "class_counts": torch.ones(4), "planes": inputs,
        "pixels": inputs, "images": inputs, "inputs": inputs, "targets": targets,
        "task": {"cnn": IMAGES, "transformer": WORDS, "recurrent": WORDS}.get(name, TABLE),
    }  # fmt: skip
    return build(find(slot, name), offered, {key: value})


@pytest.mark.parametrize("value", [10.0, -0.5])
@pytest.mark.parametrize("argument", SHARES)
def test_a_share_lies_between_0_and_1(argument, value):
    with pytest.raises(ValueError, match=rf"^{argument.rpartition('.')[2]}={value}: expected a share, from 0 to 1$"):
        built(argument, value)


@pytest.mark.parametrize("argument", TEXTS)
def test_a_text_that_a_technique_does_not_know_is_told_with_those_that_it_does(argument):
    with pytest.raises(ValueError, match=rf"^{argument.rpartition('.')[2]}=other: expected one of \w+, \w+"):
        built(argument, "other")


@pytest.mark.parametrize("norm", [0.0, -1.0])
def test_gradients_are_not_clipped_to_nothing_nor_turned_round(norm):
    with pytest.raises(ValueError, match=rf"^norm={norm}: expected a length above 0$"):
        built("regularizer/gradient_clip.norm", norm)
