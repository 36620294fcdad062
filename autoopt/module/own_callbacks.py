"""An author's callbacks, from the Trainer (`trainer.callbacks=my:callbacks`) or from `configure_callbacks`."""

import copy
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import lightning.pytorch as L
from lightning.pytorch.callbacks import Checkpoint, ModelCheckpoint, ProgressBar, StochasticWeightAveraging, WeightAveraging

from autoopt.arguments import return_type
from autoopt.errors import BadInput, TechniqueError
from autoopt.module.chosen import Chosen
from autoopt.namesakes import why_not
from autoopt.recipe import Recipe
from autoopt.store import CHECKPOINTS
from autoopt.technique import LIVE, REQUIRED, resolve


class WhenAsked(Checkpoint):
    """For a module that reads the path of a checkpoint that nobody keeps: the last step's is written, and only then."""

    monitor = best_model_score = None

    def __init__(self, folder: Path):
        self.dirpath, self.path = str(folder / CHECKPOINTS), ""
        self.trainer: L.Trainer | None = None

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        self.trainer = trainer

    @property
    def best_model_path(self) -> str:
        """Empty before the first step, and where several processes train, which would have to write it together."""
        if self.trainer is not None and self.trainer.global_step and self.trainer.world_size == 1:
            self.path = str(Path(self.dirpath) / f"epoch={self.trainer.current_epoch}-step={self.trainer.global_step}.ckpt")
            if not Path(self.path).exists():
                self.trainer.save_checkpoint(self.path)
        return self.path


def source_of_callbacks(path: str) -> Any:
    """The function, class or list at an import path.

    Raises:
        BadInput: the path cannot be imported, or leads to something else.
    """
    try:
        source = LIVE[path] if path in LIVE else resolve(path)
    except Exception as error:
        raise BadInput(f"trainer.callbacks={path} cannot be loaded: {why_not(error, path)}") from error
    if not may_give_callbacks(source):
        raise BadInput(f"trainer.callbacks={path} is {source!r}; expected a list of callbacks, or a function or a class that makes them")
    return source


def may_give_callbacks(source: Any) -> bool:
    """Whether an object is a list, or a function or a class that may make callbacks: known, as far as it says, before it is called."""
    if not callable(source):
        return isinstance(source, list | tuple)
    made = return_type(source)
    return made is REQUIRED or not isinstance(made, type) or issubclass(made, L.Callback | list | tuple) or issubclass(list, made)


def callbacks_of(recipe: Recipe) -> list[L.Callback]:
    """The callbacks of a recipe's Trainer, each a new object.

    Raises:
        BadInput: the source cannot be imported, or an object is not a callback.
    """
    return [callback for path in str(recipe.trainer.get("callbacks", "")).split() for callback in callbacks_at(path)]


def callbacks_at(path: str) -> list[L.Callback]:
    source = source_of_callbacks(path)
    result = source() if callable(source) else copy.deepcopy(source)
    callbacks = list(result) if isinstance(result, list | tuple) else [result]
    if wrong := [callback for callback in callbacks if not isinstance(callback, L.Callback)]:
        raise BadInput(f"trainer.callbacks={path} gives {wrong[0]!r}; expected callbacks of Lightning")
    return callbacks


def refuse_second_mean(chosen: Chosen, callbacks: Iterable[L.Callback]) -> None:
    """Raise TechniqueError where a regularizer and an author's callback both put a mean in place of the weights.

    Each would take the mean of the other for the weights that it has to give back.
    """
    technique = next((technique for technique, _ in chosen.of("regularizer") if technique.acts.last), None)
    theirs = next((c for c in callbacks if isinstance(c, WeightAveraging | StochasticWeightAveraging)), None)
    if technique is not None and theirs is not None:
        reason = f"{type(theirs).__name__} of your own training puts a mean in place of the weights already"
        raise TechniqueError("regularizer", technique.name, reason, unavailable=True)


def in_trial(callbacks: Iterable[L.Callback], folder: Path) -> list[L.Callback]:
    """Callbacks for a trial: without progress bars, and with whole checkpoints, which are written only into the trial's folder.

    A checkpoint of the weights alone would have the trained weights, even if their mean is evaluated (ema, swa).
    """
    kept = [c for c in callbacks if not isinstance(c, ProgressBar) and (isinstance(c, ModelCheckpoint) or not isinstance(c, Checkpoint))]
    for callback in kept:
        if isinstance(callback, ModelCheckpoint):
            callback.dirpath, callback.save_weights_only = str(folder / CHECKPOINTS), False
    return kept
