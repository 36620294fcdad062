"""Trainings whose weights are not in single precision, as `bf16-true` has them: what they are given, and what becomes of them."""

import pandas
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from autoopt.config import compose
from autoopt.orders import Outcome, Train
from autoopt.space import Space
from autoopt.trial.run import prepare, run

HERE = __name__
SEEN: list[torch.Tensor] = []
"""The inputs of the network."""


def trained(root, *overrides: str, **slots) -> tuple[Outcome, dict[str, torch.Tensor]]:
    """The outcome and the stored weights of a training on the CPU; `slots` replace some of its techniques."""
    fixed = ("device=cpu", "batches.size=32", "schedule=constant", "augmentation=none", "regularizer=none", "initializer=keep")
    tree = compose([*fixed, *overrides])
    world, facts = prepare({"tree": tree, "store": str(root)})
    recipe = Space.of(tree).fitting(facts["absent"]).baseline().replace(**slots)
    outcome = run(world, Train(key="0", recipe=recipe, seed=1, objective="val_loss", keep=True, latency=True).json(), lambda *_: False)
    return Outcome(**outcome), load_file(world.store.weights("0"))


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["bf16-true", "64-true"])
@pytest.mark.parametrize("optimizer", ["adamw", "schedule_free_adamw"])
def test_a_network_of_another_precision_trains_and_is_stored_in_single_precision(tmp_path, precision, optimizer):
    said = (
        "data=digits",
        "data.digits.train=400",
        "model=cnn",
        "model.cnn.width=8",
        "study.epochs=8",
        f"optimizer={optimizer}",
        f"optimizer.{optimizer}.lr=0.03",
    )
    outcome, weights = trained(tmp_path, *said, f"device.cpu.precision={precision}")
    assert outcome.metrics["val_accuracy"] > 0.8 and outcome.metrics["latency_ms"] > 0
    assert {tensor.dtype for tensor in weights.values() if tensor.is_floating_point()} == {torch.float32}


@pytest.mark.slow
def test_codes_of_categories_are_not_rounded(tmp_path):
    """bfloat16 tells whole numbers apart up to 256; here the class is whether the code is odd."""
    frame = pandas.DataFrame({"street": [f"s{i % 400:03}" for i in range(2400)], "y": ["ab"[i % 2] for i in range(2400)]})
    frame.to_csv(tmp_path / "t.csv", index=False)
    table = ("data=csv", f"data.csv.path={tmp_path / 't.csv'}", "data.csv.target=y", "model=mlp", "study.epochs=10")
    outcome, _ = trained(tmp_path, *table, "optimizer=adamw", "optimizer.adamw.lr=0.01", "device.cpu.precision=bf16-true")
    assert outcome.metrics["val_accuracy"] > 0.95


class Watching(nn.Module):
    def __init__(self, task):
        super().__init__()
        self.layer = nn.Linear(64, task.outputs)

    def forward(self, inputs):
        SEEN.append(inputs)
        return self.layer(inputs.flatten(1))


def test_inputs_are_cast_in_training_and_not_afterwards(tmp_path):
    SEEN.clear()
    trained(tmp_path, "data=digits", "data.digits.train=64", f"model={HERE}:Watching", "study.epochs=1", "device.cpu.precision=bf16-true")
    kinds = [inputs.dtype for inputs in SEEN]
    steps = kinds.index(torch.bfloat16)
    assert {*kinds[steps : steps + 3]} == {torch.bfloat16} and kinds[-1] == torch.float32
