"""The LightningModule that applies a recipe: our own around a plain network, or a subclass put in front of the user's."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

import lightning.pytorch as L
import torch
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.nn.functional import one_hot
from torch.optim import Optimizer
from torch.optim.lr_scheduler import ReduceLROnPlateau

from autoopt.config import FROM
from autoopt.domain import Unavailable
from autoopt.embedded import embedded
from autoopt.errors import BadInput, NonFinite, TechniqueError
from autoopt.feed import in_groups
from autoopt.hugging_face import answering
from autoopt.recipe import Recipe
from autoopt.slots import SLOTS
from autoopt.task import Task
from autoopt.technique import Technique, build, find, resolve

ACTIVATIONS = tuple(
    getattr(nn, name)
    for name in ("ReLU", "ReLU6", "LeakyReLU", "PReLU", "ELU", "CELU", "SELU", "GELU", "SiLU", "Mish", "Tanh", "Softplus", "Hardswish")
)
Instead = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Of (inputs, outputs, the recipe's loss): what is minimised instead of that loss."""


class Chosen:
    """A recipe's techniques, slot by slot, each ready to be called with what its slot offers."""

    def __init__(self, recipe: Recipe):
        rows = [(find(slot, values.get(FROM, name)), set_values(values)) for slot, name, values in recipe.techniques()]
        self.rows = sorted(rows, key=lambda row: (row[0].acts.last, row[0].acts.late))  # stable: else as listed

    def of(self, slot: str) -> list[tuple[Technique, dict[str, Any]]]:
        return [row for row in self.rows if row[0].slot == slot]

    def asks(self, slot: str, name: str) -> bool:
        return any(name in technique.asks for technique, _ in self.of(slot))

    def build(self, slot: str, **offered: Any) -> list[Any]:
        """What each technique of the slot returns.

        Raises:
            TechniqueError: it raised, returned the wrong thing, or cannot work here.
        """
        return [call(technique, offered, values) for technique, values in self.of(slot)]

    def one(self, slot: str, **offered: Any) -> Any:
        """What the technique that fills the slot returns; nothing where another slot's technique fills it."""
        return next(iter(self.build(slot, **offered)), None)

    def callbacks(self, model: nn.Module, total_steps: int, objective: str | None, direction: str = "minimize") -> list[L.Callback]:
        """What the regularizers return beside what they change in the model."""
        made = self.build("regularizer", model=model, total_steps=total_steps, objective=objective, direction=direction)
        return [callback for callback in made if callback is not None]


def set_values(values: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if key not in (FROM, "use")}


def call(technique: Technique, offered: dict[str, Any], values: dict[str, Any]) -> Any:
    try:
        result = build(technique, offered, values)
    except Unavailable as error:
        raise TechniqueError(technique.slot, technique.name, str(error), unavailable=True) from error
    except BadInput:
        raise
    except Exception as error:
        raise TechniqueError(technique.slot, technique.name, f"{type(error).__name__}: {error}") from error
    expected = SLOTS[technique.slot].returns
    if not any(result is None if path is None else isinstance(result, resolve(path)) for path in expected):
        names = " or ".join("nothing" if path is None else path.rpartition(":")[2] for path in expected)
        raise TechniqueError(technique.slot, technique.name, f"returned {type(result).__name__}, expected {names}")
    return result


def make_module(recipe: Recipe, task: Task, example: tuple[Tensor, Tensor] | None, objective: str | None) -> "Tuned":
    """A module that trains as the recipe says.

    Args:
        example: a training batch for those initializers and checks that look at one.
        objective: the metric that a plateau schedule or a regularizer follows.
    """
    chosen = Chosen(recipe)
    model = built_model(*chosen.of("model")[0], task)
    prepare_model(chosen, model, example)
    if isinstance(model, L.LightningModule):
        return apply_to(model, chosen, objective)
    offered = {"task": task} | ({} if task.class_counts is None else {"class_counts": task.class_counts})
    return Net(model, chosen.one("loss", **offered), chosen, task, objective)


def built_model(technique: Technique, values: dict[str, Any], task: Task) -> nn.Module:
    """What a technique of the slot model builds for the task, behind an embedding where its table has large categories."""
    return embedded(task, lambda inner: answering(call(technique, {"task": inner}, values)))


