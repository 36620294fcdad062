"""What autoopt keeps on a module that trains by a recipe: one object under one name, so that the author may use all others."""

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass, field
from pathlib import Path

import lightning.pytorch as L
from lightning.pytorch.utilities.types import LRSchedulerConfig
from torch import Tensor, nn
from torch.optim import Optimizer

from autoopt.data.loaders import NO_LENGTH
from autoopt.data.scale import Scale
from autoopt.errors import TechniqueError
from autoopt.module.batch_norm import Passed
from autoopt.module.chosen import Chosen

HELD = "_autoopt"
"""The name of that object."""


@dataclass
class Applied:
    """A recipe as it is applied to a module.

    Args:
        chosen: the techniques of the recipe.
        objective: the metric that a plateau schedule or a regularizer follows.
        direction: of that metric, minimize or maximize.
        steps_per_epoch: optimizer steps in an epoch of `Net`, infinity if they are not known; None for a user's module, where the
            Trainer knows them.
        passed: the inputs of this epoch, for the batch norms.
        deployed: the compressed network that the module's `forward` calls.
        folder: of the trial, for checkpoints; None in an author's own script.
        notes: lines for the user before the search.
        batch: a training batch, for those optimizers that look at one.
        pixels: the scale of the images, which augmentations get as they were before it; None if they were not scaled.
        held: for each parameter group, the values of a recipe's optimizer that hold whatever the author's hooks set by hand; no group
            where the author's optimizer and schedule are kept.
        trained: the norms of the weights when a validation begins, before callbacks exchange them; None where there are no such callbacks.
        loss_sum, loss_count: of this epoch's losses, as the author's `training_step` returned them.
    """

    chosen: Chosen
    objective: str | None = None
    direction: str = "minimize"
    steps_per_epoch: float | None = None
    passed: Passed = field(default_factory=Passed)
    deployed: nn.Module | None = None
    folder: Path | None = None
    notes: list[str] = field(default_factory=list)
    batch: tuple[Tensor, Tensor] | None = None
    pixels: Scale | None = None
    held: list[dict[str, float]] = field(default_factory=list)
    trained: Tensor | None = None
    loss_sum: Tensor | float = 0.0
    loss_count: int = 0

    def hold(self, optimizer: Optimizer, decays: bool) -> None:
        """Let the recipe's rates hold from now on, and the decays of its optimizer, if that replaces the author's."""
        for group in optimizer.param_groups:
            if "lr" in group:
                group.setdefault("initial_lr", copy(group["lr"]))  # a tensor may be changed in place
        names = {"weight_decay"} if decays else set()
        self.held = [{name: group[name] for name in names & group.keys()} for group in optimizer.param_groups]

    def restore(self, optimizer: Optimizer, schedules: Sequence[LRSchedulerConfig]) -> None:
        """Give an optimizer the values that hold; the rates are those of the schedule, if it has one."""
        if not self.held:
            return
        rates = schedules[0].scheduler.get_last_lr() if schedules else [group.get("initial_lr") for group in optimizer.param_groups]
        for group, rate, held in zip(optimizer.param_groups, rates, self.held, strict=False):  # a callback may have added groups
            group.update(held if rate is None else {**held, "lr": copy(rate)})

    def times(self, trainer: L.Trainer) -> dict[str, int]:
        """`total_steps` and `steps_per_epoch` for the optimizer and the schedule; empty if neither asks for them.

        Raises:
            TechniqueError: they are not known, since the training loader has no length.
        """
        chosen = [*self.chosen.of("optimizer"), *self.chosen.of("schedule")]
        asking = [technique for technique, _ in chosen if {"total_steps", "steps_per_epoch"} & {*technique.asks}]
        if not asking:
            return {}
        epochs = trainer.max_epochs or 1
        steps = trainer.estimated_stepping_batches if self.steps_per_epoch is None else self.steps_per_epoch * epochs
        if not 0 <= steps < float("inf"):
            raise TechniqueError(asking[0].slot, asking[0].name, NO_LENGTH, unavailable=True)
        return {"total_steps": int(steps), "steps_per_epoch": max(1, int(steps) // epochs)}


def applied_to(module: nn.Module) -> Applied:
    """The recipe on a module."""
    applied: Applied = vars(module)[HELD]
    return applied
