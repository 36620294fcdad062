"""The situations in which each slot's techniques are tried, and what a technique returns in them."""

from collections.abc import Callable, Iterable, Iterator
from functools import cache
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, mse_loss, one_hot
from torch.optim import SGD
from torch.optim.lr_scheduler import StepLR

from autoopt.config import Tree, compose
from autoopt.data.feed import Feed
from autoopt.domain import Unavailable
from autoopt.executor.resources import Limits
from autoopt.goal import Goal, Objective
from autoopt.space import Space
from autoopt.store import Store
from autoopt.technique import REQUIRED, Technique, build
from autoopt.testing.toys import TASKS, WIDTH, Bowl, classes_in_order, examples_of, residual_network, toy_network

Offered = dict[str, Any]
"""The objects that a slot offers in one situation, by name."""

STEPS = 60
SEEDS = range(5)
EPOCHS = 3


def situations(technique: Technique, values: Offered | None = None, worlds: Iterable[Offered] | None = None) -> list[tuple[Offered, Any]]:
    """What the technique returns in each situation of its slot in which it applies.

    Raises:
        Unavailable: it applies in no situation, or needs a setting.
    """
    chosen = values or {}
    missing = [p.name for p in technique.params.values() if p.default is REQUIRED and p.name not in chosen]
    if missing:
        raise Unavailable(f"needs a value for {', '.join(missing)}")
    results, reason = [], f"no situation offers all of {', '.join(technique.asks)}"
    for world in WORLDS[technique.slot]() if worlds is None else worlds:
        if world.keys() >= set(technique.asks):
            try:
                results.append((world, build(technique, world, chosen)))
            except Unavailable as error:
                reason = str(error)
    if not results:
        raise Unavailable(reason)
    return results


def differing_tensors(first: dict[str, Tensor], second: dict[str, Tensor]) -> str:
    """The names under which two sets of tensors differ."""
    names = [n for n in first.keys() | second.keys() if n not in first or n not in second or not torch.equal(first[n], second[n])]
    return ", ".join(sorted(names))


OWN_LOSSES = {"classification": cross_entropy, "multilabel": binary_cross_entropy_with_logits, "regression": mse_loss}


def loss_worlds() -> Iterator[Offered]:
    for task in TASKS:
        counts = {"class_counts": torch.bincount(examples_of(task)[1])} if task.kind == "classification" else {}
        yield {"task": task, "own": OWN_LOSSES[task.kind], **counts}


def augmentation_worlds() -> Iterator[Offered]:
    for task in TASKS[1:3]:
        inputs, classes = examples_of(task)
        targets = one_hot(classes, task.outputs).float()
        yield {**dict.fromkeys(("planes", "images", "pixels", "inputs"), inputs), "targets": targets}
    for task in (TASKS[3], TASKS[6]):
        table, values = examples_of(task)
        yield {"inputs": table, "targets": values}


def regularizer_worlds() -> Iterator[Offered]:
    for model in (toy_network(), residual_network()):
        yield {"model": model, "total_steps": 2, "objective": "val_loss", "direction": "minimize"}


def optimizer_worlds() -> Iterator[Offered]:
    model = Bowl()
    groups = [{"params": [model.idle, model.weight, model.last]}, {"params": [model.bias], "weight_decay": 0.0}]
    own = SGD(model.parameters(), lr=0.01)
    yield {"params": groups, "model": model, "batch": None, "total_steps": STEPS, "steps_per_epoch": 10, "own": own}


def schedule_worlds(total: int = 1000, direction: str = "minimize") -> Iterator[Offered]:
    parameters = [nn.Parameter(torch.ones(2)) for _ in range(2)]
    for parameter in parameters:
        parameter.grad = torch.zeros(2)
    optimizer = SGD([{"params": [p], "lr": lr} for p, lr in zip(parameters, (0.1, 0.3), strict=True)])
    times = {"total_steps": total, "steps_per_epoch": min(10, total)}
    yield {"optimizer": optimizer, **times, "direction": direction, "own": StepLR(optimizer, total)}


def compression_worlds() -> Iterator[Offered]:
    inputs, targets = examples_of(TASKS[1], 48)
    yield compression_world(toy_network, list(zip(inputs.split(16), targets.split(16), strict=True)), 5)


