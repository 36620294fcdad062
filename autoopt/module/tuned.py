"""What a recipe changes in a LightningModule: a subclass that is put in front of the author's own class."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
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
from autoopt.data.scale import Scale
from autoopt.errors import TechniqueError, out_of_memory
from autoopt.module.applied import Applied, applied_to
from autoopt.module.chosen import Chosen, call
from autoopt.module.decay import decays
from autoopt.module.norms import batch_inputs, norms_of
from autoopt.module.own_callbacks import WhenAsked, in_trial
from autoopt.module.weights import norms


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
        if not all(keeps):
            refuse_several(own_optimizers(configured), chosen)
        author = next(iter(own_optimizers(configured)), None)
        in_callbacks_unscaled(author)
        if author is not None and keeps[0]:
            scale_steps(author, self)
        if all(keeps):
            for own in own_optimizers(configured):
                chosen.one("optimizer", own=own)
            return configured
        times = applied.times(self.trainer)
        offered = {"params": parameter_groups(self, author), "model": self, "batch": applied.batch, "own": author}
        optimizer = chosen.one("optimizer", **offered, **times)
        in_callbacks_unscaled(optimizer)
        for group in [] if keeps[0] else optimizer.param_groups:
            group["lr"] = group["lr"] * group.get("lr_scale", 1.0) * chosen.recipe.lr_factor
        applied.hold(optimizer, decays=not keeps[0])
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
        own, folder = super().configure_callbacks(), applied_to(self).folder
        if folder is None:
            return own
        callbacks = in_trial([own] if isinstance(own, L.Callback) else own, folder)
        checkpoint = any(isinstance(callback, Checkpoint) for callback in [*callbacks, *self.trainer.checkpoint_callbacks])
        return callbacks if checkpoint else [*callbacks, WhenAsked(folder)]

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """Augment a training batch before the author's hook gets it."""
        if self.trainer.training:
            batch = augmented_batch(applied_to(self).chosen, batch, applied_to(self).pixels)
        return super().on_after_batch_transfer(batch, dataloader_idx)

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Renew the statistics of batch norms at the end of an epoch, if the weights that are evaluated are not those in training."""
        super().on_train_batch_end(outputs, batch, batch_idx)
        add_loss(self, outputs)
        if not (evaluate_others(self.trainer.optimizers) and overridden("forward", self, L.LightningModule) and norms_of(self)):
            return
        passed = applied_to(self).passed
        passed.add(batch_inputs(batch))
        if self.trainer.is_last_batch:
            set_mode(self.trainer.optimizers, "eval")
            with self.trainer.precision_plugin.train_step_context():
                passed.renew(self)
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
        applied_to(self).trained = norms(self)
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


@contextmanager
def only_first(optimizer: Optimizer, number: int) -> Iterator[None]:
    """Hide the groups that a callback has added to an optimizer, of layers that it trains later: their rates are the callback's."""
    groups = optimizer.param_groups
    optimizer.param_groups = groups[:number]
    try:
        yield
    finally:
        optimizer.param_groups = groups


def add_loss(module: L.LightningModule, outputs: Any) -> None:
    """Count in the loss of a batch, which Lightning has divided by the number of batches that are accumulated."""
    loss = outputs.get("loss") if isinstance(outputs, dict) else None
    if isinstance(loss, Tensor):
        applied = applied_to(module)
        applied.loss_sum = applied.loss_sum + loss.detach() * module.trainer.accumulate_grad_batches
        applied.loss_count += 1


@contextmanager
def made_before(module: L.LightningModule) -> Iterator[None]:
    """Replace a module's `setup`, which may make new layers at each call, by one that does nothing."""
    vars(module)["setup"] = lambda stage: None
    try:
        yield
    finally:
        del vars(module)["setup"]


def in_callbacks_unscaled(optimizer: Optimizer | None) -> None:
    """Make Lightning unscale 16-bit gradients before its callbacks see them; a fused optimizer would unscale them later, itself."""
    if optimizer is not None:
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
        failure = f"the module's own configure_optimizers raised {type(error).__name__}: {error}"
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


