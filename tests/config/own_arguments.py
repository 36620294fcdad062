"""Models whose arguments are more than scalars."""

from argparse import Namespace
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from omegaconf import DictConfig
from torch import nn
from torch.optim import Optimizer


class Net(nn.Module):
    def __init__(self, width: int = 4, act: nn.Module | None = None):
        super().__init__()
        self.width, self.act = width, act


def make(width: int) -> Net:
    return Net(width)


def unsaid(width=3):
    return Net(width)


class Whole(nn.Module):
    def __init__(
        self,
        net: nn.Module,
        optimizer: Optimizer,
        act: type[nn.Module] = nn.ReLU,
        step: Callable[..., Optimizer] | None = None,
        sizes: tuple[int, ...] = (1, 2),
        options: dict | None = None,
        layers: list = (),
        free=None,
        text: str = "",
    ):
        super().__init__()
        self.said = {k: v for k, v in locals().items() if k not in ("self", "__class__")}


class Loose(Net):
    def __init__(self, name, **kwargs):
        super().__init__(**kwargs)
        self.name = name


class Tasked(nn.Module):
    def __init__(self, task: str):
        super().__init__()
        self.task = task


class Default(nn.Module):
    def __init__(self, act=nn.ReLU, betas=(0.9, 0.99), net=torch.nn.Identity()):  # noqa: B008
        super().__init__()
        self.act, self.betas, self.net = act, betas, net


@dataclass
class Part:
    lr: float = 0.1
    betas: tuple[float, float] = (0.9, 0.99)


@dataclass
class Config:
    width: int
    part: Part = field(default_factory=Part)


class Configured(nn.Module):
    def __init__(self, config: Config, tree: DictConfig | None = None, space: Namespace | None = None, either: Config | dict | None = None):
        super().__init__()
        self.config, self.tree, self.space, self.either = config, tree, space, either
