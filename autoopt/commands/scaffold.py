"""`autoopt plugins new`: a third-party distribution with one technique that works as it is written."""

import keyword
import re
from pathlib import Path
from string import Template

from autoopt.config import SETTINGS
from autoopt.config.presets import is_preset
from autoopt.errors import BadInput
from autoopt.technique import available

NAME = re.compile(r"[a-z]([a-z0-9_]*[a-z0-9])?")
SOURCE_NOTE = "Source: yours; cite here the paper of the technique (authors, year, arXiv id or DOI)."
PYPROJECT = Template("""[build-system]
requires = ["setuptools>=77"]
build-backend = "setuptools.build_meta"

[project]
name = "autoopt-$word"
version = "0.1.0"
description = "A technique for autoopt: $slot/$name"
readme = "README.md"
requires-python = ">=3.11"
dependencies = ["autoopt>=$version"]

[project.optional-dependencies]
test = ["pytest>=8"]

[project.entry-points."autoopt.$slot"]
$name = "autoopt_$name.$name:$name"

[tool.setuptools]
packages = ["autoopt_$name"]
""")
README_TEMPLATE = Template("""# autoopt-$word

`$slot/$name`, a technique for autoopt.

```bash
pip install -e '.[test]'
autoopt plugins check $slot/$name    # the contract of its slot
autoopt search data=$data $slot=$name
pytest
```
""")
TEST_TEMPLATE = Template("""from autoopt.technique import find
from autoopt.testing import check


def test_the_contract_of_its_slot():
    assert [finding for finding in check(find("$slot", "$name")) if not finding.skipped] == []
""")
BODIES = {
    "data": '''import torch

from autoopt.data.examples import Examples


def $name(*, count: int = 400, noise: float = 0.1) -> Examples:
    """Points `(N, 2)` on two half circles, one for each class.

    $source
    """
    generator = torch.Generator().manual_seed(0)
    angles, classes = torch.pi * torch.rand(count, generator=generator), torch.arange(count) % 2
    sign = 1.0 - 2.0 * classes
    points = torch.stack([angles.cos() + classes, sign * (angles.sin() - 0.25)], 1)
    return Examples(points + noise * torch.randn(count, 2, generator=generator), classes, "classification", ("upper", "lower"))
''',
    "model": '''import math
from typing import Annotated

from torch import nn

from autoopt import Range, Unavailable
from autoopt.data.task import Task


def $name(task: Task, *, width: Annotated[int, Range(16, 256, log=True)] = 64) -> nn.Module:
    """One hidden layer of `width` units between the flattened inputs and the outputs.

    $source

    Raises:
        Unavailable: the inputs are token indices.
    """
    if task.tokens:
        raise Unavailable("$name needs numbers, the inputs are token indices")
    inputs = math.prod(task.input_shape)
    return nn.Sequential(nn.Flatten(), nn.Linear(inputs, width), nn.ReLU(), nn.Linear(width, task.outputs))
''',
    "activation": '''from typing import Annotated

from torch import Tensor, nn

from autoopt import Range


class Swish(nn.Module):
    def __init__(self, beta: float):
        super().__init__()
        self.beta = beta

    def forward(self, inputs: Tensor) -> Tensor:
        return inputs * (self.beta * inputs).sigmoid()


def $name(*, beta: Annotated[float, Range(0.5, 2.0)] = 1.0) -> nn.Module:
    """`x * sigmoid(beta * x)`.

    $source
    """
    return Swish(beta)
''',
    "initializer": '''from typing import Annotated

from torch import nn

from autoopt import Range


def $name(model: nn.Module, *, std: Annotated[float, Range(0.001, 0.1, log=True)] = 0.02) -> None:
    """Normal weights of standard deviation `std` in linear and convolution layers.

    $source
    """
    for layer in model.modules():
        if isinstance(layer, nn.Linear | nn.Conv1d | nn.Conv2d):
            nn.init.normal_(layer.weight, std=std)
''',
    "augmentation": '''from typing import Annotated

import torch
from torch import Tensor

from autoopt import Range


def $name(images: Tensor, *, strength: Annotated[float, Range(0.0, 0.2)] = 0.05) -> Tensor:
    """Adds a random brightness, uniform in ±strength, to each image `(N, C, H, W)`; the result stays in [0, 1].

    $source
    """
    shift = strength * (2 * torch.rand(len(images), 1, 1, 1, device=images.device) - 1)
    return (images + shift).clamp(0, 1)
''',
    "regularizer": '''from typing import Annotated

from lightning.pytorch import Callback, LightningModule, Trainer
from torch.optim import Optimizer

from autoopt import Range


class Shrink(Callback):
    def __init__(self, strength: float):
        self.strength = strength

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer) -> None:
        for weight in (p for group in optimizer.param_groups for p in group["params"] if p.grad is not None and p.ndim > 1):
            weight.grad.add_(weight.detach(), alpha=self.strength)


def $name(*, strength: Annotated[float, Range(1e-6, 1e-2, log=True)] = 1e-4) -> Callback:
    """Adds `strength * w` to the gradient of every weight.

    $source
    """
    return Shrink(strength)
''',
    "loss": '''from collections.abc import Callable

import torch
from torch import Tensor

from autoopt import Unavailable
from autoopt.data.task import Task


def $name(task: Task) -> Callable[[Tensor, Tensor], Tensor]:
    """The mean of `log cosh(output - target)`.

    $source

    Raises:
        Unavailable: the task is classification.
    """
    if task.kind != "regression":
        raise Unavailable(f"$name is for regression, the task is {task.kind}")

    def loss(outputs: Tensor, targets: Tensor) -> Tensor:
        return torch.log(torch.cosh(outputs.float() - targets)).mean()

    return loss
''',
    "optimizer": '''from typing import Annotated

from torch.optim import SGD, Optimizer

from autoopt import Range


def $name(
    params,
    *,
    lr: Annotated[float, Range(1e-4, 1.0, log=True)] = 0.1,
    momentum: Annotated[float, Range(0.0, 0.99)] = 0.9,
) -> Optimizer:
    """Steps of `lr * m`, where `m = momentum * m + gradient`.

    $source
    """
    return SGD(params, lr=lr, momentum=momentum)
''',
    "schedule": '''from typing import Annotated

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler

from autoopt import Range


def $name(optimizer: Optimizer, total_steps: int, *, hold: Annotated[float, Range(0.0, 0.9)] = 0.5) -> LRScheduler:
    """Holds the rate for the fraction `hold` of the steps, then decreases it linearly to 0.

    $source
    """
    held = int(hold * total_steps)
    return LambdaLR(optimizer, lambda step: min(1.0, max(0.0, (total_steps - step) / max(1, total_steps - held))))
''',
    "device": '''from typing import Any


def $name() -> dict[str, Any]:
    """The CPU in single precision, as arguments of Lightning's Trainer.

    $source
    """
    return {"accelerator": "cpu", "devices": 1, "precision": "32-true"}
''',
    "compression": '''import copy
from typing import Annotated

import torch
from torch import Tensor, nn

from autoopt import Acts, Choice


class Lighter(nn.Module):
    def __init__(self, model: nn.Module, dtype: torch.dtype):
        super().__init__()
        self.model, self.dtype = copy.deepcopy(model).to(dtype), dtype

    def forward(self, inputs: Tensor) -> Tensor:
        return self.model(inputs.to(self.dtype)).float()


def $name(
    model: nn.Module, *, dtype: Annotated[str, Choice("bfloat16", "float16")] = "bfloat16"
) -> Annotated[nn.Module, Acts(last=True)]:
    """Weights and arithmetic in 16 bits; the given model is not changed.

    $source
    """
    return Lighter(model, getattr(torch, dtype))
''',
    "strategy": '''from collections.abc import Mapping, Sequence
from typing import Any

from autoopt.space import Space
from autoopt.strategy import AtRandom, Observation, Strategy


def $name(space: Space, *, salt: int = 0) -> Strategy:
    """Draws every value at random; another `salt` draws other values under the same seed.

    $source
    """
    return Salted(space, salt)


class Salted(Strategy):
    def __init__(self, space: Space, salt: int):
        self.draws, self.salt = AtRandom(space), salt

    def propose(self, history: Sequence[Observation], number: int, seed: int) -> Mapping[str, Any]:
        return self.draws.propose(history, number, seed + self.salt)
''',
    "executor": '''from typing import Any

from autoopt.executor import Executor
from autoopt.executor.local import Local
from autoopt.executor.resources import Limits
from autoopt.store import Store


def $name(setup: dict[str, Any], store: Store, limits: Limits) -> Executor:
    """Runs trials on the CPUs of this machine, one at a time unless `executor.workers` says how many.

    $source
    """
    return Local(setup, store, workers=limits.workers or 1, trial_time=limits.trial_time, cpus_per_trial=limits.cpus_per_trial)
''',
}


