"""autoopt from Python, for scripts and notebooks."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import lightning.pytorch as L
import numpy as np
import pandas
import torch
from plotly.graph_objects import Figure
from torch import nn
from torch.utils.data import DataLoader, Dataset

from autoopt.config import Tree, allow, compose, is_live, paths_in_recipe, refuse_unnamed
from autoopt.data.given import given_parts
from autoopt.deployment.load import load
from autoopt.errors import BadInput
from autoopt.executor.resources import Limits
from autoopt.grammar import spell
from autoopt.live import Factory, import_path
from autoopt.module.build import apply_to, prepare_model
from autoopt.module.chosen import Chosen
from autoopt.module.own_callbacks import callbacks_of
from autoopt.process.system import flush
from autoopt.recipe import Recipe
from autoopt.records.journal_file import StoreError
from autoopt.records.stored import Stored, open_stored, recipe_overrides
from autoopt.records.verdict import Verdict
from autoopt.report.comparison import comparison_records
from autoopt.report.figures import best_figures, figure_of
from autoopt.report.frame import table_of
from autoopt.report.notebook import verdict_html
from autoopt.report.sentence import conclusion
from autoopt.report.terminal import closing
from autoopt.space import Space
from autoopt.study import search as study
from autoopt.study import train as training
from autoopt.terminal import Progress

Given = Factory | Sequence[Dataset | DataLoader | np.ndarray | torch.Tensor]
"""What makes the data, its parts, or its inputs and targets."""
__all__ = ["apply", "load", "search", "train"]


class Searched(Verdict):
    """A verdict that gives access to its study; a notebook shows it as a table with two figures."""

    def trials(self) -> pandas.DataFrame:
        """A row for each trial of the search, by its key: how it ended, its metrics, its techniques and values.

        Raises:
            BadInput: the folder was moved, or one of its files is spoilt.
        """
        return table_of(self._stored)

    def options(self) -> pandas.DataFrame:
        """A row for each option that `study.compare` compares, with all its figures.

        Raises:
            BadInput: the study compares no options.
        """
        if self.comparison is None:
            raise BadInput("no options are compared; give study.compare=SLOT")
        return pandas.DataFrame(comparison_records(self.comparison)).set_index("option")

    def conclusion(self) -> str:
        """The verdict in one sentence."""
        return conclusion(self)

    def plot(self, name: str) -> Figure:
        """A figure of the study: `ablation`, `history`, `seeds`, `importance`, `curves`, `choices`, `slices` or `front`.

        Raises:
            BadInput: there is no such figure, or the study has nothing to show in it.
        """
        return figure_of(self._stored, name)

    def _repr_html_(self) -> str:
        try:
            figures = best_figures(self._stored)
        except (BadInput, StoreError):  # the folder was moved
            figures = []
        return verdict_html(self, figures)

    @property
    def _stored(self) -> Stored:
        path = Path(self.folder)
        return open_stored(path.name, str(path.parent))


def search(
    overrides: Sequence[str] = (),
    *,
    model: Factory | None = None,
    data: Given | None = None,
    trainer: Mapping[str, Any] | None = None,
    trust: Sequence[str | Factory] = (),
    quiet: bool = False,
) -> Searched:
    """Search for a better recipe; the same call resumes.

    Args:
        overrides: as on the command line, such as `["data=digits", "optimizer=adamw,sgd"]`.
        model: a class or function that makes an `nn.Module` or a `LightningModule`.
        data: a class or function that makes a `LightningDataModule` or `autoopt.data.examples.Examples`; or data sets or loaders,
            (train, validation) or (train, validation, test); or (inputs, targets): arrays, whose settings are `data.arrays.kind` and
            `data.arrays.layout`, or inputs in a DataFrame, whose settings are those of `data=parquet`, such as `data.frame.types`.
        trainer: arguments of Lightning's Trainer, by name: values, `Choice` or `Range`; `callbacks` is a function that makes them.
        trust: the code in files (`baseline=FILE`) that may be imported: classes and functions, or import paths such as `my_models:Net`.
        quiet: print nothing.

    Raises:
        BadInput: with a line for every problem; nothing was started.
        NotConcluded: it ran, but there is nothing to conclude from.
        Interrupted: a signal came; the same call resumes. It is a KeyboardInterrupt.
        StoreError: the study's folder cannot be written; nothing that was written is lost.
    """
    allow(*trust)
    with Progress(quiet, resumes=True) as screen:
        tree = compose_tree(overrides, model, data, trainer)
        verdict = study.search(tree, screen)
    closing(verdict, screen.say, tree["tracking"]["enabled"])
    found = {f.name: getattr(verdict, f.name) for f in fields(verdict)}
    return Searched(**found | {"folder": os.path.abspath(verdict.folder)})  # a notebook may change its working directory


def train(
    overrides: Sequence[str] = (),
    *,
    model: Factory | None = None,
    data: Given | None = None,
    trainer: Mapping[str, Any] | None = None,
    trust: Sequence[str | Factory] = (),
    quiet: bool = False,
) -> training.Trained:
    """Train one recipe to its end, measure it on the test split and export it; the arguments are those of `search`.

    Raises:
        BadInput: with a line for every problem; nothing was started.
        NotConcluded: the training or its measurement failed.
    """
    allow(*trust)
    with Progress(quiet=quiet) as screen:
        trained = training.train(compose_tree(overrides, model, data, trainer), screen)
    return replace(trained, path=trained.path.absolute())


def compose_tree(overrides: Sequence[str], model: Factory | None, data: Given | None, trainer: Mapping[str, Any] | None = None) -> Tree:
    """The checked tree of the overrides, with the objects from Python under import paths of their own.

    Raises:
        BadInput: the overrides or an object cannot be used.
    """
    if isinstance(overrides, str | bytes) or not isinstance(overrides, Sequence) or not all(isinstance(each, str) for each in overrides):
        example = overrides if isinstance(overrides, str) else "optimizer=adamw,sgd"
        raise BadInput(f"overrides={overrides!r}: expected a list of strings, such as [{example!r}]")
    if trainer is not None and not isinstance(trainer, Mapping):
        raise BadInput(f"trainer={trainer!r}: expected the arguments of a Trainer by name, such as {{'gradient_clip_val': 0.5}}")
    parts = isinstance(data, tuple | list | Dataset | DataLoader)
    live: dict[str, Any] = {"model": model, "data": given_parts(data) if parts else data}
    for slot, builder in live.items():
        if (builder is not None and not callable(builder)) or isinstance(builder, nn.Module):
            shown = repr(builder) if "\n" not in repr(builder) else f"{type(builder).__name__}(…)"
            raise BadInput(f"{slot}={shown}: expected a class or a function that makes it; {way_out(slot, builder)}")
    named = [f"{slot}={import_path(slot, builder)}" for slot, builder in live.items() if builder is not None]
    given = [*named, *trainer_overrides(trainer or {})]
    keys = {line.partition("=")[0] for line in given}
    if twice := [line for line in overrides if line.partition("=")[0] in keys]:
        raise BadInput(*(f"{line}: an argument gives {line.partition('=')[0]} already; give one of them" for line in twice))
    tree = compose([*given, *overrides])
    if is_live(tree) and (torch.cuda.is_initialized() or (Limits.of(tree).gpus and forks_lose_cuda())):
        problem = "cannot be passed to other processes, because this process uses CUDA already, or asked for it before it imported autoopt"
        raise BadInput(f"{' and '.join(named)} {problem}; write it into a file and give its import path: model=my_file:Net")
    return tree


def forks_lose_cuda() -> bool:
    """Whether torch lets no process that is forked from this one use CUDA, since something here asked the driver for its devices."""
    if not torch.backends.cuda.is_built():
        return False
    flush()
    if not (pid := os.fork()):
        os._exit(int(torch.cuda._is_in_bad_fork()))
    return os.waitpid(pid, 0)[1] != 0


def trainer_overrides(arguments: Mapping[str, Any]) -> list[str]:
    """The Trainer's arguments as on the command line.

    Raises:
        BadInput: the callbacks are objects, which trials would share.
    """
    callbacks = arguments.get("callbacks")
    if not callable(callbacks) and not isinstance(callbacks, str | None):
        raise BadInput(f"trainer.callbacks={callbacks!r}: each trial makes its own, so give a function: lambda: […]")
    made = {"callbacks": import_path("callbacks", callbacks)} if callable(callbacks) else {}
    return [f"trainer.{name}={spell(value, steps=True)}" for name, value in {**arguments, **made}.items()]


def way_out(slot: str, made: object) -> str:
    """How to say what was handed over."""
    if isinstance(made, str):
        return f"a name goes into the list: ['{slot}={made}']"
    if hasattr(made, "__array__"):
        return "arrays and tables are data=(inputs, targets)"
    return f"each trial makes its own, so say {slot}=lambda: {type(made).__name__}(…)"


def apply(
    recipe: Recipe | str | Path,
    module: L.LightningModule,
    total_steps: int | None = None,
    *,
    trust: Sequence[str | Factory] = (),
) -> tuple[L.LightningModule, list[L.Callback], dict[str, Any]]:
    """Apply a recipe to a LightningModule in your own script.

    Args:
        recipe: a recipe, a recipe file, a study's name (its best) or `NAME/TRIAL`.
        module: changed in place: its class is replaced by a subclass of it.
        total_steps: optimizer steps of the whole training, which some regularizers need.
        trust: the code in the recipe that may be imported: classes and functions, or import paths such as `my_models:Net`; the
            module's class is among it. The recipe's data set is not used.

    Returns:
        the module, the callbacks (those of the techniques and of `trainer.callbacks`) and the Trainer arguments:
        `Trainer(callbacks=callbacks, **arguments).fit(module, …)`.

    Raises:
        BadInput: the recipe cannot be read or names code that you have not named, or a regularizer needs `total_steps`, or rates are
            to be scaled that are the module's own, or with a batch size that the recipe does not have; the module is unchanged.
        TechniqueError: a technique does not work with the module or on this machine; the module may have been changed.
    """
    allow(type(module), *trust)
    point = (recipe if isinstance(recipe, Recipe) else without_data(recipe_overrides(str(recipe), None))).replace(data={})
    refuse_unnamed("the recipe", paths_in_recipe(point.tree))
    chosen = Chosen(point)
    if total_steps is None and chosen.asks("regularizer", "total_steps"):
        names = ", ".join(t.name for t, _ in chosen.of("regularizer") if "total_steps" in t.asks)
        raise BadInput(f"regularizer={names} needs total_steps: call apply(…, total_steps=…), the optimizer steps of the training")
    if point.lr_factor != 1 and chosen.asks("optimizer", "own"):
        raise BadInput(f"batches.scale_lr={point.tree['batches']['scale_lr']} scales no rates of the module's own (optimizer=keep)")
    prepare_model(chosen, module, None)
    tuned = apply_to(module, chosen, None)
    accumulation = {"accumulate_grad_batches": point.accumulate} if point.accumulate > 1 else {}
    arguments = chosen.one("device", model=tuned) | accumulation | {k: v for k, v in point.trainer.items() if k != "callbacks"}
    return tuned, [*chosen.callbacks(tuned, total_steps or 0, None), *callbacks_of(point)], arguments


def without_data(lines: Sequence[str]) -> Recipe:
    """The recipe of these overrides without its data set, whose code is not imported."""
    rest = [line for line in lines if not line.startswith(("data=", "data."))]
    return Space.of(compose([f"data={__name__}:{unused_data.__name__}"], base=rest)).baseline()


def unused_data() -> L.LightningDataModule:
    """Stands in a recipe for the data set that its user feeds to the Trainer."""
    return L.LightningDataModule()
