"""The slots of a recipe, in the order in which they act, and the plug-points beside them: one row each."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Slot:
    """A slot: the arguments that it offers to its techniques, and the types that they return.

    Args:
        about: one line for help pages.
        offers: the names that a builder may ask for; a technique applies if all names that it asks for are available.
        returns: import paths of the types that a builder may return; `None` where it works in place.
        many: each of its techniques is on or off; else one of them fills the slot.
        fixed: all trials have the same technique, and its arguments are settings, which are not searched.
    """

    name: str
    about: str
    offers: tuple[str, ...]
    returns: tuple[str | None, ...]
    many: bool = False
    fixed: bool = False


TABLE = (
    Slot(
        "data",
        "the examples and their targets",
        (),
        (
            "autoopt.data.examples:Examples",
            "lightning.pytorch:LightningDataModule",
            "lightning.pytorch:LightningModule",
            "torch.utils.data:DataLoader",
            "builtins:tuple",
        ),
        fixed=True,
    ),
    Slot("model", "the network", ("task",), ("torch.nn:Module",)),
    Slot("activation", "the activation function between the layers", (), ("torch.nn:Module", None)),
    Slot("initializer", "the weights before the first step", ("model", "batch"), (None,)),
    Slot(
        "augmentation",
        "random changes of the training batches",
        ("planes", "images", "pixels", "inputs", "targets"),  # autoopt.module.augmenting:augment says what each is
        ("torch:Tensor", "builtins:tuple"),
        many=True,
    ),
    Slot(
        "regularizer",
        "methods against overfitting",
        ("model", "total_steps", "objective", "direction"),
        ("lightning.pytorch:Callback", None),
        many=True,
    ),
    Slot("loss", "the function that training minimises", ("task", "class_counts", "own"), ("collections.abc:Callable", None)),
    Slot(
        "optimizer",
        "the update of the weights",
        ("params", "model", "batch", "total_steps", "steps_per_epoch", "own"),
        ("torch.optim:Optimizer",),
    ),
    Slot(
        "schedule",
        "the learning rate over the steps",
        ("optimizer", "total_steps", "steps_per_epoch", "direction", "own"),
        ("torch.optim.lr_scheduler:LRScheduler", None),
    ),
    Slot("device", "the hardware and the precision", ("model",), ("builtins:dict",)),
    Slot(
        "compression",
        "a smaller or faster model after training",
        ("model", "batches", "finetune", "build"),
        ("torch.nn:Module",),
        many=True,
    ),
)
SLOTS: Mapping[str, Slot] = {slot.name: slot for slot in TABLE}

BESIDE = (
    Slot(
        "strategy",
        "which recipe is tried next, and which trial is stopped",
        ("space", "goal", "epochs"),
        ("autoopt.strategy:Strategy",),
        fixed=True,
    ),
    Slot("executor", "where trials run", ("setup", "store", "limits"), ("autoopt.executor:Executor",), fixed=True),
)
PLUG_POINTS: Mapping[str, Slot] = {point.name: point for point in BESIDE}
"""They belong neither to a recipe nor to a study's identity, so they may change from run to run."""
PLUGGABLE: Mapping[str, Slot] = {**SLOTS, **PLUG_POINTS}
