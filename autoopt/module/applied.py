"""What autoopt keeps on a module that trains by a recipe: one object under one name, so that every other name stays its author's."""

from dataclasses import dataclass, field
from pathlib import Path

import lightning.pytorch as L
from torch import Tensor, nn

from autoopt.data.loaders import NO_LENGTH
from autoopt.errors import TechniqueError
from autoopt.module.chosen import Chosen
from autoopt.module.norms import Passed

HELD = "_autoopt"
"""The one name that is taken."""


@dataclass
class Applied:
    """A recipe as it is applied to a module.

    Args:
        objective: the metric that a plateau schedule or a regularizer follows, in its `direction`.
        steps_per_epoch: optimizer steps, infinity where they cannot be known, if the module makes them itself; else its Trainer knows.
        passed: the inputs of this epoch, for the batch norms.
        deployed: the compressed network that answers for the module.
        folder: of the trial, where checkpoints are written; none in an author's own script.
        notes: what its user has to know before the search.
        batch: a training batch, for those optimizers that look at one.
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

    def times(self, trainer: L.Trainer) -> dict[str, int]:
        """`total_steps` and `steps_per_epoch`, where the optimizer or the schedule asks for them.

        Raises:
            TechniqueError: they cannot be known, as the training loader does not say how many batches it has.
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
    found: Applied = vars(module)[HELD]
    return found
