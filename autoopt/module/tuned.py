"""What a recipe changes in a LightningModule: a subclass that is put in front of the author's own class."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import lightning.pytorch as L
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import ReduceLROnPlateau

from autoopt.domain import Unavailable
from autoopt.errors import TechniqueError, out_of_memory, summary
from autoopt.module.applied import Applied, applied_to
from autoopt.module.augmenting import augmented_batch
from autoopt.module.batch_norm import batch_inputs, batch_norms
from autoopt.module.chosen import Chosen
from autoopt.module.groups import dense_gradients, own_optimizers, parameter_groups, scale_steps
from autoopt.module.hooks import AfterModule, overridden
from autoopt.module.own_callbacks import WhenAsked, in_trial, refuse_second_mean
from autoopt.module.weights import exchanging, keeping_layers, tensor_norms


class Tuned(L.LightningModule):
    """The hooks by which a recipe changes a LightningModule: its optimizer, its schedule and its training batches.

    It overrides hooks and adds no names: its state is in `applied_to(self)`.
    """

    def __init_subclass__(cls) -> None:
        """Keep an author's `__init_subclass__`, such as that of a registry, from being called for the class in front."""

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """The recipe's optimizer and schedule; if both are `keep`, the result of the author's method, unchanged.

        Raises:
            TechniqueError: the module has several optimizers, and the recipe replaces one; or the recipe keeps the module's
                optimizer, and the author's method raises.
        """
        applied = applied_to(self)
        chosen = applied.chosen
        keeps = chosen.asks("optimizer", "own"), chosen.asks("schedule", "own")
        written = super().configure_optimizers
        there = written.__func__ is not L.LightningModule.configure_optimizers  # type: ignore[attr-defined]
        configured = written_by_author(written, applied) if there else None
        owned = own_optimizers(configured)
        if not all(keeps):
            refuse_several(owned, chosen)
        for own in owned:
            in_callbacks_unscaled(own)
            if keeps[0]:
                scale_steps(own, self)
        if all(keeps):
            for own in owned:
                chosen.one("optimizer", own=own)
            if there and not owned and self.automatic_optimization:
                applied.notes.append("the module's own configure_optimizers returns no optimizer, so that nothing is trained")
            return configured
        if not keeps[0]:
            dense_gradients(self)
        author = next(iter(owned), None)
        times = applied.times(self.trainer)
        offered = {"params": parameter_groups(self, author), "model": self, "batch": applied.batch, "own": author}
        optimizer = chosen.one("optimizer", **offered, **times)
        in_callbacks_unscaled(optimizer)
        for group in [] if keeps[0] else optimizer.param_groups:
            group["lr"] = group["lr"] * group.get("lr_scale", 1.0) * chosen.recipe.lr_factor
        applied.hold(optimizer, decays=not keeps[0])
        optimizer.register_step_pre_hook(lambda *_: applied.restore(optimizer, self.trainer.lr_scheduler_configs))
        schedule = chosen.one("schedule", optimizer=optimizer, own=None, direction=applied.direction, **times)
        if schedule is None:
            return optimizer
        by_epoch = {"interval": "epoch", "monitor": applied.objective or "val_loss", "strict": False}
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": schedule, **(by_epoch if isinstance(schedule, ReduceLROnPlateau) else {"interval": "step"})},
        }  # type: ignore[return-value]

    def configure_callbacks(self) -> Any:
        """The author's callbacks, adapted to a trial."""
        configured, folder = super().configure_callbacks() or [], applied_to(self).folder
        own = [configured] if isinstance(configured, L.Callback) else configured
        refuse_second_mean(applied_to(self).chosen, own)
        if folder is None:
            return own
        callbacks = in_trial(own, folder)
        checkpoint = any(isinstance(callback, Checkpoint) for callback in [*callbacks, *self.trainer.checkpoint_callbacks])
        return callbacks if checkpoint else [*callbacks, WhenAsked(folder)]

    def teardown(self, stage: str) -> None:
        """A trial goes on with what `setup` has made."""
        if applied_to(self).folder is None:
            super().teardown(stage)

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """Augment a training batch before the author's hook gets it."""
        if self.trainer.training:
            batch = augmented_batch(applied_to(self).chosen, batch, applied_to(self).pixels)
        return super().on_after_batch_transfer(batch, dataloader_idx)

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Renew the statistics of batch norms at the end of an epoch, if the weights that are evaluated are not those in training."""
        super().on_train_batch_end(outputs, batch, batch_idx)
        add_loss(self, outputs)
        if not (evaluate_others(self.trainer.optimizers) and overridden("forward", self) and batch_norms(self)):
            return
        passed = applied_to(self).passed
        passed.add(batch_inputs(batch))
        if self.trainer.is_last_batch:
            set_mode(self.trainer.optimizers, "eval")
            try:
                with self.trainer.precision_plugin.train_step_context():
                    passed.update_bn(self)
            except Unavailable as error:
                raise applied_to(self).chosen.fault("optimizer", str(error), unavailable=True) from error
            set_mode(self.trainer.optimizers, "train")

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        """After all hooks in which an author may set a rate by hand, such as a warm-up, the recipe's rates hold again."""
        super().on_before_optimizer_step(optimizer)
        applied_to(self).restore(optimizer, self.trainer.lr_scheduler_configs)

    def lr_scheduler_step(self, scheduler: Any, metric: Any) -> None:
        """An author's own way of stepping is for their own schedule."""
        if applied_to(self).chosen.asks("schedule", "own"):
            super().lr_scheduler_step(scheduler, metric)
            return
        with only_first(scheduler.optimizer, len(applied_to(self).held)):
            L.LightningModule.lr_scheduler_step(self, scheduler, metric)

    def on_train_epoch_start(self) -> None:
        applied_to(self).loss_sum, applied_to(self).loss_count = 0.0, 0
        set_mode(self.trainer.optimizers, "train")
        super().on_train_epoch_start()

    def on_validation_model_eval(self) -> None:
        may_exchange = exchanging(self.trainer.callbacks)  # type: ignore[attr-defined]
        applied_to(self).trained = tensor_norms(self) if may_exchange else None
        super().on_validation_model_eval()

    def on_validation_start(self) -> None:
        set_mode(self.trainer.optimizers, "eval")
        super().on_validation_start()

    def on_validation_end(self) -> None:
        if self.trainer.state.fn == TrainerFn.FITTING:  # a measurement after it leaves the weights that are evaluated
            set_mode(self.trainer.optimizers, "train")
        super().on_validation_end()

    def on_train_epoch_end(self) -> None:
        set_mode(self.trainer.optimizers, "eval")  # before callbacks replace the weights by their mean, at the end
        super().on_train_epoch_end()
        for callback in self.trainer.callbacks:  # type: ignore[attr-defined]
            if isinstance(callback, AfterModule):
                callback.after_module(self.trainer, self)