def prepare_model(chosen: Chosen, model: nn.Module, example: Any) -> None:
    """Swap the activations and set the first weights, in place."""
    for technique, values in chosen.of("activation"):
        if call(technique, {}, values) is None:
            continue
        sites = activation_sites(model)
        if not sites:
            reason = "the model has no activation module to put it in place of; calls such as F.relu stay as they are"
            raise TechniqueError("activation", technique.name, reason, unavailable=True)
        for parent, name in sites:
            setattr(parent, name, call(technique, {}, values))
    chosen.build("initializer", model=model, batch=example)


def activation_sites(model: nn.Module) -> list[tuple[nn.Module, str]]:
    """Every place of an activation module, shared ones too; one that ends the model is an output, and stays."""
    sites = [(parent, name) for parent in model.modules() for name, child in parent._modules.items() if isinstance(child, ACTIVATIONS)]
    last = end(model)
    return [site for site in sites if site != last or only_one(sites)]


def end(model: nn.Module) -> tuple[nn.Module, str] | None:
    """The place of the layer that is written last; losses, metrics and what else has no weights are no layers."""
    layers = [n for n, child in model._modules.items() if isinstance(child, ACTIVATIONS) or (child and list(child.parameters()))]
    if not layers:
        return None
    return end(model._modules[layers[-1]]) or (model, layers[-1])  # type: ignore[arg-type]


def only_one(sites: list[tuple[nn.Module, str]]) -> bool:
    """Whether the model has one activation, outside of any sequence: it then stands between all layers, though written last."""
    return len(sites) == 1 and not isinstance(sites[0][0], nn.Sequential)


def apply_to(module: L.LightningModule, chosen: Chosen, objective: str | None) -> "Tuned":
    """Put `Tuned` in front of the class of a module; its `__init__`, hyperparameters and hooks stay as they are."""
    if not isinstance(module, Tuned):
        module.__class__ = type(f"Tuned{type(module).__name__}", (Tuned, type(module)), {})
    module.chosen, module.objective = chosen, objective  # type: ignore[assignment]
    return module  # type: ignore[return-value]


def scale_alike(model: nn.Module, trained: nn.Module) -> None:
    """Give a copy the rates of the layers that it was copied from, which copying loses."""
    rates = {name: p.lr_scale for name, p in trained.named_parameters() if hasattr(p, "lr_scale")}
    for name, parameter in model.named_parameters():
        if name in rates:
            parameter.lr_scale = rates[name]  # type: ignore[attr-defined]


def groups(model: nn.Module) -> list[dict[str, Any]]:
    """Parameter groups: the matrices, which may be decayed, and the biases and norms, which are not.

    An initializer may mark parameters with an `lr_scale`: each scale has groups of its own, the largest first.
    """
    found: dict[tuple[bool, float], list[nn.Parameter]] = defaultdict(list)
    for p in model.parameters():
        if p.requires_grad:
            found[p.ndim <= 1, -getattr(p, "lr_scale", 1.0)].append(p)
    return [{"params": found[rest, scale], "lr_scale": -scale} | ({"weight_decay": 0.0} if rest else {}) for rest, scale in sorted(found)]


