"""Before trial 0: each selected technique trains two batches, and what cannot work here drops out with its reason."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from autoopt.config import Tree, seconds
from autoopt.errors import BadInput, nearest
from autoopt.goal import Goal, Objective, direction_of, takes_stopwatch
from autoopt.orders import Outcome, Problem, TryOut
from autoopt.recipe import Recipe
from autoopt.space import Space
from autoopt.study.runner import Job, Result, Runner
from autoopt.study.settled import Settled
from autoopt.study.stages import PREFLIGHT

COMMON = ("val_accuracy", "val_acc", "val/accuracy", "val/acc", "val_f1", "val/f1", "val_rmse", "val/rmse", "val_loss", "val/loss")
SECONDS = 300


def rehearse(space: Space, runner: Runner, tree: Tree, own: Recipe | None = None) -> Settled:
    """Try the baseline alone on two batches, and settle the goal.

    Args:
        own: the baseline, where it is not the space's.

    Raises:
        BadInput: the baseline cannot be trained, or the objective is nothing that is measured or logged.
    """
    space, result = sound_baseline(space, runner, tree)
    assert result.outcome is not None
    objective = choose_objective(tree, {**result.last, **result.outcome.metrics})
    space = as_the_module_allows(space, result.outcome)
    if own is not None and (problem := runner.collect([try_out_job(tree, own, "own-baseline")])[0].problem):
        raise BadInput(f"baseline={tree['baseline']} cannot be trained: {problem}")
    return Settled(space, Goal((objective,)), objective.judged_by(result.outcome.tested))


def preflight(space: Space, runner: Runner, tree: Tree, own: Recipe | None = None) -> Settled:
    """Try every technique of the space on two batches: what cannot work here drops out with the reason.

    Raises:
        BadInput: as `rehearse`, or a slot has nothing left.
    """
    settled = rehearse(space, runner, tree, own)
    space = with_each_model(without_failing(settled.space, runner, tree), runner, tree)
    return replace(settled, space=space)


def without_failing(space: Space, runner: Runner, tree: Tree) -> Space:
    """The space without the techniques that fail beside the baseline's others."""
    jobs = [try_out_job(tree, recipe, f"{slot}-{name}", (slot, name)) for slot, name, recipe in variants(space)]
    runner.screen.stage(PREFLIGHT, len(jobs), 0)
    for result in runner.collect(jobs):
        if (problem := result.problem) is not None:
            slot, name = result.job.context
            models = list(space.options["model"])
            if problem.unavailable and len(models) > 1 and looks_at_the_model(space, slot, name):
                space = space.without_with(models[0], slot, name, problem.detail)
            else:
                space = without(space, slot, name, problem)
    return space


def looks_at_the_model(space: Space, slot: str, name: str) -> bool:
    """Whether it may be a question of the model if a technique works."""
    return slot == "activation" or "model" in space.options[slot][name].technique.asks


def with_each_model(space: Space, runner: Runner, tree: Tree) -> Space:
    """The space in which no technique is drawn with a model that it does not work with; the first model was tried."""
    jobs = []
    for model in list(space.options["model"])[1:]:
        for slot, name, _ in space.techniques():
            if slot != "model" and looks_at_the_model(space, slot, name):
                recipe = space.with_option("model", model).with_option(slot, name).baseline()
                jobs.append(try_out_job(tree, recipe, f"{model}-{slot}-{name}", (model, slot, name)))
    if jobs:
        runner.screen.stage(PREFLIGHT, len(jobs), 0)
    for result in runner.collect(jobs):
        if (problem := result.problem) is not None:
            model, slot, name = result.job.context
            space = space.without_with(model, slot, name, problem.detail)
    return space


def as_the_module_allows(space: Space, outcome: Outcome) -> Space:
    """A module that steps its optimizers itself, or has several, keeps them."""
    if outcome.manual:
        reason = "the module optimizes by hand, so that it keeps its own"
    elif outcome.optimizers > 1:
        reason = f"the module has {outcome.optimizers} optimizers, so that it keeps its own"
    else:
        return space
    absent = {**space.absent, "optimizer": {"params": reason}, "schedule": {"optimizer": reason}}
    return space.fitting(absent)


def sound_baseline(space: Space, runner: Runner, tree: Tree) -> tuple[Space, Result]:
    """Drop first options until the baseline trains; the space, and the result of the try-out."""
    while True:
        (result,) = runner.collect([try_out_job(tree, space.baseline(), "baseline", latency=takes_stopwatch(tree["objective"]))])
        if (problem := result.problem) is None:
            return space, result
        options = space.options.get(problem.slot, {})
        if problem.name not in options or len(options) < 2:
            log = runner.executor.store.log(result.job.key)
            raise BadInput(f"the baseline cannot be trained: {problem} (log: {log})")
        space = without(space, problem.slot, problem.name, problem)


def without(space: Space, slot: str, name: str, problem: Problem) -> Space:
    """The space without a technique that does not work here.

    Raises:
        BadInput: it raised by itself with values that were pinned, which may be what is wrong; or a slot has nothing left.
    """
    broken = not problem.unavailable
    itself = (problem.slot, problem.name) == (slot, name)
    detail = problem.detail if problem.slot else str(problem)
    if broken and itself and (pins := space.options[slot][name].pins):
        pinned = ", ".join(f"{slot}.{name}.{key}={value}" for key, value in pins.items())
        raise BadInput(f"{pinned}: {slot}={name} cannot be used so: {detail}")
    return space.without(slot, name, detail, broken)


def try_out_job(tree: Tree, recipe: Recipe, name: str, context: Any = None, *, weights: str | None = None, latency: bool = False) -> Job:
    """The job that tries a recipe on two batches.

    Args:
        weights: the key of a trained trial to start from.
    """
    limit = min(SECONDS, seconds(tree["executor"]["trial_time"]) or SECONDS)
    order = TryOut(key=PREFLIGHT.key.format(name), recipe=recipe, weights=weights, latency=latency, time_limit=limit)
    return Job(order, PREFLIGHT, context)


def variants(space: Space) -> Iterable[tuple[str, str, Recipe]]:
    """The baseline with each other technique of the space in turn, at its defaults."""
    baseline = space.baseline()
    for slot, name, _ in space.techniques():
        if name not in baseline.tree[slot]:
            yield slot, name, space.with_option(slot, name).baseline()


def choose_objective(tree: Tree, logged: dict[str, float]) -> Objective:
    """The metric and its direction: as said, else by what is logged and what its name tells.

    Raises:
        BadInput: nothing logs it, or its direction cannot be told.
    """
    name = tree["objective"] or next((n for n in COMMON if n in logged), None)
    if name is None or name not in logged:
        said = f"objective={name}: nothing logs it. " if name else "objective=… is needed: "
        raise BadInput(said + nearest(name or "", logged).replace("Known", "Logged"))
    direction = tree["direction"] or direction_of(name)
    if direction is None:
        raise BadInput(f"objective={name}: say direction=maximize or direction=minimize")
    return Objective(name, direction)