def scaffold(slot: str, name: str, folder: Path) -> list[Path]:
    """Write the distribution `autoopt-<name>` into a folder that is empty or does not exist yet.

    Raises:
        BadInput: the name cannot be one of a module, a distribution and a technique, or the folder is not empty or cannot be written.
    """
    if not NAME.fullmatch(name) or keyword.iskeyword(name):
        raise BadInput(f"plugins new: expected a name such as my_{slot}, got '{name}': letters from a to z, digits and '_' between them")
    if taken := taken_by(slot, name):
        raise BadInput(f"plugins new: {slot}/{name} is {taken}; name it otherwise")
    try:
        return written(slot, name, folder)
    except OSError as error:
        raise BadInput(f"plugins new: {folder} cannot be written: {error.strerror}") from error


def taken_by(slot: str, name: str) -> str:
    """What has the name already, under which the technique could not be used; empty where nothing has."""
    if name in available(slot):
        return "installed already, and of two under one name neither can be used"
    if is_preset(slot, name) or name == "none":
        return "what stands for a list of techniques"
    return "a setting" if f"{slot}.{name}" in SETTINGS else ""


def written(slot: str, name: str, folder: Path) -> list[Path]:
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise BadInput(f"plugins new: {folder} exists already; name another folder: autoopt plugins new {slot}/{name} DIR")
    words = {"slot": slot, "name": name, "word": name.replace("_", "-"), "version": "0.1", "source": SOURCE_NOTE}
    words["data"] = name if slot == "data" else "diabetes" if slot == "loss" else "digits"
    files = {
        "pyproject.toml": PYPROJECT,
        "README.md": README_TEMPLATE,
        f"autoopt_{name}/__init__.py": Template(""),
        f"autoopt_{name}/{name}.py": Template(BODIES[slot]),
        f"tests/test_{name}.py": TEST_TEMPLATE,
    }
    for path, text in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text.substitute(words), encoding="utf-8")
    return [folder / path for path in files]
