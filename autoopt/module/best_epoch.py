"""The weights of the best epoch."""

from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint


class BestEpoch(ModelCheckpoint):
    """Keeps the weights of the best epoch; in a script of your own they are at its `best_model_path`.

    Args:
        metric: that tells which epoch is best.
        direction: maximize or minimize.
    """

    on_train_batch_end = Callback.on_train_batch_end  # it saves after validations alone, so that a network may train many steps at once

    def __init__(self, metric: str, direction: str):
        super().__init__(monitor=metric, mode="max" if direction == "maximize" else "min", save_on_train_epoch_end=False)
        self.best_epoch, self.validated = 0, False

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "best_epoch": self.best_epoch}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict(state_dict)
        self.best_epoch = state_dict["best_epoch"]

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Follow a metric that this validation has measured; another one would still be that of the epoch before."""
        if self.monitor in trainer._logger_connector.metrics["callback"]:
            self.validated = True
            self.follow(trainer, pl_module)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Follow a metric of the training, or of a network, which is validated in this hook."""
        if not self.validated and self.monitor in trainer.callback_metrics:
            self.follow(trainer, pl_module)

    def follow(self, trainer: Trainer, pl_module: LightningModule) -> None:
        before = self.best_model_path
        super().on_validation_end(trainer, pl_module)
        if self.best_model_path != before:
            self.best_epoch = trainer.current_epoch
