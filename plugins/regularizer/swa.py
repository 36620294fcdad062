from typing import Annotated, Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor, nn

from autoopt.domain import Acts, Bounds, Range, Unavailable
from autoopt.module.batch_norm import Passed, batch_inputs, batch_norms
from autoopt.module.net import Net


class SWA(Callback):
    """Averages the weights after each epoch from `start` on, and exchanges them with the mean for validation and at the end."""

    def __init__(self, model: nn.Module, start: float, rate: float):
        self.model, self.start, self.rate = model, start, rate
        self.held: list[Tensor] = []  # the mean of the weights, and its buffers; during validation the weights themselves
        self.passed, self.count = Passed(), 0

    def first(self, trainer: Trainer) -> int:
        """The first epoch whose weights are averaged."""
        epochs = trainer.max_epochs or 1
        return min(int(self.start * epochs), epochs - 1)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        for group in optimizer_groups(trainer):
            group.setdefault("initial_lr", group["lr"])

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.current_epoch == self.first(trainer):
            trainer.strategy.lr_scheduler_configs = []
            for group in optimizer_groups(trainer):
                group["lr"] = group["initial_lr"] = self.rate * group.get("initial_lr", group["lr"])  # from which gradient_adaptive starts

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int) -> None:
        if trainer.current_epoch < self.first(trainer):
            return
        if batch_norms(self.model):
            self.passed.add(pl_module.inputs if isinstance(pl_module, Net) else batch_inputs(batch))
        if trainer.is_last_batch:
            self.add()
            self.swap()
            with trainer.precision_plugin.train_step_context():
                self.passed.update_bn(self.model)
            self.swap()

    def add(self) -> None:
        """Add the present weights to the mean."""
        self.count += 1
        weights = [p.detach() for p in self.model.parameters()]
        means = self.held[: len(weights)] or [w.clone() for w in weights]
        torch._foreach_lerp_(means, weights, 1 / self.count)
        self.held = [*means, *(buffer.clone() for buffer in self.model.buffers())]

    @torch.no_grad()
    def swap(self) -> None:
        for held, shown in zip(self.held, [*self.model.parameters(), *self.model.buffers()] if self.held else [], strict=True):
            held_before = held.clone()
            held.copy_(shown)
            shown.copy_(held_before)

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.swap()

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.swap()

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Store the mean, which was validated."""
        self.swap()
        checkpoint["state_dict"] = {name: value.clone() for name, value in trainer.strategy.lightning_module_state_dict().items()}
        self.swap()

    def state_dict(self) -> dict[str, Any]:
        return {"held": self.held, "count": self.count, "inputs": self.passed.inputs, "numbers": self.passed.numbers}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.held, self.count = state_dict["held"], state_dict["count"]
        self.passed.inputs, self.passed.numbers = state_dict["inputs"], state_dict["numbers"]

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.swap()
        self.held = []


def swa(
    model: nn.Module,
    *,
    start: Annotated[float, Range(0.5, 0.9), Bounds(0, 1)] = 0.75,
    rate: Annotated[float, Range(0.05, 1.0, log=True), Bounds(above=0)] = 0.5,
) -> Annotated[Callback, Acts(last=True)]:
    """From the share `start` of the epochs on `mean = (n * mean + weights) / (n + 1)` after each epoch, at a constant rate.

    The rate is `rate` times that of the optimizer. Validation and the final model use the mean; its batch norms get the
    statistics of the last epoch's batches, up to 2^27 numbers of them.

    Izmailov et al. 2018, arXiv:1803.05407.

    Raises:
        Unavailable: a LightningModule has batch norms but no `forward` to pass the batches through.
    """
    if batch_norms(model) and isinstance(model, LightningModule) and type(model).forward is LightningModule.forward:
        raise Unavailable("the module has batch norms, whose statistics have to be renewed, but no forward")
    return SWA(model, start, rate)


def optimizer_groups(trainer: Trainer) -> list[dict[str, Any]]:
    return [group for optimizer in trainer.optimizers for group in optimizer.param_groups]
