"""Records a table: trains every recipe of a grid over several seeds, thousands of networks at once as one batched network.

`python tests/benchmarks/tables/record.py [NAME...]` writes NAME.npz beside this file; without a name all tables.

The rates come from autoopt's own schedules, and the updates are those of its optimizers (tests/benchmarks/test_tables.py compares
them); the networks are small ones of this file.
"""

import math
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch
from grids import BY_NAME, GRIDS, Grid
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, make_classification, make_gaussian_quantiles
from table import SEEDS, Table, cells
from torch import Tensor
from torch.nn.functional import cross_entropy, one_hot, pad
from torch.optim import SGD

from autoopt.technique import find

CHUNK = 600
"""Networks that are trained together."""
Values = Mapping[str, Any]
PINNED = {
    "cosine": {"warmup": 0.05, "final": 0.0},
    "step": {"drops": 3},
    "one_cycle": {"initial": 0.04},
    "warmup_stable_decay": {"warmup": 0.05},
}
"""The arguments of schedules that no grid searches."""


@dataclass(frozen=True)
class Data:
    """Three parts, each of inputs (N, ...) and targets, class numbers (N) or values (N, 1)."""

    train: tuple[Tensor, Tensor]
    validation: tuple[Tensor, Tensor]
    test: tuple[Tensor, Tensor]
    outputs: int


