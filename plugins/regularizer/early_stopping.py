from typing import Annotated

from lightning.pytorch import Callback, LightningModule, Trainer

from autoopt.domain import Bounds, Range
from autoopt.module.best_epoch import BestEpoch


class EarlyStopping(BestEpoch):
    """Keeps the weights of the best epoch, and ends the training when a share of all epochs has passed since."""

    def __init__(self, metric: str, direction: str, share: float):
        super().__init__(metric, direction)
        self.share = share

    def follow(self, trainer: Trainer, pl_module: LightningModule) -> None:
        super().follow(trainer, pl_module)
        patience = max(1, round(self.share * (trainer.max_epochs or 1)))
        trainer.should_stop = trainer.should_stop or trainer.current_epoch - self.best_epoch >= patience


def early_stopping(objective: str | None, direction: str, *, patience: Annotated[float, Range(0.05, 0.5), Bounds(0, 1)] = 0.2) -> Callback:
    """Stops the training when the objective has not improved for the share `patience` of all epochs; the best epoch's weights are kept.

    Without an objective it follows val_loss. In a script of your own the weights are at its `best_model_path`.

    Prechelt 1998, DOI 10.1007/3-540-49430-8_3.
    """
    return EarlyStopping(objective or "val_loss", direction, patience)
