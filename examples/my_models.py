"""A LightningModule as its author wrote it: it knows nothing of autoopt."""

import lightning.pytorch as L
import torch
from torch import nn


class LitNet(L.LightningModule):
    def __init__(self, channels: int = 8, lr: float = 0.1):
        super().__init__()
        self.lr = lr
        self.net = nn.Sequential(nn.Conv2d(1, channels, 3), nn.BatchNorm2d(channels), nn.ReLU(), nn.Flatten(), nn.Linear(channels * 36, 10))

    def forward(self, x):
        return self.net(x)

    def training_step(self, batch, index):
        return nn.functional.cross_entropy(self(batch[0]), batch[1])

    def validation_step(self, batch, index):
        self.log("val_acc", (self(batch[0]).argmax(1) == batch[1]).float().mean())

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=self.lr)


def callbacks():
    """The callbacks of the author's Trainer, made anew for each trial."""
    return [L.callbacks.EarlyStopping("val_acc", mode="max"), L.callbacks.ModelCheckpoint(monitor="val_acc", mode="max")]


class Net(L.LightningModule):
    """Its arguments are a list, a mapping, and a partial optimizer, which is called with the parameters."""

    def __init__(self, sizes=(64,), options=None, optimizer=torch.optim.Adam):
        super().__init__()
        widths, self.optimizer = [64, *sizes], optimizer
        layers = [layer for a, b in zip(widths, sizes, strict=False) for layer in (nn.Linear(a, b), nn.ReLU())]
        self.net = nn.Sequential(nn.Flatten(), *layers, nn.Dropout(**(options or {})), nn.Linear(widths[-1], 10))

    def forward(self, x):
        return self.net(x)

    def training_step(self, batch, index):
        return nn.functional.cross_entropy(self(batch[0]), batch[1])

    def validation_step(self, batch, index):
        self.log("val_acc", (self(batch[0]).argmax(1) == batch[1]).float().mean())

    def configure_optimizers(self):
        return self.optimizer(self.parameters())