def data_of(grid: Grid) -> Data:
    """The data of a table; half of the rest, at most 800, is the validation part, and what is left the test part."""
    random = np.random.default_rng(7)
    match grid.name:
        case "digits_mlp":
            x, y = load_digits(return_X_y=True)
        case "cancer_mlp":
            x, y = load_breast_cancer(return_X_y=True)
        case "clusters_mlp":
            x, y = make_classification(
                3200, 20, n_informative=10, n_redundant=4, n_classes=6, n_clusters_per_class=3, flip_y=0.05, random_state=3
            )
        case "noisy_digits_conv":
            x, y = load_digits(return_X_y=True)
            x = np.clip(x / 16 + random.normal(0, 0.3, x.shape), 0, 1)
        case "diabetes_mlp":
            x, y = load_diabetes(return_X_y=True)
            y = (y - y.mean()) / y.std()
        case "shells_mlp":
            x, y = make_gaussian_quantiles(n_samples=3000, n_features=8, n_classes=5, random_state=5)
    order = random.permutation(len(x))
    cut, end = grid.rows, grid.rows + min((len(x) - grid.rows) // 2, 800)
    parts = order[:cut], order[cut:end], order[end:]
    mean, scale = x[parts[0]].mean(0), x[parts[0]].std(0) + 1e-3
    inputs = torch.tensor((x - mean) / scale if grid.name != "noisy_digits_conv" else x, dtype=torch.float32)
    if grid.name == "noisy_digits_conv":
        inputs = inputs.view(-1, 1, 8, 8)
    regression = grid.objective == "val_loss"
    targets = torch.tensor(y, dtype=torch.float32)[:, None] if regression else torch.tensor(y)
    return Data(*((inputs[part], targets[part]) for part in parts), 1 if regression else int(targets.max()) + 1)


class Networks:
    """The parameters of M networks, each first dimension M, with He's normal initialisation.

    The random numbers depend on a network's seed alone.
    """

    def __init__(self, grid: Grid, width: int, data: Data, seeds: Tensor):
        features = data.train[0][0].numel()
        shapes = (
            [(features, width), (1, width), (width, data.outputs), (1, data.outputs)]
            if "cnn" not in grid.space.options["model"]
            else [(9, width), (1, width), (9 * width, 2 * width), (1, 2 * width), (8 * width, data.outputs), (1, data.outputs)]
        )
        self.convolutional = len(shapes) == 6
        self.parameters = []
        for place, shape in enumerate(shapes):
            drawn = torch.stack([torch.randn(shape, generator=torch.Generator().manual_seed(100 * s + place)) for s in range(SEEDS)])
            scale = 0.0 if place % 2 else math.sqrt(2 / shape[0])
            self.parameters.append((scale * drawn)[seeds].requires_grad_())

    def __call__(self, inputs: Tensor, dropped: Tensor | None = None) -> Tensor:
        """(M, B, ...) -> (M, B, outputs).

        Args:
            dropped: the factors of the last hidden units (M, B, units).
        """
        if self.convolutional:
            w1, b1, w2, b2, w3, b3 = self.parameters
            hidden = convolve(convolve(inputs, w1, b1), w2, b2).flatten(2)
        else:
            w1, b1, w3, b3 = self.parameters
            hidden = torch.baddbmm(b1, inputs.flatten(2), w1).relu()
        return torch.baddbmm(b3, hidden if dropped is None else hidden * dropped, w3)


def convolve(planes: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """A 3x3 convolution of stride 2 with ReLU of each network: (M, B, C, H, W) -> (M, B, D, H / 2, W / 2)."""
    count, batch, channels, height, width = planes.shape
    windows = pad(planes, (1, 1, 1, 1)).unfold(3, 3, 2).unfold(4, 3, 2)  # (M, B, C, H / 2, W / 2, 3, 3)
    rows = windows.permute(0, 1, 3, 4, 2, 5, 6).reshape(count, -1, channels * 9)
    return torch.baddbmm(bias, rows, weight).relu().view(count, batch, height // 2, width // 2, -1).permute(0, 1, 4, 2, 3)


def rates(values: Values, steps: int) -> list[float]:
    """The rate at each step, by autoopt's own schedule."""
    own = tuple((key.rpartition(".")[2], value) for key, value in values.items() if key.startswith("schedule."))
    lr = values[f"optimizer.{values['optimizer']}.lr"]
    return [lr * factor for factor in factors(values["schedule"], own, steps)]


@cache
def factors(name: str, own: tuple[tuple[str, float], ...], steps: int) -> list[float]:
    """The rate at each step, in units of the base rate."""
    schedule = find("schedule", name)
    optimizer = SGD([torch.zeros(1)], lr=1.0)
    asked = {"total_steps": steps} if "total_steps" in schedule.asks else {}
    scheduler = schedule.load()(optimizer, **asked, **PINNED.get(name, {}), **dict(own))
    found = []
    for _ in range(steps):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return found


Update = Callable[[list[Tensor], list[Tensor], Tensor], None]


def updating(name: str, column: Callable[[str, float], Tensor]) -> Update:
    """The update of an optimizer for all networks: parameters, gradients and rates (M, 1, 1), in place.

    Args:
        column: the networks' values of an argument, (M, 1, 1), by its name and the value where it is pinned.
    """
    state: dict[int, list[Tensor]] = {}
    decay, beta = column("weight_decay", 5e-4), column("momentum", 0.0)
    ticks = [0]

    def update(parameters: list[Tensor], gradients: list[Tensor], rate: Tensor) -> None:
        ticks[0] += 1
        for place, (w, g) in enumerate(zip(parameters, gradients, strict=True)):
            decayed = decay if place % 2 == 0 else torch.zeros_like(decay)  # no decay of biases
            first, second = state.setdefault(place, [torch.zeros_like(w), torch.zeros_like(w)])
            match name:
                case "sgd":
                    w -= rate * (g + decayed * w)
                case "momentum":
                    first.mul_(beta).add_(g + decayed * w)
                    w -= rate * first
                case "adamw":
                    first.lerp_(g, 0.1)
                    second.lerp_(g * g, 0.001)
                    w.mul_(1 - rate * decayed)
                    w -= rate / (1 - 0.9 ** ticks[0]) * first / ((second / (1 - 0.999 ** ticks[0])).sqrt() + 1e-8)
                case "lion":
                    w -= rate * (torch.lerp(first, g, 0.1).sign() + decayed * w)
                    first.lerp_(g, 0.01)

    return update


def record(grid: Grid) -> Table:
    """Train the grid."""
    data, start = data_of(grid), time.monotonic()
    values = [dict(cell) for cell in cells(grid)]
    error = np.full((len(values), SEEDS, grid.epochs), np.nan, np.float32)
    table = Table(grid, error, error.copy(), np.full((len(values), SEEDS), np.nan, np.float32))
    model = next(iter(grid.space.options["model"]))
    alike = defaultdict(list)
    for row, v in enumerate(values):
        alike[v[f"model.{model}.width"], v["batches.size"], v["optimizer"], v.get("loss", "")].append(row)
    chunks = [(key, rows[i : i + CHUNK // SEEDS]) for key, rows in alike.items() for i in range(0, len(rows), CHUNK // SEEDS)]
    for done, (key, rows) in enumerate(chunks, 1):
        fill(table, data, rows, [values[row] for row in rows], *key)
        print(f"{grid.name}: {done}/{len(chunks)}, {time.monotonic() - start:.0f} s", file=sys.stderr)
    return table


def fill(table: Table, data: Data, rows: Sequence[int], values: Sequence[Values], width: int, size: int, optimizer: str, loss: str) -> None:
    """Train recipes that have a width, a batch size, an optimizer and a loss in common."""
    grid, count = table.grid, len(rows)
    seeds = torch.arange(SEEDS).repeat_interleave(count)  # network = seed * count + recipe

    def per_network(path: str, default: float) -> Tensor:
        return torch.tensor([float(v.get(path, default)) for v in values], dtype=torch.float32).repeat(SEEDS)[:, None, None]

    networks = Networks(grid, width, data, seeds)
    x, y = data.train
    per_epoch = math.ceil(len(x) / size)
    rate = torch.tensor([rates(v, per_epoch * grid.epochs) for v in values], dtype=torch.float32).repeat(SEEDS, 1)[:, :, None, None]
    update = updating(optimizer, lambda name, default: per_network(f"optimizer.{optimizer}.{name}", default))
    generators = [torch.Generator().manual_seed(1000 + seed) for seed in range(SEEDS)]
    augment, target_of = augmenting(values, data, generators, per_network)
    units = networks.parameters[-2].shape[1]
    p = per_network("regularizer.dropout.p", 0.0)
    step = 0
    for epoch in range(grid.epochs):
        orders = [torch.randperm(len(x), generator=g) for g in generators]
        for batch in range(per_epoch):
            picked = torch.stack([order[batch * size : (batch + 1) * size] for order in orders])  # (S, B)
            inputs, targets = augment(x[picked], target_of(y[picked]))
            kept = torch.stack([torch.rand(picked.shape[1], units, generator=g) for g in generators])[seeds] >= p
            output = networks(inputs, kept / (1 - p) if p.any() else None)
            training_loss(loss, output, targets, values).sum().backward()
            with torch.no_grad():
                update(networks.parameters, [w.grad for w in networks.parameters], rate[:, step])
            for w in networks.parameters:
                w.grad = None
            step += 1
        errors, losses = evaluate(networks, *data.validation)
        table.error[rows, :, epoch], table.loss[rows, :, epoch] = errors.view(SEEDS, count).T, losses.view(SEEDS, count).T
    table.test[rows] = evaluate(networks, *data.test)[0].view(SEEDS, count).T


def augmenting(
    values: Sequence[Values], data: Data, generators: Sequence[torch.Generator], per_network: Callable[[str, float], Tensor]
) -> tuple[Any, Any]:
    """What makes of a batch of each seed (S, B, ...) the inputs and targets of all networks (M, B, ...), and of targets a distribution."""
    count = len(values)
    alphas = [v.get("augmentation.mixup.alpha", 0.5) if v.get("augmentation.mixup.use") else 0.0 for v in values]
    shifts = [v.get("augmentation.translate.shift", 0.0) for v in values]
    deviation = per_network("augmentation.noise.deviation", 0.0)
    numpys = [np.random.default_rng(int(g.initial_seed())) for g in generators]

    def spread(tensor: Tensor) -> Tensor:
        """(S, ...) -> (S * recipes, ...)"""
        return tensor.repeat_interleave(count, dim=0)

    def target_of(y: Tensor) -> Tensor:
        return y if y.is_floating_point() else one_hot(y, data.outputs).float()

    def augment(inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        whole, outs = spread(inputs), spread(targets)
        if any(shifts):
            shifted = {
                level: torch.stack([translated(i, level, g) for i, g in zip(inputs, generators, strict=True)])
                for level in sorted({*shifts} - {0.0})
            }
            for level, planes in shifted.items():
                chosen = torch.tensor([shift == level for shift in shifts]).repeat(SEEDS)
                whole = torch.where(chosen.view(-1, *[1] * (whole.ndim - 1)), spread(planes), whole)
        if deviation.any():
            z = spread(torch.stack([torch.randn(i.shape, generator=g) for i, g in zip(inputs, generators, strict=True)]))
            noisy = whole + deviation.view(-1, *[1] * (whole.ndim - 1)) * z
            whole = noisy.clamp(0, 1) if whole.ndim == 5 else noisy
        if any(alphas):
            draws = {a: [random.beta(a, a) for random in numpys] for a in sorted({*alphas} - {0.0})}
            lam = torch.tensor([[draws[a][s] if a else 1.0 for a in alphas] for s in range(SEEDS)], dtype=torch.float32).view(-1, 1, 1)
            others = torch.stack([torch.randperm(inputs.shape[1], generator=g) for g in generators])
            mixed = (
                torch.stack([i[o] for i, o in zip(inputs, others, strict=True)]),
                torch.stack([t[o] for t, o in zip(targets, others, strict=True)]),
            )
            whole = torch.lerp(spread(mixed[0]), whole, lam)
            outs = torch.lerp(spread(mixed[1]), outs, lam)
        return whole, outs

    return augment, target_of


def translated(planes: Tensor, shift: float, generator: torch.Generator) -> Tensor:
    """Each image (B, 1, 8, 8) moved by up to `shift` of its size along both axes."""
    most = round(shift * 8)
    moves = torch.randint(-most, most + 1, (len(planes), 2), generator=generator)
    padded = pad(planes, (most, most, most, most)).unfold(2, 8, 1).unfold(3, 8, 1)
    return padded[torch.arange(len(planes)), :, moves[:, 0] + most, moves[:, 1] + most]


def training_loss(name: str, output: Tensor, targets: Tensor, values: Sequence[Values]) -> Tensor:
    """The mean loss of each network: (M)."""
    if name == "mse":
        return (output - targets).square().mean(dim=(1, 2))
    if name == "huber":
        delta = torch.tensor([v["loss.huber.delta"] for v in values], dtype=torch.float32).repeat(SEEDS)[:, None, None]
        size = (output - targets).abs()
        return torch.where(size < delta, size.square() / 2, delta * (size - delta / 2)).mean(dim=(1, 2))
    return -(targets * output.log_softmax(-1)).sum(-1).mean(1)


@torch.no_grad()
def evaluate(networks: Networks, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Error and loss of each network: (M), (M); not a number where it has diverged."""
    count = networks.parameters[0].shape[0]
    outputs = [networks(part.expand(count, *part.shape)) for part in x.split(200)]
    output = torch.cat(outputs, dim=1)
    if y.is_floating_point():
        error = loss = (output - y).square().mean(dim=(1, 2))
    else:
        error = (output.argmax(-1) != y).float().mean(1)
        loss = cross_entropy(output.movedim(-1, 1), y.expand(count, -1), reduction="none").mean(1)
    broken = ~output.isfinite().all(-1).all(-1) | (loss > 1e4)
    return torch.where(broken, torch.nan, error), torch.where(broken, torch.nan, loss)


def main(names: Sequence[str]) -> None:
    torch.set_num_threads(1)
    for grid in [BY_NAME[name] for name in names] or GRIDS:
        record(grid).save()


if __name__ == "__main__":
    main(sys.argv[1:])
