"""autoopt from Python: what a script or a notebook calls."""

from collections.abc import Sequence
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import Any

import lightning.pytorch as L
import pandas
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

from autoopt.config import Tree, compose, is_live
from autoopt.data.loaders import as_datamodule
from autoopt.deployment.load import load
from autoopt.errors import BadInput
from autoopt.live import Factory, import_path
from autoopt.module.build import apply_to, prepare_model
from autoopt.module.chosen import Chosen
from autoopt.recipe import Recipe
from autoopt.report import page
from autoopt.report.frame import table_of
from autoopt.report.sentence import conclusion
from autoopt.report.terminal import closing
from autoopt.space import Space
from autoopt.study import search as study
from autoopt.study import train as training
from autoopt.study.stored import recipe_overrides
from autoopt.study.verdict import Verdict
from autoopt.terminal import Progress

Given = Factory | Sequence[Dataset | DataLoader]
"""What makes the data, or its parts."""
__all__ = ["apply", "load", "search", "train"]


class Searched(Verdict):
    """A verdict with its study at hand, as a notebook shows it."""

    def trials(self) -> pandas.DataFrame:
        """A row for each trial of the search: how it ended, what was measured, what was chosen."""
        return table_of(Path(self.folder))

    def conclusion(self) -> str:
        """What the study came to, in a sentence."""
        return conclusion(self)

    def _repr_html_(self) -> str:
        return page.verdict_table(self)


def search(overrides: Sequence[str] = (), *, model: Factory | None = None, data: Given | None = None, quiet: bool = False) -> Searched:
    """Search for a better recipe; the same call resumes.

    Args:
        overrides: as on the command line, such as `["data=digits", "optimizer=adamw,sgd"]`.
        model: a class or function that makes an `nn.Module` or a `LightningModule`.
        data: a class or function that makes a `LightningDataModule` or `autoopt.data.task.Examples`; or data sets or loaders,
            (train, validation) or (train, validation, test).

    Raises:
        BadInput: with a line for every problem; nothing was started.
        NotConcluded: it ran, but there is nothing to conclude from.
        Interrupted: a signal came; the same call goes on.
        StoreError: the study's folder cannot be written; nothing that was written is lost.
    """
    with Progress(quiet=quiet) as screen:
        verdict = study.search(compose_tree(overrides, model, data), screen)
    closing(verdict, screen.say)
    return Searched(**{f.name: getattr(verdict, f.name) for f in fields(verdict)})


def train(
    overrides: Sequence[str] = (), *, model: Factory | None = None, data: Given | None = None, quiet: bool = False
) -> training.Trained:
    """Train one recipe to its end, measure it on the test split and export it.

    Raises:
        BadInput: with a line for every problem; nothing was started.
        NotConcluded: the training or its measurement failed.
    """
    with Progress(quiet=quiet) as screen:
        return training.train(compose_tree(overrides, model, data), screen)


def compose_tree(overrides: Sequence[str], model: Factory | None, data: Given | None) -> Tree:
    if isinstance(overrides, str):
        raise BadInput(f"overrides={overrides!r}: expected a list of them, such as [{overrides!r}]")
    given = isinstance(data, tuple | list | Dataset | DataLoader)
    live: dict[str, Any] = {"model": model, "data": partial(as_datamodule, data) if given else data}
    for slot, made in live.items():
        if (made is not None and not callable(made)) or isinstance(made, nn.Module):
            said = repr(made).splitlines()[0]
            raise BadInput(f"{slot}={said}: expected a class or a function that makes it; a name goes into the list: ['{slot}=…']")
    named = [f"{slot}={import_path(slot, made)}" for slot, made in live.items() if made is not None]
    tree = compose([*named, *overrides])
    if is_live(tree) and torch.cuda.is_initialized():
        problem = "cannot be handed over to other processes, since CUDA is in use in this one already"
        raise BadInput(f"{' and '.join(named)} {problem}; write it into a file and name it by an import path: model=my_file:Net")
    return tree


def apply(
    recipe: Recipe | str | Path, module: L.LightningModule, total_steps: int | None = None
) -> tuple[L.LightningModule, list[L.Callback], dict[str, Any]]:
    """Put a recipe on a LightningModule in one's own script.

    Args:
        recipe: a recipe, a recipe file, a study's name (its best) or `NAME/TRIAL`.
        module: changed in place: its class is replaced by a subclass of it.
        total_steps: optimizer steps of the whole training, which some regularizers ask for.

    Returns:
        the module, the callbacks and the Trainer arguments: `Trainer(callbacks=callbacks, **arguments).fit(module, …)`.

    Raises:
        BadInput: the recipe cannot be had, or a regularizer asks for `total_steps`; the module is as it was.
        TechniqueError: a technique cannot be used with the module, or here; the module may have been changed.
    """
    point = recipe if isinstance(recipe, Recipe) else Space.of(compose(recipe_overrides(str(recipe), None))).baseline()
    chosen = Chosen(point)
    if total_steps is None and chosen.asks("regularizer", "total_steps"):
        names = ", ".join(t.name for t, _ in chosen.of("regularizer") if "total_steps" in t.asks)
        raise BadInput(f"regularizer={names} asks for total_steps: say apply(…, total_steps=…), the optimizer steps of the whole training")
    prepare_model(chosen, module, None)
    tuned = apply_to(module, chosen, None)
    accumulate = point.tree["batches"].get("accumulate") or 1
    arguments = chosen.one("device", model=tuned) | ({"accumulate_grad_batches": accumulate} if accumulate > 1 else {})
    return tuned, chosen.callbacks(tuned, total_steps or 0, None), arguments