def sorted_worlds() -> Iterator[Offered]:
    """The calibration that a compression gets where the rows of a data set are sorted by their class."""
    batches = list(Feed(classes_in_order(), {"size": 16}, seed=0, chunked=True).calibration())
    yield compression_world(lambda width: nn.Sequential(nn.Linear(6, 4 * width), nn.ReLU(), nn.Linear(4 * width, 3)), batches, 40)


def compression_world(network: Callable[[int], nn.Module], batches: list[tuple[Tensor, Tensor]], epochs: int) -> Offered:
    """A network of the width `WIDTH` that is trained on these batches, and how it is trained further and built anew."""
    loss_of = Callable[[Tensor, Tensor, Tensor], Tensor]
    call_of = Callable[[int], None]

    def finetune(model: nn.Module, epochs: int, loss: loss_of | None = None, before_epoch: call_of | None = None) -> nn.Module:
        optimizer = SGD([p for p in model.train().parameters() if p.requires_grad], lr=0.05)
        for epoch in range(epochs):
            if before_epoch is not None:
                before_epoch(epoch)
            for batch, classes in batches:
                outputs = model(batch)
                task_loss = cross_entropy(outputs, classes)
                optimizer.zero_grad()
                (task_loss if loss is None else loss(batch, outputs, task_loss)).backward()
                optimizer.step()
        return model.eval()

    def build(**arguments: Any) -> nn.Module:
        if unknown := sorted(arguments.keys() - {"width"}):
            raise Unavailable(f"the model has no argument '{unknown[0]}'; its arguments: width")
        width = arguments.get("width", WIDTH)
        return network(width(WIDTH) if callable(width) else width)

    return {"model": finetune(network(WIDTH), epochs), "batches": batches, "finetune": finetune, "build": build}


@cache
def tree_of(*overrides: str) -> Tree:
    return compose(["data=digits", "model=linear", "device=cpu", *overrides])


FINITE = (
    "optimizer=sgd", "optimizer.sgd.lr=0.01,0.1", "optimizer.sgd.weight_decay=0", "schedule=constant,exponential",
    "schedule.exponential.final=0.1,0.01", "augmentation=none", "regularizer=none", "initializer=keep", "loss=cross_entropy",
    "loss.cross_entropy.label_smoothing=0",
)  # fmt: skip
"""A space of lists alone."""


def strategy_worlds() -> Iterator[Offered]:
    space = Space.of(tree_of("model=mlp,linear", "optimizer=adamw,nesterov", "augmentation=none"))
    accuracy, size = Objective("val_accuracy", "maximize"), Objective("size_mb", "minimize")
    for objectives in ((accuracy,), (accuracy, size)):
        yield {"space": space, "goal": Goal(objectives), "epochs": 9}
    yield {"space": Space.of(tree_of(*FINITE)), "goal": Goal((accuracy,)), "epochs": 9}


def executor_worlds() -> Iterator[Offered]:
    choices = ("optimizer=nesterov", "schedule=constant", "loss=cross_entropy", "initializer=keep", "regularizer=none", "augmentation=none")
    folder = TemporaryDirectory(ignore_cleanup_errors=True)  # it is deleted together with this world
    tree = tree_of(*choices, "batches.size=256", f"study.epochs={EPOCHS}")
    yield {"setup": {"tree": tree}, "store": Store(folder.name), "limits": Limits(workers=1), "kept": folder}


WORLDS: dict[str, Callable[[], Iterable[Offered]]] = {
    "data": lambda: [{}],
    "model": lambda: [{"task": task} for task in TASKS],
    "activation": lambda: [{}],
    "initializer": lambda: [{"model": model, "batch": examples_of(TASKS[1])} for model in (toy_network(), residual_network())],
    "augmentation": augmentation_worlds,
    "regularizer": regularizer_worlds,
    "loss": loss_worlds,
    "optimizer": optimizer_worlds,
    "schedule": schedule_worlds,
    "device": lambda: [{"model": toy_network()}],
    "compression": compression_worlds,
    "strategy": strategy_worlds,
    "executor": executor_worlds,
}