class Tuned(L.LightningModule):
    """What a recipe changes in a LightningModule: its optimizer and schedule, and its training batches."""

    chosen: Chosen
    objective: str | None
    direction: str = "minimize"

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """The recipe's optimizer and schedule; where both are `keep`, all that the module says, as it says it."""
        keeps = self.chosen.asks("optimizer", "own"), self.chosen.asks("schedule", "own")
        own = super().configure_optimizers() if any(keeps) else None
        if all(keeps):
            return own
        steps = self.total_steps()
        times = {"total_steps": steps, "steps_per_epoch": max(1, steps // (self.trainer.max_epochs or 1))}
        optimizer = self.chosen.one("optimizer", params=groups(self), model=self, own=first_optimizer(own), **times)
        for group in optimizer.param_groups:
            group["lr"] = group["lr"] * group.get("lr_scale", 1.0)
        schedule = self.chosen.one("schedule", optimizer=optimizer, own=None, direction=self.direction, **times)
        if schedule is None:
            return optimizer
        by_epoch = {"interval": "epoch", "monitor": self.objective or "val_loss", "strict": False}
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": schedule, **(by_epoch if isinstance(schedule, ReduceLROnPlateau) else {"interval": "step"})},
        }  # type: ignore[return-value]

    def total_steps(self) -> int:
        return int(self.trainer.estimated_stepping_batches)

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """Augment a training batch before the module's own hook sees it; a mixed class is drawn from its mixture.

        Drawing has the expected gradient of the mixture, and every training step takes class indices.
        """
        if self.trainer.training and self.chosen.of("augmentation") and isinstance(batch, list | tuple) and len(batch) >= 2:
            inputs, targets = augment(self.chosen, batch[0], batch[1])
            if targets.is_floating_point() and not batch[1].is_floating_point():
                targets = torch.multinomial(targets, 1).squeeze(1).to(batch[1].dtype)
            batch = [inputs, targets, *batch[2:]]
        return super().on_after_batch_transfer(batch, dataloader_idx)

    def on_train_epoch_start(self) -> None:
        set_mode(self.trainer.optimizers, "train")
        super().on_train_epoch_start()

    def on_validation_start(self) -> None:
        set_mode(self.trainer.optimizers, "eval")
        super().on_validation_start()

    def on_validation_end(self) -> None:
        set_mode(self.trainer.optimizers, "train")
        super().on_validation_end()

    def on_train_epoch_end(self) -> None:
        set_mode(self.trainer.optimizers, "eval")  # before callbacks put a mean of the weights in their place, at the end
        super().on_train_epoch_end()


def set_mode(optimizers: Iterable[Optimizer], mode: str) -> None:
    """Some optimizers evaluate other weights than they train (schedule-free)."""
    for optimizer in optimizers:
        getattr(optimizer, mode, lambda: None)()


def first_optimizer(own: Any) -> Optimizer | None:
    """The optimizer in any of the forms that `configure_optimizers` may return."""
    while not isinstance(own, Optimizer) and own:
        own = own["optimizer"] if isinstance(own, dict) else own[0]
    return own or None


def augment(chosen: Chosen, inputs: Tensor, targets: Tensor, classes: int = -1) -> tuple[Tensor, Tensor]:
    """A batch after every augmentation of the recipe; class indices become probabilities `(N, K)` where one asks for targets."""
    for technique, values in chosen.of("augmentation"):
        if "targets" in technique.asks and not targets.is_floating_point():
            targets = one_hot(targets, classes).to(inputs.dtype)
        with torch.autocast(inputs.device.type, enabled=False):  # places and shares in bfloat16 are some pixels off
            returned = call(technique, {"images": inputs, "inputs": inputs, "targets": targets}, values)
        made = returned if isinstance(returned, tuple) else (returned,)
        if len(made) != len(technique.asks):
            raise TechniqueError(technique.slot, technique.name, f"returned {len(made)} of {', '.join(technique.asks)}")
        new = dict(zip(technique.asks, made, strict=True))
        inputs, targets = new.get("images", new.get("inputs", inputs)), new.get("targets", targets)
    return inputs, targets


def pair(batch: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Inputs and targets of a batch; values as `(N, D)`, since `(N,)` against outputs `(N, 1)` would broadcast to `(N, N)`."""
    inputs, targets = batch[:2]
    return inputs, targets[:, None] if targets.is_floating_point() and targets.ndim == 1 else targets


class Net(Tuned):
    """A plain network with the recipe's loss, trained many steps a `training_step`.

    Lightning's loop costs more than a step of a small model, so an epoch's ready batches are given at once and stepped
    through here, each step through Lightning's own optimizer, so that hooks, precision and `global_step` are Lightning's.
    """

    def __init__(
        self,
        model: nn.Module,
        loss: Callable[[Tensor, Tensor], Tensor],
        chosen: Chosen,
        task: Task,
        objective: str | None,
        instead: Instead | None = None,
    ):
        super().__init__()
        self.automatic_optimization = False
        self.model, self.loss, self.instead = model, loss, instead
        self.chosen, self.objective = chosen, objective
        self.kind, self.outputs, self.scale = task.kind, task.outputs, task.targets
        self.steps_per_epoch, self.accumulate = 1, 1
        self.metrics: Mapping[str, Any] = {}
        self.losses: list[Tensor] = []

    def forward(self, inputs: Tensor) -> Tensor:
        return self.model(inputs)

    def total_steps(self) -> int:
        return self.steps_per_epoch * (self.trainer.max_epochs or 1)

    def on_train_epoch_start(self) -> None:
        self.losses.clear()
        super().on_train_epoch_start()

    def training_step(self, chunk: Iterable[Sequence[Tensor]], _: int) -> None:
        with torch.autocast(self.device.type, enabled=False):  # Lightning's is for the forward pass alone, as in `loss_of`
            optimizer, schedule = self.optimizers(), self.lr_schedulers()
            for group in in_groups(chunk, self.accumulate):
                self.losses.append(self.step(optimizer, [augment(self.chosen, *pair(batch), self.outputs) for batch in group]))
                if schedule is not None and not isinstance(schedule, ReduceLROnPlateau):
                    schedule.step()  # type: ignore[union-attr]

    @property
    def train_loss(self) -> float:
        """The mean over the steps of the epoch."""
        return float(torch.stack(self.losses).mean())

    def step(self, optimizer: Any, batches: list[tuple[Tensor, Tensor]]) -> Tensor:
        """One optimizer step on the mean loss over the batches; an optimizer may call the closure more than once, the first counts."""
        losses: list[Tensor] = []
        examples = sum(len(inputs) for inputs, _ in batches)

        def closure() -> Tensor:
            shares: list[Tensor] = []
            for inputs, targets in batches:
                loss = self.loss_of(inputs, targets)
                if not shares:
                    for callback in self.trainer.callbacks:  # type: ignore[attr-defined]
                        callback.on_before_zero_grad(self.trainer, self, optimizer.optimizer)
                    optimizer.zero_grad()
                share = loss if len(batches) == 1 else loss * (len(inputs) / examples)
                self.manual_backward(share)
                shares.append(share.detach())
            losses.append(shares[0] if len(shares) == 1 else torch.stack(shares).sum())
            return share if len(shares) == 1 else losses[-1]

        optimizer.step(closure)
        return losses[0]

    def loss_of(self, inputs: Tensor, targets: Tensor) -> Tensor:
        with self.trainer.precision_plugin.forward_context():
            outputs = self.model(inputs)
            loss = self.loss(outputs, targets)
            return loss if self.instead is None else self.instead(inputs, outputs, loss)

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        return batch  # augmented step by step

    def follow(self, metrics: Mapping[str, float]) -> None:
        """Step a plateau schedule at the end of an epoch, as Lightning does where it optimizes by itself."""
        schedule, followed = self.lr_schedulers(), self.objective or ""
        followed = followed if followed in metrics else "val_loss"
        if isinstance(schedule, ReduceLROnPlateau) and followed in metrics:
            schedule.step(metrics[followed])

    @torch.no_grad()
    def predict(self, batches: Iterable[Sequence[Tensor]], trainer: L.Trainer) -> tuple[Tensor, Tensor]:
        """Outputs and targets of the batches, in evaluation mode; regression in the units of the data.

        Returns:
            `(N, K)` logits or `(N, D)` values, and the targets `(N,)` or `(N, D)`, on the CPU.
        """
        device = trainer.strategy.root_device
        self.model.eval()
        with trainer.precision_plugin.val_step_context():
            pairs = [(self.model(x.to(device)).float(), y) for x, y in map(pair, batches)]
        self.model.train()
        outputs, targets = (torch.cat(tensors).cpu() for tensors in zip(*pairs, strict=True))
        return (outputs, targets) if self.scale is None else (self.scale.invert(outputs), self.scale.invert(targets))


def rates(trainer: L.Trainer) -> Iterator[float]:
    return (group["lr"] for group in chain.from_iterable(o.param_groups for o in trainer.optimizers))


def finite(name: str, value: float) -> float:
    """The value.

    Raises:
        NonFinite: it is NaN or infinite.
    """
    if value != value or value in (float("inf"), float("-inf")):
        raise NonFinite(f"{name} is {value}")
    return value
