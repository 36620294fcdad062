"""What a trial reports of its training: its time, without that of validations."""

import time

import lightning.pytorch as L
import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, TensorDataset

from autoopt.config import compose
from autoopt.orders import Train
from autoopt.space import Space
from autoopt.trial.run import prepare, run

HERE = __name__
TRAINED, EVALUATED = 0.02, 0.2


class Slow(nn.Module):
    """Takes ten times as long in evaluation mode."""

    def __init__(self, task=None):
        super().__init__()
        self.layer = nn.Linear(4, 3)

    def forward(self, inputs):
        time.sleep(TRAINED if self.training else EVALUATED)
        return self.layer(inputs)


class Lit(L.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = Slow()

    def forward(self, inputs):
        return self.net(inputs)

    def training_step(self, batch, _):
        return cross_entropy(self(batch[0]), batch[1])

    def validation_step(self, batch, _):
        self.log("val_loss", cross_entropy(self(batch[0]), batch[1]))

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


class Data(L.LightningDataModule):
    batch_size = 16

    def rows(self):
        return DataLoader(TensorDataset(torch.randn(64, 4), torch.arange(64) % 3), self.batch_size)

    train_dataloader = val_dataloader = rows


@pytest.mark.parametrize(
    "said", [("model={}:Slow",), ("model={}:Lit",), ("model={}:Lit", "trainer.val_check_interval=2", "trainer.num_sanity_val_steps=1")]
)
def test_the_seconds_are_those_of_training_alone(tmp_path, said):
    tree = compose([f"data={HERE}:Data", *(each.format(HERE) for each in said), "study.epochs=2", "optimizer=sgd", "schedule=constant"])
    world, facts = prepare({"tree": tree, "store": str(tmp_path)})
    order = Train(key="0", recipe=Space.of(tree).fitting(facts["absent"]).baseline(), objective="val_loss")
    found = run(world, order.json(), lambda epoch, metrics: False)
    assert 8 * TRAINED < found["seconds"] < 8 * TRAINED + 4 * EVALUATED
    assert found["seconds"] == found["metrics"]["seconds"]