def own_optimizers(configured: Any) -> list[Optimizer]:
    """The optimizers in a result of `configure_optimizers`, in any of the forms that Lightning takes."""
    if isinstance(configured, Optimizer):
        return [configured]
    if isinstance(configured, dict):
        return own_optimizers(configured["optimizer"])
    if not isinstance(configured, list | tuple) or not configured:
        return []
    parts = configured[0] if isinstance(configured[0], list | tuple) else configured
    return [optimizer for part in parts for optimizer in own_optimizers(part)]


def parameter_groups(model: nn.Module, author: Optimizer | None = None) -> list[dict[str, Any]]:
    """Parameter groups: those that weight decay may act on (`decays`), and the others with `weight_decay` 0.

    An initializer may mark parameters with an `lr_scale`: each scale has groups of its own, the largest first.

    Args:
        author: the author's optimizer, which is replaced. Parameters that it leaves out stay untrained, and the ratios of its
            learning rates are kept; if it decays some of its groups only, weight decay acts on these.
    """
    groups: dict[tuple[bool, float], list[nn.Parameter]] = defaultdict(list)
    may_decay = decays(model)
    for p, ratio, decayed in ((p, 1.0, may_decay(p)) for p in model.parameters()) if author is None else trainable_by(author, may_decay):
        if p.requires_grad:
            groups[not decayed, -ratio * getattr(p, "lr_scale", 1.0)].append(p)
    return [{"params": groups[rest, scale], "lr_scale": -scale} | ({"weight_decay": 0.0} if rest else {}) for rest, scale in sorted(groups)]


def trainable_by(optimizer: Optimizer, may_decay: Callable[[Tensor], bool]) -> Iterator[tuple[nn.Parameter, float, bool]]:
    """Each parameter of an optimizer with the ratio of its learning rate to the greatest, and whether weight decay acts on it.

    The learning rates are those before its schedule, which may begin at 0.
    """
    rates = [float(group.get("initial_lr", group.get("lr")) or 0.0) for group in optimizer.param_groups]
    strengths = [float(group.get("weight_decay") or 0.0) for group in optimizer.param_groups]
    some_only = any(strengths) and not all(strengths)
    for group, rate, decay in zip(optimizer.param_groups, rates, strengths, strict=True):
        for p in group["params"]:
            yield p, rate / max(rates) if any(rates) else 1.0, decay > 0 if some_only else may_decay(p)


def scale_steps(optimizer: Optimizer, model: nn.Module) -> None:
    """Scale the steps of an author's optimizer by the `lr_scale` of the parameters; its groups and rates stay as the author set them."""
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


def train_alike(model: nn.Module, trained: nn.Module) -> None:
    """Give a network that was made of a trained one its rates (`lr_scale`) and its frozen parameters, which a copy or a new layer lacks.

    A parameter that has an `lr_scale` keeps it, and is trained as it is.
    """
    origins = {without_parametrization(name): parameter for name, parameter in trained.named_parameters(remove_duplicate=False)}
    for name, parameter in model.named_parameters():
        origin = None if hasattr(parameter, "lr_scale") else origin_of(without_parametrization(name), origins)
        if origin is not None:
            parameter.lr_scale = getattr(origin, "lr_scale", 1.0)  # type: ignore[attr-defined]
            parameter.requires_grad = parameter.requires_grad and origin.requires_grad


def without_parametrization(name: str) -> str:
    """The name of a parameter, without the module between it and its layer that a parametrization adds."""
    return name.replace("parametrizations.", "")


def origin_of(name: str, origins: Mapping[str, nn.Parameter]) -> nn.Parameter | None:
    """The parameter that a new one stands for: under the path of the parameter itself, or of its layer, which may be several layers now."""
    parts = name.split(".")
    for end in range(len(parts), 0, -1):
        path = ".".join(parts[:end])
        for place in (path, f"{path}.{parts[-1]}"):
            if place in origins:
                return origins[place]
    return None


