"""What the legs of throughput.py share: the space, the data, and the recipes as plain numbers."""

import json
import math
import random
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from autoopt.data.make_task import make_task
from autoopt.plugins.data.digits import digits

EPOCHS, BATCH, WORKERS = 20, 64, 2
SPACE = [
    *("data=digits", "model=mlp", "model.mlp.width=interval(32,256)", "model.mlp.depth=interval(1,3)", "model.mlp.connection=plain"),
    *("activation=keep", "initializer=keep", "augmentation=none", "regularizer=none", "device=cpu"),
    *("loss=cross_entropy", "loss.cross_entropy.label_smoothing=0.0", "loss.cross_entropy.class_weight=none"),
    *("optimizer=sgd,momentum,adam,adamw", "optimizer.adam.beta1=0.9", "optimizer.adamw.beta1=0.9", "optimizer.momentum.momentum=0.9"),
    *("optimizer.sgd.weight_decay=0.0005", "optimizer.momentum.weight_decay=0.0005", "optimizer.adamw.weight_decay=0.01"),
    *("schedule=cosine", "schedule.cosine.warmup=0.0", "schedule.cosine.final=0.0", "device.cpu.precision=32-true"),
    *(f"batches.size={BATCH}", f"study.epochs={EPOCHS}", "study.stopping=false", "study.confirm=1", "study.seeds=1"),
]


@dataclass(frozen=True)
class Plain:
    """A recipe of that space."""

    optimizer: str
    lr: float
    width: int
    depth: int

    @classmethod
    def of(cls, tree: dict[str, Any]) -> "Plain":
        ((optimizer, values),) = tree["optimizer"].items()
        model = tree["model"]["mlp"]
        return cls(optimizer, values["lr"], model["width"], model["depth"])

    def network(self) -> nn.Sequential:
        widths = [64, *[self.width] * self.depth]
        layers = [layer for n, m in pairwise(widths) for layer in (nn.Linear(n, m), nn.ReLU())]
        return nn.Sequential(nn.Flatten(), *layers, nn.Linear(self.width, 10))

    def stepper(self, parameters: Any, fused: bool) -> torch.optim.Optimizer:
        make: dict[str, Callable[..., torch.optim.Optimizer]] = {
            "sgd": lambda: torch.optim.SGD(parameters, self.lr, weight_decay=5e-4, fused=fused),
            "momentum": lambda: torch.optim.SGD(parameters, self.lr, momentum=0.9, weight_decay=5e-4, fused=fused),
            "adam": lambda: torch.optim.Adam(parameters, self.lr, fused=fused),
            "adamw": lambda: torch.optim.AdamW(parameters, self.lr, weight_decay=1e-2, fused=fused),
        }
        return make[self.optimizer]()


def parts() -> dict[str, tuple[Tensor, Tensor]]:
    """Training, validation and test, split as autoopt does it."""
    return make_task(digits(), {"validation": 0.2, "test": 0.2, "seed": 0, "stratify": True, "normalise": True}).parts


def drawn(count: int, seed: int = 0) -> list[Plain]:
    """Recipes at random, for a leg that is run by itself."""
    r = random.Random(seed)
    names = ("sgd", "momentum", "adam", "adamw")
    return [Plain(r.choice(names), 10 ** r.uniform(-4, -1), int(math.exp(r.uniform(3.47, 5.54))), r.randint(1, 3)) for _ in range(count)]


def save(path: Path, recipes: Sequence[Plain]) -> None:
    path.write_text(json.dumps([asdict(recipe) for recipe in recipes]))


def load(path: Path) -> list[Plain]:
    return [Plain(**recipe) for recipe in json.loads(path.read_text())]
