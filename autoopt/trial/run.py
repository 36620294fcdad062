"""One trial: a pure function of (recipe, task, seed, epochs). It knows neither Optuna nor the study."""

import inspect
import traceback
from collections import defaultdict
from contextlib import suppress
from itertools import takewhile
from pathlib import Path
from typing import Any

from autoopt.deployment.load import write_onnx
from autoopt.errors import NonFinite, TechniqueError, out_of_memory
from autoopt.module.chosen import Chosen
from autoopt.recipe import Recipe
from autoopt.technique import Technique
from autoopt.trial import Report
from autoopt.trial.fitting import devices
from autoopt.trial.folds import trained_in_folds
from autoopt.trial.ranks import spread
from autoopt.trial.training import train
from autoopt.trial.world import World, prepare

__all__ = ["prepare", "run"]


def run(world: World, job: dict[str, Any], report: Report) -> dict[str, Any]:
    """Train what the recipe says, or take up trained weights; compress where it says so; measure.

    Args:
        job: `recipe` (tree), `seed`, `objective` and its `direction`; `load` (weights to take instead of training), `save` (where to
            put them), `part` ("validation" or "test"), `limit` (batches, for a preflight), `latency` (measure it: nothing else runs);
            `share` (rank and ranks, where it is one process of several); or only `onnx`, an exported folder to write the graph of.
        report: called after every epoch with its number, from 1, and its metrics; says whether to stop.

    Returns:
        `metrics`, `epochs` trained, `seconds`, `stopped`; of a test split also `resamples` of the objective.
    """
    if job.get("onnx"):
        write_onnx(Path(job["onnx"]))
        return {"metrics": {}, "stopped": False}
    return on_devices(world, job, report) if job.get("limit") else trained_in_folds(on_devices, world, job, report)


def on_devices(world: World, job: dict[str, Any], report: Report) -> dict[str, Any]:
    """Train in this process, or in one for each device; measuring and compressing take one."""
    if job.get("load") or (count := devices(Recipe(job["recipe"]))) == 1:
        return attempt(world, job, report)
    return spread(count, lambda share, told: attempt(world, {**job, "share": share}, told), report)


def attempt(world: World, job: dict[str, Any], report: Report) -> dict[str, Any]:
    """Train; a preflight returns what is raised, as its `problem`."""
    if not job.get("limit"):
        return blaming(world, job, report)
    try:
        return blaming(world, job, report)
    except TechniqueError as error:
        problem = {"slot": error.slot, "name": error.name, "detail": error.detail, "said": str(error), "unavailable": error.unavailable}
        return {"problem": problem, "stopped": False}
    except Exception as error:
        traceback.print_exc()
        said = f"{type(error).__name__}: {error}".splitlines()[0]
        return {"problem": {"detail": said, "said": said}, "stopped": False}


def blaming(world: World, job: dict[str, Any], report: Report) -> dict[str, Any]:
    """Train, and put the blame for what is raised on the technique in which it was.

    Raises:
        TechniqueError: what was raised inside of a technique.
    """
    try:
        return train(world, job, report)
    except (TechniqueError, NonFinite):
        raise
    except Exception as error:
        if not out_of_memory(error) and (technique := culprit(error, Recipe(job["recipe"]))) is not None:
            raise TechniqueError(technique.slot, technique.name, f"{type(error).__name__}: {error}") from error
        raise


def culprit(error: Exception, recipe: Recipe) -> Technique | None:
    """The technique in whose file the error was raised, or called what raised it.

    Where several share that file, the one in whose own code it was, if any.
    """
    files: dict[str | None, list[Technique]] = defaultdict(list)
    for technique, _ in Chosen(recipe).rows:
        with suppress(TypeError, OSError):  # a partial, or a class of a notebook, has no file
            files[inspect.getsourcefile(technique.load())].append(technique)
    codes = [frame.f_code for frame, _ in traceback.walk_tb(error.__traceback__)][::-1]
    codes = list(takewhile(lambda code: code.co_name != "closure", codes))  # an optimizer that calls one is not to blame for it
    file = next((code.co_filename for code in codes if code.co_filename in files), None)
    if file is None or len(files[file]) == 1:
        return None if file is None else files[file][0]
    own = {f"{technique.load().__qualname__}.": technique for technique in files[file]}
    inside = [f"{code.co_qualname}." for code in codes if code.co_filename == file]
    return next((own[prefix] for name in inside for prefix in own if name.startswith(prefix)), None)
