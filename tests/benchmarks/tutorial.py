"""The same search as the libraries' tutorials write it: Optuna's `optimize`, Lightning's Trainer, DataLoader, MLFlowLogger.

Two processes on one Optuna journal and one sqlite store that exists already, torch on one thread; progress bar, summary
and checkpoints are off. Run by throughput.py, or by itself: `python tests/benchmarks/tutorial.py`.
"""

import json
import logging
import multiprocessing
import os
import sys
import tempfile
import warnings
from dataclasses import asdict
from pathlib import Path

import lightning.pytorch as L
import optuna
import torch
from lightning.pytorch.loggers import MLFlowLogger
from mlflow import MlflowClient
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from recipes import BATCH, EPOCHS, WORKERS, Plain, drawn, load, parts
from torch import Tensor
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, TensorDataset
from torchmetrics.classification import MulticlassAccuracy

PARTS = parts()


class Classifier(L.LightningModule):
    def __init__(self, recipe: Plain):
        super().__init__()
        self.recipe, self.network = recipe, recipe.network()
        self.accuracy = MulticlassAccuracy(10, average="micro")

    def training_step(self, batch: list[Tensor], _: int) -> Tensor:
        x, y = batch
        loss = cross_entropy(self.network(x), y)
        self.log("train_loss", loss, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch: list[Tensor], _: int) -> None:
        x, y = batch
        outputs = self.network(x)
        self.accuracy(outputs, y)
        self.log("val_loss", cross_entropy(outputs, y))
        self.log("val_accuracy", self.accuracy)

    def configure_optimizers(self):  # type: ignore[no-untyped-def]
        optimizer = self.recipe.stepper(self.parameters(), fused=False)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, int(self.trainer.estimated_stepping_batches))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def objective(trial: optuna.Trial, uri: str) -> float:
    recipe = Plain(
        optimizer=trial.suggest_categorical("optimizer", ["sgd", "momentum", "adam", "adamw"]),
        lr=trial.suggest_float("lr", 1e-5, 1.0, log=True),
        width=trial.suggest_int("width", 32, 256, log=True),
        depth=trial.suggest_int("depth", 1, 3),
    )
    logger = MLFlowLogger(experiment_name="tutorial", run_name=f"trial-{trial.number}", tracking_uri=uri)
    logger.log_hyperparams(asdict(recipe))
    trainer = L.Trainer(
        max_epochs=EPOCHS, logger=logger, accelerator="cpu", devices=1, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False,
    )  # fmt: skip
    train = DataLoader(TensorDataset(*PARTS["train"]), batch_size=BATCH, shuffle=True)
    trainer.fit(Classifier(recipe), train, DataLoader(TensorDataset(*PARTS["validation"]), batch_size=BATCH))
    return trainer.callback_metrics["val_accuracy"].item()


def study(journal: Path) -> optuna.Study:
    storage = JournalStorage(JournalFileBackend(str(journal)))
    return optuna.create_study(study_name="tutorial", storage=storage, direction="maximize", load_if_exists=True)


def work(journal: Path, uri: str, count: int) -> None:
    torch.set_num_threads(1)
    over = optuna.study.MaxTrialsCallback(count, states=(optuna.trial.TrialState.COMPLETE, optuna.trial.TrialState.RUNNING))
    study(journal).optimize(lambda trial: objective(trial, uri), callbacks=[over])


def main() -> None:
    warnings.filterwarnings("ignore")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    for name in ("lightning.pytorch.utilities.rank_zero", "lightning.fabric.utilities.rank_zero", "mlflow"):
        logging.getLogger(name).setLevel(logging.ERROR)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(name)
        recipes = load(folder / "recipes.json") if len(sys.argv) > 1 else drawn(20)
        uri = f"sqlite:///{folder / 'mlflow.db'}"
        if MlflowClient(uri).get_experiment_by_name("tutorial") is None:
            MlflowClient(uri).create_experiment("tutorial")
        for recipe in recipes:
            study(folder / "tutorial.log").enqueue_trial(asdict(recipe))
        context = multiprocessing.get_context("fork")
        workers = [context.Process(target=work, args=(folder / "tutorial.log", uri, len(recipes))) for _ in range(WORKERS)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        trials = [t for t in study(folder / "tutorial.log").trials if t.state.is_finished()]
        seconds = (max(t.datetime_complete for t in trials) - min(t.datetime_start for t in trials)).total_seconds()  # type: ignore[type-var,operator]
        spent = os.times().children_user + os.times().children_system
        accuracy = sum(t.value or 0 for t in trials) / len(trials)
        print(json.dumps({"seconds": seconds, "core_seconds": spent, "accuracy": accuracy, "trials": len(trials)}))


if __name__ == "__main__":
    main()