@contextmanager
def only_first(optimizer: Optimizer, number: int) -> Iterator[None]:
    """Hide the groups that a callback has added to an optimizer, of layers that it trains later: their rates are the callback's."""
    late = optimizer.param_groups[number:]
    del optimizer.param_groups[number:]
    try:
        yield
    finally:
        optimizer.param_groups.extend(late)


def add_loss(module: L.LightningModule, outputs: Any) -> None:
    """Count in the loss of a batch, which Lightning has divided by the number of batches that are accumulated."""
    loss = outputs.get("loss") if isinstance(outputs, dict) else None
    if isinstance(loss, Tensor):
        applied = applied_to(module)
        applied.loss_sum = applied.loss_sum + loss.detach() * module.trainer.accumulate_grad_batches
        applied.loss_count += 1


@contextmanager
def made_before(module: L.LightningModule, tested: bool = False) -> Iterator[None]:
    """Keep a module's layers from its `setup` and `configure_model`, which may make new ones at each call.

    Args:
        tested: its `setup` is called nevertheless, as it may make what only its test needs.
    """
    setup = partial(set_up_around, module, module.setup) if tested else nothing
    instead: dict[str, Any] = {"setup": setup, "configure_model": nothing}
    held = {name: vars(module)[name] for name in instead if name in vars(module)}
    vars(module).update(instead)
    try:
        yield
    finally:
        for name in instead:
            del vars(module)[name]
        vars(module).update(held)


def nothing(stage: str = "") -> None:
    """Stands for a hook whose layers are there."""


def set_up_around(module: L.LightningModule, setup: Callable[[str], None], stage: str) -> None:
    """Call a module's `setup`, which leaves its layers as they are."""
    with keeping_layers(module):
        setup(stage)


def in_callbacks_unscaled(optimizer: Optimizer) -> None:
    """Make Lightning unscale 16-bit gradients before its callbacks see them; a fused optimizer would unscale them later, itself."""
    optimizer._step_supports_amp_scaling = False  # type: ignore[attr-defined]


def evaluate_others(optimizers: Iterable[Optimizer]) -> bool:
    """Whether other weights are evaluated than those in training: then an optimizer has a method `eval`."""
    return any(hasattr(optimizer, "eval") for optimizer in optimizers)


def set_mode(optimizers: Iterable[Optimizer], mode: str) -> None:
    """Call `train` or `eval` of the optimizers that have it, which evaluate other weights than they train (schedule-free)."""
    for optimizer in optimizers:
        getattr(optimizer, mode, lambda: None)()


def written_by_author(written: Callable[[], Any], applied: Applied) -> Any:
    """What the author's `configure_optimizers` returns; None with a note if it raises and the recipe replaces its optimizer.

    Raises:
        TechniqueError: it raises, and the recipe keeps its optimizer.
    """
    try:
        return written()
    except Exception as error:
        if out_of_memory(error):
            raise
        failure = f"the module's own configure_optimizers raised {summary(error)}"
        technique = next((technique for technique, _ in applied.chosen.of("optimizer")), None)
        if technique is not None and "own" in technique.asks:
            raise TechniqueError("optimizer", technique.name, failure) from error
        applied.notes.append(f"{failure}; other optimizers train all parameters alike, not in its groups")
        return None


def refuse_several(optimizers: Sequence[Optimizer], chosen: Chosen) -> None:
    """Raise TechniqueError if a module has several optimizers, since a technique would replace only the first."""
    if len(optimizers) > 1:
        slot, technique = next((slot, t) for slot in ("optimizer", "schedule") for t, _ in chosen.of(slot) if "own" not in t.asks)
        problem = f"the module has {len(optimizers)} optimizers, so it keeps its own ({slot}=keep)"
        raise TechniqueError(slot, technique.name, problem, unavailable=True)


def on_device_in_float32(module: L.LightningModule, trainer: L.Trainer) -> None:
    """Give weights that a Trainer has cast (`bf16-true`) or left on the CPU the precision and the device in which they are measured."""
    if trainer.precision in ("bf16-true", "16-true", "64-true"):
        module.float()
    module.to(trainer.strategy.root_device)


def learning_rates(trainer: L.Trainer) -> Iterator[float]:
    """The learning rates of all groups in effect: `keep` marks an optimizer whose rates it scales with an `lr_scale`."""
    return (group["lr"] * getattr(o, "lr_scale", 1.0) for o in trainer.optimizers for group in o.param_groups)


def weight_decays(trainer: L.Trainer) -> Iterator[float]:
    return (float(group.get("weight_decay") or 0.0) for o in trainer.optimizers for group in o.param_groups)
