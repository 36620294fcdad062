"""What a recipe changes in a LightningModule: a subclass that is put in front of the author's own class."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import lightning.pytorch as L
import torch
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.nn.functional import one_hot
from torch.optim import Optimizer
from torch.optim.lr_scheduler import ReduceLROnPlateau

from autoopt.data.batch import batch_layout, moved, pixel_positions, replaced
from autoopt.data.feed import overridden
from autoopt.errors import TechniqueError, out_of_memory
from autoopt.module.applied import Applied, applied_to
from autoopt.module.chosen import Chosen, call
from autoopt.module.decay import decays
from autoopt.module.norms import batch_inputs, norms_of
from autoopt.module.own_callbacks import WhenAsked, in_trial


class Tuned(L.LightningModule):
    """What a recipe changes in a LightningModule: its optimizer and schedule, and its training batches.

    It overrides hooks and adds no name: all that it keeps is in `applied_to(self)`.
    """

    def __init_subclass__(cls) -> None:
        """An author's own `__init_subclass__`, such as that of a registry, does not hear of the class in front."""

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """The recipe's optimizer and schedule; where both are `keep`, all that the module says, as it says it.

        Raises:
            TechniqueError: the module has several optimizers, or cannot make its own, which the recipe keeps.
        """
        applied = applied_to(self)
        chosen = applied.chosen
        keeps = chosen.asks("optimizer", "own"), chosen.asks("schedule", "own")
        written = super().configure_optimizers
        there = written.__func__ is not L.LightningModule.configure_optimizers  # type: ignore[attr-defined]
        own = written_by_author(written, applied) if there else None
        if not all(keeps):
            refuse_several(own_optimizers(own), chosen)
        author = next(iter(own_optimizers(own)), None)
        in_callbacks_unscaled(author)
        if author is not None and keeps[0]:
            scale_steps(author, self)
        if all(keeps):
            for each in own_optimizers(own):
                chosen.one("optimizer", own=each)
            return own
        times = applied.times(self.trainer)
        offered = {"params": parameter_groups(self, author), "model": self, "batch": applied.batch, "own": author}
        optimizer = chosen.one("optimizer", **offered, **times)
        in_callbacks_unscaled(optimizer)
        for group in [] if keeps[0] else optimizer.param_groups:
            group["lr"] = group["lr"] * group.get("lr_scale", 1.0)
        schedule = chosen.one("schedule", optimizer=optimizer, own=None, direction=applied.direction, **times)
        if schedule is None:
            return optimizer
        by_epoch = {"interval": "epoch", "monitor": applied.objective or "val_loss", "strict": False}
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": schedule, **(by_epoch if isinstance(schedule, ReduceLROnPlateau) else {"interval": "step"})},
        }  # type: ignore[return-value]

    def configure_callbacks(self) -> Any:
        """The module's own, as a trial has them."""
        own, folder = super().configure_callbacks(), applied_to(self).folder
        if folder is None:
            return own
        callbacks = in_trial([own] if isinstance(own, L.Callback) else own, folder)
        checkpoint = any(isinstance(callback, Checkpoint) for callback in [*callbacks, *self.trainer.checkpoint_callbacks])
        return callbacks if checkpoint else [*callbacks, WhenAsked(folder)]

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """Augment a training batch before the module's own hook sees it."""
        if self.trainer.training:
            batch = augmented_batch(applied_to(self).chosen, batch)
        return super().on_after_batch_transfer(batch, dataloader_idx)

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Give batch norms, at the end of an epoch, the statistics of the weights that are evaluated, where these are others."""
        super().on_train_batch_end(outputs, batch, batch_idx)
        if not (evaluate_others(self.trainer.optimizers) and overridden("forward", self, L.LightningModule) and norms_of(self)):
            return
        passed = applied_to(self).passed
        passed.add(batch_inputs(batch))
        if self.trainer.is_last_batch:
            set_mode(self.trainer.optimizers, "eval")
            with self.trainer.precision_plugin.train_step_context():
                passed.renew(self)
            set_mode(self.trainer.optimizers, "train")

    def on_train_epoch_start(self) -> None:
        set_mode(self.trainer.optimizers, "train")
        super().on_train_epoch_start()

    def on_validation_start(self) -> None:
        set_mode(self.trainer.optimizers, "eval")
        super().on_validation_start()

    def on_validation_end(self) -> None:
        if self.trainer.state.fn == TrainerFn.FITTING:  # a measurement after it leaves the weights that are evaluated
            set_mode(self.trainer.optimizers, "train")
        super().on_validation_end()

    def on_train_epoch_end(self) -> None:
        set_mode(self.trainer.optimizers, "eval")  # before callbacks put a mean of the weights in their place, at the end
        super().on_train_epoch_end()


@contextmanager
def made_before(module: L.LightningModule) -> Iterator[None]:
    """Keep a module from making its layers again: a `setup` may make new ones each time that it is called."""
    vars(module)["setup"] = lambda stage: None
    try:
        yield
    finally:
        del vars(module)["setup"]


def in_callbacks_unscaled(optimizer: Optimizer | None) -> None:
    """Have Lightning unscale 16-bit gradients before its callbacks see them: a fused optimizer would do so by itself, after them."""
    if optimizer is not None:
        optimizer._step_supports_amp_scaling = False  # type: ignore[attr-defined]


def evaluate_others(optimizers: Iterable[Optimizer]) -> bool:
    """Whether the weights that are evaluated are none that batches have passed through, as an optimizer's `eval` tells."""
    return any(hasattr(optimizer, "eval") for optimizer in optimizers)


