from typing import Annotated

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import EarlyStopping

from autoopt.domain import Range


class Patience(EarlyStopping):
    """Waits for a share of the epochs, which the Trainer knows."""

    def __init__(self, metric: str, mode: str, share: float):
        super().__init__(metric, mode=mode, strict=False, check_on_train_epoch_end=False)
        self.share = share

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self.patience = max(1, round(self.share * (trainer.max_epochs or 1)))
        super().setup(trainer, pl_module, stage)


def early_stopping(objective: str | None, direction: str, *, patience: Annotated[float, Range(0.05, 0.5)] = 0.2) -> Callback:
    """Stops the training when the objective has not improved for the share `patience` of all epochs.

    Without an objective it follows val_loss. The weights are those of the last epoch.

    Prechelt 1998, DOI 10.1007/3-540-49430-8_3.
    """
    return Patience(objective or "val_loss", "max" if direction == "maximize" else "min", patience)
