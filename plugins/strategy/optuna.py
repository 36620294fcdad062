import inspect
from importlib import import_module
from typing import Annotated, Any

from optuna.samplers import BaseSampler

from autoopt.domain import Range
from autoopt.errors import BadInput
from autoopt.goal import Goal
from autoopt.plugins.strategy.sampled import Sampled
from autoopt.strategy import Halving, Strategy


def optuna(
    space: Any,
    goal: Goal,
    epochs: int,
    *,
    sampler: str = "optuna.samplers:TPESampler",
    rungs: Annotated[int, Range(0, 5)] = 2,
    reduction: Annotated[int, Range(2, 9)] = 3,
) -> Strategy:
    """Any sampler of Optuna by its import path, with its own defaults: `strategy.optuna.sampler=optuna.samplers:GPSampler`.

    Each trial is proposed by a new sampler from the trials so far, so that a resumed search equals an uninterrupted one; a
    sampler that keeps a state of its own, such as CMA-ES, begins anew each time.

    Akiba et al. 2019, doi:10.1145/3292500.3330701.
    """
    make = sampler_class(sampler)
    seeded = {"seed"} & inspect.signature(make).parameters.keys()
    halving = Halving.of(goal, epochs, rungs, reduction)
    return Sampled(space, goal, lambda seed: make(**dict.fromkeys(seeded, seed)), halving)


def sampler_class(path: str) -> type[BaseSampler]:
    """The class of a sampler by its import path.

    Raises:
        BadInput: there is none.
    """
    module, _, name = path.partition(":")
    try:
        found = getattr(import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise BadInput(f"strategy.optuna.sampler={path}: {error}; expected an import path such as optuna.samplers:GPSampler") from error
    if not (isinstance(found, type) and issubclass(found, BaseSampler)):
        raise BadInput(f"strategy.optuna.sampler={path}: expected a class of samplers, such as optuna.samplers:GPSampler")
    return found
