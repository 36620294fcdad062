import inspect
from importlib import import_module
from typing import Annotated, Any

from optuna.samplers import BaseSampler, BruteForceSampler, CmaEsSampler, NSGAIIISampler, NSGAIISampler, QMCSampler

from autoopt.domain import Bounds, Range
from autoopt.errors import BadInput
from autoopt.goal import Goal
from autoopt.plugins.strategy.sampled import Sampled
from autoopt.strategy import Strategy, SuccessiveHalving

STATEFUL = (BruteForceSampler, CmaEsSampler, NSGAIISampler, NSGAIIISampler, QMCSampler)
"""Samplers that read more than values and scores: what they wrote into Optuna's study when they proposed, of which a history has nothing.
NSGA-II would draw at random for good."""


def optuna(
    space: Any,
    goal: Goal,
    epochs: int,
    *,
    sampler: str = "optuna.samplers:TPESampler",
    rungs: Annotated[int, Range(0, 5), Bounds(0)] = 2,
    reduction: Annotated[int, Range(2, 9), Bounds(2)] = 3,
) -> Strategy:
    """A sampler of Optuna by its import path, with its own defaults: `strategy.optuna.sampler=optuna.samplers:GPSampler`.

    Each trial is proposed by a new sampler from the trials so far, so that a resumed search equals an uninterrupted one. Samplers
    that need more than the trials are refused: those that keep a state of their own (CMA-ES, NSGA-II and III, quasi-Monte Carlo,
    brute force), and those that need arguments.

    Akiba et al. 2019, doi:10.1145/3292500.3330701.
    """
    kind = sampler_class(sampler)
    seeded = {"seed"} & inspect.signature(kind).parameters.keys()

    def make(seed: int) -> BaseSampler:
        return kind(**dict.fromkeys(seeded, seed))

    make(0)  # what cannot be made is told before the search
    return Sampled(space, goal, make, SuccessiveHalving.of(goal, epochs, rungs, reduction))


def sampler_class(path: str) -> type[BaseSampler]:
    """The class of a sampler by its import path.

    Raises:
        BadInput: there is none, or it needs more than the trials so far.
    """
    module, _, name = path.partition(":")
    try:
        found = getattr(import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise BadInput(f"strategy.optuna.sampler={path}: {error}; expected an import path such as optuna.samplers:GPSampler") from error
    if not (isinstance(found, type) and issubclass(found, BaseSampler)):
        raise BadInput(f"strategy.optuna.sampler={path}: expected a class of samplers, such as optuna.samplers:GPSampler")
    if issubclass(found, STATEFUL):
        keeps = f"{name} keeps a state beside the trials, which a resumed search would not have"
        raise BadInput(f"strategy.optuna.sampler={path}: {keeps}; give optuna.samplers:TPESampler or optuna.samplers:GPSampler")
    parameters = inspect.signature(found).parameters.values()
    if needed := [p.name for p in parameters if p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]:
        raise BadInput(f"strategy.optuna.sampler={path}: it needs {', '.join(needed)}; name a class of your own that gives them")
    return found