def set_mode(optimizers: Iterable[Optimizer], mode: str) -> None:
    """Some optimizers evaluate other weights than they train (schedule-free)."""
    for optimizer in optimizers:
        getattr(optimizer, mode, lambda: None)()


def written_by_author(written: Callable[[], Any], applied: Applied) -> Any:
    """What the author's `configure_optimizers` returns; nothing, and a note, where it raises and its optimizer is replaced anyway.

    Raises:
        TechniqueError: it raises, and the recipe keeps its optimizer.
    """
    try:
        return written()
    except Exception as error:
        if out_of_memory(error):
            raise
        failed = f"the module's own configure_optimizers raised {type(error).__name__}: {error}"
        technique = next((technique for technique, _ in applied.chosen.of("optimizer")), None)
        if technique is not None and "own" in technique.asks:
            raise TechniqueError("optimizer", technique.name, failed) from error
        applied.notes.append(f"{failed}; other optimizers train all parameters alike, not in its groups")
        return None


def refuse_several(own: Sequence[Optimizer], chosen: Chosen) -> None:
    """Raise TechniqueError where a module has several optimizers, of which another technique would replace the first alone."""
    if len(own) > 1:
        slot, technique = next((slot, t) for slot in ("optimizer", "schedule") for t, _ in chosen.of(slot) if "own" not in t.asks)
        problem = f"the module has {len(own)} optimizers, so it keeps its own ({slot}=keep)"
        raise TechniqueError(slot, technique.name, problem, unavailable=True)


def own_optimizers(own: Any) -> list[Optimizer]:
    """The optimizers in any of the forms that `configure_optimizers` may return."""
    if isinstance(own, Optimizer):
        return [own]
    if isinstance(own, dict):
        return own_optimizers(own["optimizer"])
    if not isinstance(own, list | tuple) or not own:
        return []
    return [optimizer for part in (own[0] if isinstance(own[0], list | tuple) else own) for optimizer in own_optimizers(part)]


def parameter_groups(model: nn.Module, own: Optimizer | None = None) -> list[dict[str, Any]]:
    """Parameter groups: those that may be decayed (`decays`), and those that are not, such as biases and norms.

    An initializer may mark parameters with an `lr_scale`: each scale has groups of its own, the largest first.

    Args:
        own: the author's optimizer, whose place another one takes: what it leaves out stays untrained, the ratios of its rates
            stay, and where it decays some of its groups only, these.
    """
    found: dict[tuple[bool, float], list[nn.Parameter]] = defaultdict(list)
    may_decay = decays(model)
    for p, ratio, decayed in ((p, 1.0, may_decay(p)) for p in model.parameters()) if own is None else trainable_by(own, may_decay):
        if p.requires_grad:
            found[not decayed, -ratio * getattr(p, "lr_scale", 1.0)].append(p)
    return [{"params": found[rest, scale], "lr_scale": -scale} | ({"weight_decay": 0.0} if rest else {}) for rest, scale in sorted(found)]


def trainable_by(own: Optimizer, may_decay: Callable[[Tensor], bool]) -> Iterator[tuple[nn.Parameter, float, bool]]:
    """Each parameter of an optimizer, the ratio of its rate to the greatest, and whether it is decayed.

    The rates are those before a schedule, which may begin at 0.
    """
    rates = [float(group.get("initial_lr", group.get("lr")) or 0.0) for group in own.param_groups]
    decays = [float(group.get("weight_decay") or 0.0) for group in own.param_groups]
    some_only = any(decays) and not all(decays)
    for group, rate, decay in zip(own.param_groups, rates, decays, strict=True):
        for p in group["params"]:
            yield p, rate / max(rates) if any(rates) else 1.0, decay > 0 if some_only else may_decay(p)


