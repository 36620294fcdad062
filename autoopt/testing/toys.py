"""Small parts for the contract's checks: tasks with their examples, networks, and a training by a Trainer."""

from dataclasses import replace
from tempfile import TemporaryDirectory
from typing import Any

import lightning.pytorch as L
import torch
from lightning.pytorch.callbacks import Checkpoint
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, one_hot
from torch.optim import SGD, Optimizer
from torch.utils.data import DataLoader

from autoopt.data.parts import PARTS
from autoopt.data.task import Task
from autoopt.deployment.packed import Packed, kernels, pack, unpack

WIDTH = 8
TASKS = (
    Task("classification", (6,), 3, ("a", "b", "c")),
    Task("classification", (1, 8, 8), 3, ("a", "b", "c")),
    Task("classification", (3, 20, 16), 5),
    Task("regression", (6,), 2),
    Task("classification", (12, 4), 3),
    Task("classification", (9,), 3, tokens=20),
    Task("multilabel", (7,), 3, ("a", "b", "c")),
)


def examples_of(task: Task, count: int = 12) -> tuple[Tensor, Tensor]:
    """Inputs, whose class shows in a bright stripe or in the first token, and targets; the same at each call.

    Of several labels that of the stripe is given, and the first label to every other example.
    """
    generator = torch.Generator().manual_seed(0)
    if task.tokens:
        words = torch.randint(1, task.tokens, (count, *task.input_shape), generator=generator)
        words[:, 0] = targets = 1 + torch.arange(count) % task.outputs
        return words * (torch.arange(task.input_shape[0]) <= targets[:, None] + 2), targets - 1
    inputs = torch.rand(count, *task.input_shape, generator=generator) / 2
    if task.kind == "regression":
        return inputs, torch.randn(count, task.outputs, generator=generator)
    targets = torch.arange(count) % task.outputs
    inputs[torch.arange(count), ..., targets] += 0.5
    if task.kind == "multilabel":
        labels = one_hot(targets, task.outputs).float()
        labels[::2, 0] = 1
        return inputs, labels
    return inputs, targets


def toy_network(width: int = WIDTH) -> nn.Module:
    """A small image classifier whose norm layers differ from their initial state."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = nn.Sequential(
            nn.Conv2d(1, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU(), nn.Flatten(),
            nn.Linear(64 * width, 4 * width), nn.LayerNorm(4 * width), nn.ReLU(), nn.Linear(4 * width, 3),
        )  # fmt: skip
        for norm in (model[1], model[5]):
            nn.init.uniform_(norm.weight, 0.5, 1.5)  # type: ignore[arg-type]
    return model


class ResidualBlock(nn.Module):
    """A block whose branch is added to its input; the trunk may have an activation after that."""

    def __init__(self, branch: nn.Module, trunk: nn.Module | None = None):
        super().__init__()
        self.branch, self.trunk = branch, nn.Identity() if trunk is None else trunk

    def forward(self, inputs: Tensor) -> Tensor:
        outputs: Tensor = self.trunk(inputs + self.branch(inputs))
        return outputs


def residual_network() -> nn.Module:
    """An image classifier of two residual blocks, with activations on the trunk and in the branches."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        blocks = [ResidualBlock(nn.Sequential(nn.Linear(16, 16), nn.ReLU()), nn.ReLU()) for _ in range(2)]
        return nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.ReLU(), *blocks, nn.Linear(16, 3))


class NonZeros(nn.Module):
    """The values of a weight that are not 0, and a bit for each of its places."""

    def __init__(self, weight: Tensor):
        super().__init__()
        self.shape = weight.shape
        self.kept = nn.Parameter(weight[weight != 0])
        self.register_buffer("places", pack(weight != 0, 1))

    def forward(self) -> Tensor:
        weight = self.kept.new_zeros(self.shape)
        weight[unpack(self.get_buffer("places"), 1, weight.numel()).bool().view(self.shape)] = self.kept
        return weight


def sparse_network(model: nn.Module) -> Packed:
    """A network of which only the tenth of each weight that is largest is left, stored without the zeros."""
    packings = {}
    for name, weight in kernels(model).items():
        least = weight.detach().abs().flatten().quantile(0.9)
        packings[name] = NonZeros(torch.where(weight.detach().abs() > least, weight.detach(), 0))
    return Packed(model, packings)


def classes_in_order(count: int = 32) -> Task:
    """A table whose rows are sorted by their class, as the images of a folder are; the values of each class are of another scale."""
    inputs, targets = examples_of(TASKS[0], TASKS[0].outputs * count)
    order = targets.argsort(stable=True)
    part = (inputs * 4.0 ** (targets[:, None] - 1))[order], targets[order]
    return replace(TASKS[0], parts=dict.fromkeys(PARTS, part))


class Bowl(nn.Module):
    """A quadratic function with its minimum at 1, and two parameters that it does not use."""

    def __init__(self) -> None:
        super().__init__()
        self.idle = nn.Parameter(torch.ones(2, 2))
        self.weight, self.bias = nn.Parameter(torch.zeros(4, 3)), nn.Parameter(torch.zeros(3))
        self.last = nn.Parameter(torch.ones(2, 2))  # so that the weight is neither the first matrix nor the last

    def forward(self) -> Tensor:
        curvature = torch.linspace(0.1, 1.0, 12).view(4, 3)
        return (curvature * (self.weight - 1) ** 2).sum() + ((self.bias - 1) ** 2).sum()


class Tiny(L.LightningModule):
    """A classifier that logs a metric, which a regularizer may follow."""

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model

    def training_step(self, batch: tuple[Tensor, Tensor], _: int) -> Tensor:
        return cross_entropy(self.model(batch[0]), batch[1])

    def validation_step(self, batch: tuple[Tensor, Tensor], _: int) -> None:
        self.log("val_loss", cross_entropy(self.model(batch[0]), batch[1]))

    def configure_optimizers(self) -> Optimizer:
        return SGD(self.parameters(), lr=0.01)


def fit_toy(module: L.LightningModule, callbacks: list[L.Callback], **arguments: Any) -> L.Trainer:
    """Two training batches and a validation batch by a real Trainer."""
    off: dict[str, Any] = dict.fromkeys(("logger", "enable_progress_bar", "enable_model_summary"), False)
    off["enable_checkpointing"] = any(isinstance(callback, Checkpoint) for callback in callbacks)
    loaders: list[Any] = [DataLoader([examples_of(TASKS[1])] * count, batch_size=None) for count in (2, 1)]  # type: ignore[arg-type]
    with TemporaryDirectory() as folder:
        given = {"default_root_dir": folder, "callbacks": callbacks, **arguments}
        trainer = L.Trainer(**off, max_epochs=1, num_sanity_val_steps=0, **given)
        trainer.fit(module, *loaders)
    return trainer