def augment(chosen: Chosen, inputs: Tensor, targets: Tensor, classes: int = -1, pixels: Scale | None = None) -> tuple[Tensor, Tensor]:
    """A batch after every augmentation of the recipe.

    A technique asks for `planes` if it moves all channels alike, those of masks too; for `pixels` (in [0, 1]) if it changes
    values and leaves each pixel in its place; for `images` (in [0, 1]) if it does both; else for `inputs`.

    Args:
        classes: the number of classes, for probabilities.
        pixels: the scale of images, which are in [0, 1] without it.

    Returns:
        the inputs, and the targets: class probabilities `(N, K)` in place of indices, if a technique asks for `targets`.
    """
    return augmented(chosen, inputs, targets, None, classes, pixels)[:2]


def augmented(
    chosen: Chosen, inputs: Tensor, targets: Tensor, where: Tensor | None, classes: int = -1, pixels: Scale | None = None
) -> tuple[Tensor, Tensor, Tensor | None]:
    """The same, and the positions of the pixels after the augmentations, if positions `where` are given."""
    techniques = chosen.of("augmentation")
    if techniques and pixels is not None:
        inputs = pixels.invert(inputs).float().clamp(0, 1)
    for technique, values in techniques:
        if "targets" in technique.asks and not targets.is_floating_point():
            targets = one_hot(targets.long(), classes).to(inputs.dtype)
        planes = inputs if where is None else torch.cat([inputs.float(), where], 1)
        offered = {"planes": planes, "images": inputs, "pixels": inputs, "inputs": inputs, "targets": targets}
        with torch.autocast(inputs.device.type, enabled=False):  # in bfloat16, positions would be some pixels off
            returned = call(technique, offered, values)
        tensors = returned if isinstance(returned, tuple) else (returned,)
        if len(tensors) != len(technique.asks):
            problem = f"returned {len(tensors)} instead of {len(technique.asks)} tensors: {', '.join(technique.asks)}"
            raise TechniqueError(technique.slot, technique.name, problem)
        new = dict(zip(technique.asks, tensors, strict=True))
        if where is not None and "planes" in new:
            new["planes"], where = new["planes"][:, :-3].to(inputs.dtype), new["planes"][:, -3:]
        inputs = next((new[name] for name in ("planes", "images", "pixels", "inputs") if name in new), inputs)
        targets = new.get("targets", targets)
    return pixels.apply(inputs) if techniques and pixels is not None else inputs, targets, where


def augmented_batch(chosen: Chosen, batch: Any, pixels: Scale | None = None) -> Any:
    """A batch of a user's data module after every augmentation, with its masks moved too; unchanged if its layout is not known.

    A mixture of classes becomes a class that is drawn from it: the gradient is the same on average, and every module takes indices.
    """
    layout = batch_layout(batch) if chosen.of("augmentation") else None
    if layout is None:
        return batch
    images, labels = batch[layout.inputs], batch[layout.targets]
    inputs, targets, where = augmented(chosen, images, labels, pixel_positions(images) if layout.masks else None, pixels=pixels)
    if targets.is_floating_point() and not labels.is_floating_point():
        targets = torch.multinomial(targets, 1).squeeze(1).to(labels.dtype)
    masks = {} if where is None else {key: moved(batch[key], where) for key in layout.masks}
    return replaced(batch, {layout.inputs: inputs, layout.targets: targets, **masks})


def in_single_precision(module: L.LightningModule, trainer: L.Trainer) -> None:
    """Give weights that a Trainer has cast (`bf16-true`) the precision in which they are stored, measured and deployed."""
    if trainer.precision in ("bf16-true", "16-true", "64-true"):
        module.float()


def learning_rates(trainer: L.Trainer) -> Iterator[float]:
    """The learning rates of all groups in effect: `keep` marks an optimizer whose rates it scales with an `lr_scale`."""
    return (group["lr"] * getattr(o, "lr_scale", 1.0) for o in trainer.optimizers for group in o.param_groups)


def weight_decays(trainer: L.Trainer) -> Iterator[float]:
    return (float(group.get("weight_decay") or 0.0) for o in trainer.optimizers for group in o.param_groups)
