"""One trial: a pure function of its order and the data. It knows neither Optuna nor the study."""

from functools import partial
from pathlib import Path

from autoopt.config import allow, paths_in_recipe
from autoopt.deployment.checkpoint import write_checkpoint
from autoopt.deployment.graph import write_onnx
from autoopt.orders import Checkpoint, Compress, Contrast, Export, Graph, Json, Measure, Order, Outcome, Serve, Train, TryOut, from_json
from autoopt.recipe import Recipe
from autoopt.trial import Report
from autoopt.trial.blame import blaming
from autoopt.trial.checkpoints import Checkpoints
from autoopt.trial.fitting import devices
from autoopt.trial.folds import in_folds
from autoopt.trial.kinds import run_compress, run_contrast, run_measure, run_train, run_try_out
from autoopt.trial.ranks import ALONE, Share, spread
from autoopt.trial.training import set_up
from autoopt.trial.world import World, prepare, silence

__all__ = ["prepare", "run"]


def run(world: World, order: Json, report: Report) -> Json:
    """Carry out an order.

    Args:
        order: as `Order.json` writes it.
        report: called after every epoch with its number, from 1, and its metrics; says whether to stop.

    Returns:
        the outcome, as `Outcome.json` writes it.
    """
    silence()
    match from_json(order):
        case Export() as export:
            allow(*paths_in_recipe(export.recipe.tree))
            write_form(export, world.store.folder(export.folder))
            outcome = Outcome()
        case TryOut() as short:
            outcome = on_devices(world, short, report)
        case Train() as training if world.checkpoint is not None and resumable(training.recipe):
            checkpoints = Checkpoints.of(world.store, training, world.checkpoint, report, world.keeps_rungs)
            on_fold = partial(on_devices, checkpoints=checkpoints)
            outcome = in_folds(on_fold, world, training, checkpoints.report, checkpoints.outcomes)
        case whole:
            outcome = in_folds(on_devices, world, whole, report)
    return outcome.json()


def write_form(order: Export, folder: Path) -> None:
    """Write an exported model in the form of an order."""
    match order:
        case Checkpoint():
            write_checkpoint(folder)
        case Graph():
            write_onnx(folder)
        case Serve():
            from autoopt.deployment.served import write_served  # loads MLflow, which takes seconds

            write_served(folder)


def on_devices(world: World, order: Order, report: Report, fold: int = 1, checkpoints: Checkpoints | None = None) -> Outcome:
    """Carry out an order on one fold: a training in a process for each device, all else in this one."""

    def rank(share: Share, report: Report) -> Outcome | None:
        with blaming(order.recipe):
            return carried_out(world, order, report, fold, share, checkpoints)

    trains = isinstance(order, Train) or (isinstance(order, TryOut) and not isinstance(order, Contrast) and not order.weights)
    if trains and (count := devices(order.recipe)) > 1:
        return spread(count, rank, report)
    outcome = rank(ALONE, report)
    assert outcome is not None
    return outcome


def carried_out(world: World, order: Order, report: Report, fold: int, share: Share, checkpoints: Checkpoints | None) -> Outcome | None:
    training = set_up(world, order, report, fold, share)
    match order:
        case Contrast():
            return run_contrast(training, order)
        case TryOut():
            return run_try_out(training, order)
        case Train():
            return run_train(training, order, checkpoints)
        case Measure():
            return run_measure(training, order)
        case Compress():
            return run_compress(training, order)
    raise TypeError(f"a {type(order).__name__} is no order of a trial")


def resumable(recipe: Recipe) -> bool:
    """Whether a training can go on from a checkpoint: one process trains, on loaders that are made once."""
    return devices(recipe) == 1 and not recipe.trainer.get("reload_dataloaders_every_n_epochs")
