"""What a user may bring: something for every slot, named by its import path."""

from typing import Annotated

import torch
from lightning.pytorch import Callback
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from autoopt.data.examples import Examples
from autoopt.domain import Acts, Bounds, Choice, Range


def examples(*, rows: int = 100, path: str = "here") -> Examples:
    """Mine."""
    return Examples(torch.zeros(rows, 3), torch.zeros(rows).long(), "classification")


class Net(nn.Module):
    """Mine."""

    def __init__(self, task, hidden: int = 64, dropout: float = 0.5, flavour: str = "it's, (so) = far", cut: float | None = None):
        super().__init__()
        self.layer = nn.Linear(3, hidden)


def make(task, *, hidden: int = 32) -> nn.Module:
    """Mine."""
    return Net(task, hidden)


def shaped(task, *, width: Annotated[int, Range(16, 500, step=16)] = 64, depth: Annotated[int, Range(1, 64, log=True)] = 4) -> nn.Module:
    """Mine."""
    return Net(task, width)


class Sized(nn.Module):
    """Mine."""

    def __init__(self, task, size: Annotated[int, Range(100, 1000), Bounds(100)] = 100):
        super().__init__()


class Bent(nn.Module):
    """Mine."""

    def __init__(self, slope: float = 0.1):
        super().__init__()


def zeros(model: nn.Module, *, scale: float = 1.0) -> None:
    """Mine."""


def noise(inputs: Tensor, *, strength: Annotated[float, Range(0.0, 1.0)] = 0.1) -> Tensor:
    """Mine."""
    return inputs


def pixels(images: Tensor, *, kind: Annotated[str | None, Choice(None, "salt, pepper", "it's")] = None) -> Tensor:
    """Mine."""
    return images


class Watch(Callback):
    """Mine."""

    def __init__(self, patience: int = 3):
        super().__init__()


class Focal(nn.Module):
    """Mine."""

    def __init__(self, gamma: float = 2.0):
        super().__init__()


class Thing(torch.optim.SGD):
    """Mine."""

    def __init__(self, params, *, lr: float = 0.1, mode: str = "plain", times: int = 2):
        super().__init__(params, lr=lr)


def schedule_free(params, *, lr: Annotated[float, Range(1e-4, 1.0, log=True)] = 0.01) -> Annotated[Optimizer, Acts(fills="schedule")]:
    """Mine."""
    return torch.optim.SGD(params, lr=lr)


def adamw(params, *, lr: float = 0.5) -> Optimizer:
    """Mine, under a name that is taken."""
    return torch.optim.SGD(params, lr=lr)


def greedy(params, closure, *, lr: float = 0.5) -> Optimizer:
    """Mine; asks for what nobody offers."""
    return torch.optim.SGD(params, lr=lr)


def falling(optimizer: Optimizer, *, factor: float = 0.5) -> LRScheduler:
    """Mine."""
    return torch.optim.lr_scheduler.ExponentialLR(optimizer, factor)


def here(model: nn.Module, *, accelerator: str = "cpu") -> dict:
    """Mine."""
    return {"accelerator": accelerator}


def smaller(model: nn.Module, *, share: Annotated[float, Range(0.1, 0.9)] = 0.5) -> nn.Module:
    """Mine."""
    return model


def nan(params: list, *, lr: float = 1e-3) -> Optimizer:
    """Has the name of a number."""
    return torch.optim.SGD(params, lr)


def recommended(params: list, *, lr: float = 1e-3) -> Optimizer:
    """Has the name of a preset."""
    return torch.optim.SGD(params, lr)