def scale_steps(optimizer: Optimizer, model: nn.Module) -> None:
    """Have a module's own optimizer make steps of the marked length, whose groups stay as its author and their schedule know them."""
    marked = {p: scale for p in model.parameters() if (scale := getattr(p, "lr_scale", 1.0)) != 1.0}
    if not marked:
        return
    before: dict[nn.Parameter, Tensor] = {}

    def remember(*_: Any) -> None:
        before.update((p, p.detach().clone()) for p in marked)

    @torch.no_grad()
    def shorten(*_: Any) -> None:
        for p, scale in marked.items():
            p.copy_(before[p].lerp_(p, scale))

    optimizer.register_step_pre_hook(remember)
    optimizer.register_step_post_hook(shorten)


def scale_alike(model: nn.Module, trained: nn.Module) -> None:
    """Give a copy the rates of the layers that it was copied from, which copying loses."""
    rates = {name: p.lr_scale for name, p in trained.named_parameters() if hasattr(p, "lr_scale")}
    for name, parameter in model.named_parameters():
        if name in rates:
            parameter.lr_scale = rates[name]  # type: ignore[attr-defined]


def augment(chosen: Chosen, inputs: Tensor, targets: Tensor, classes: int = -1) -> tuple[Tensor, Tensor]:
    """A batch after every augmentation of the recipe; class indices become probabilities `(N, K)` where one asks for targets.

    A technique asks for `planes` if it moves every channel that it is given alike, masks among them; for `pixels` if it changes
    images in [0, 1] and leaves each pixel where it is; for `images`, in [0, 1], if it may do both; else for `inputs`.
    """
    return augmented(chosen, inputs, targets, None, classes)[:2]


def augmented(
    chosen: Chosen, inputs: Tensor, targets: Tensor, where: Tensor | None, classes: int = -1
) -> tuple[Tensor, Tensor, Tensor | None]:
    """The same, and what became of the places of the pixels where these are given."""
    for technique, values in chosen.of("augmentation"):
        if "targets" in technique.asks and not targets.is_floating_point():
            targets = one_hot(targets.long(), classes).to(inputs.dtype)
        planes = inputs if where is None else torch.cat([inputs.float(), where], 1)
        offered = {"planes": planes, "images": inputs, "pixels": inputs, "inputs": inputs, "targets": targets}
        with torch.autocast(inputs.device.type, enabled=False):  # places and shares in bfloat16 are some pixels off
            returned = call(technique, offered, values)
        made = returned if isinstance(returned, tuple) else (returned,)
        if len(made) != len(technique.asks):
            raise TechniqueError(technique.slot, technique.name, f"returned {len(made)} of {', '.join(technique.asks)}")
        new = dict(zip(technique.asks, made, strict=True))
        if where is not None and "planes" in new:
            new["planes"], where = new["planes"][:, :-3].to(inputs.dtype), new["planes"][:, -3:]
        inputs = next((new[name] for name in ("planes", "images", "pixels", "inputs") if name in new), inputs)
        targets = new.get("targets", targets)
    return inputs, targets, where


def augmented_batch(chosen: Chosen, batch: Any) -> Any:
    """A batch of a user's data module after every augmentation, masks moved along; one of another layout as it is.

    A mixed class is drawn from its mixture: that has the expected gradient of the mixture, and every training step takes indices.
    """
    layout = batch_layout(batch) if chosen.of("augmentation") else None
    if layout is None:
        return batch
    own = batch[layout.targets]
    inputs, targets, where = augmented(chosen, batch[layout.inputs], own, pixel_positions(batch[layout.inputs]) if layout.masks else None)
    if targets.is_floating_point() and not own.is_floating_point():
        targets = torch.multinomial(targets, 1).squeeze(1).to(own.dtype)
    masks = {} if where is None else {key: moved(batch[key], where) for key in layout.masks}
    return replaced(batch, {layout.inputs: inputs, layout.targets: targets, **masks})


def learning_rates(trainer: L.Trainer) -> Iterator[float]:
    """The rates of all groups, as the steps have them: `keep` marks an optimizer that it scales with an `lr_scale`."""
    return (group["lr"] * getattr(o, "lr_scale", 1.0) for o in trainer.optimizers for group in o.param_groups)


def weight_decays(trainer: L.Trainer) -> Iterator[float]:
    return (float(group.get("weight_decay") or 0.0) for o in trainer.optimizers for group in o.param_groups)
