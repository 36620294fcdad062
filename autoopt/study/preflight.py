"""Before trial 0: each selected technique trains two batches, and what cannot work here drops out with its reason."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from autoopt.config import Tree, seconds, technique_of
from autoopt.errors import BadInput, nearest
from autoopt.recipe import Recipe
from autoopt.slots import SLOTS
from autoopt.space import Space
from autoopt.study.objective import Objective, direction_of, timed
from autoopt.study.runner import Job, Nobody, Result, Runner

COMMON = ("val_accuracy", "val_acc", "val/accuracy", "val/acc", "val_f1", "val/f1", "val_rmse", "val/rmse", "val_loss", "val/loss")
SECONDS = 300


def preflight(space: Space, runner: Runner, tree: Tree, own: Recipe | None = None, alone: bool = False) -> tuple[Space, Objective]:
    """The space of what works here, and what to optimise.

    Args:
        own: the baseline, where it is not the space's.
        alone: try nothing but the baseline.

    Raises:
        BadInput: the baseline cannot be trained, or the objective is nothing that is measured or logged.
    """
    order = on_two_batches(tree)
    space, found = sound_baseline(space, runner, order | {"latency": timed(tree["objective"])})
    objective = choose_objective(tree, {**found.last, **(found.outcome or {})["metrics"]})
    space = as_the_module_allows(space, found.outcome or {})
    if own is not None and (problem := problem_of(collect(runner, [trial_run(own, "own-baseline", order)])[0])):
        raise BadInput(f"baseline={tree['baseline']} cannot be trained: {problem['said']}")
    rest = [] if alone else list(variants(space))
    runner.screen.stage("preflight", len(rest), 0)
    for result in collect(runner, [trial_run(recipe, f"{slot}-{name}", order, (slot, name)) for slot, name, recipe in rest]):
        if (problem := problem_of(result)) is not None:
            slot, name = result.job.context
            if problem.get("unavailable") and len(space.tree["model"]) > 1 and looks_at_the_model(space, slot, name):
                space = space.without_with(next(iter(space.tree["model"])), slot, name, problem["detail"])
            else:
                space = without(space, slot, name, problem)
    return space if alone else with_each_model(space, runner, order), objective


def looks_at_the_model(space: Space, slot: str, name: str) -> bool:
    """Whether it may be a question of the model if a technique works."""
    return slot == "activation" or "model" in technique_of(slot, name, space.tree[slot][name]).asks


def with_each_model(space: Space, runner: Runner, order: dict[str, Any]) -> Space:
    """The space in which no technique is drawn with a model that it does not work with; the first model was tried."""
    pairs = [
        (model, slot, name)
        for model in list(space.tree["model"])[1:]
        for slot, name, _ in space.techniques()
        if slot != "model" and looks_at_the_model(space, slot, name)
    ]
    jobs = []
    for model, slot, name in pairs:
        recipe = space.with_option("model", model).with_option(slot, name).baseline()
        jobs.append(trial_run(recipe, f"{model}-{slot}-{name}", order, (model, slot, name)))
    if jobs:
        runner.screen.stage("preflight", len(jobs), 0)
    for result in collect(runner, jobs):
        if (problem := problem_of(result)) is not None:
            model, slot, name = result.job.context
            space = space.without_with(model, slot, name, problem["detail"])
    return space


def as_the_module_allows(space: Space, outcome: dict[str, Any]) -> Space:
    """A module that steps its optimizers itself, or has several, keeps them."""
    if outcome.get("manual"):
        reason = "the module optimizes by hand: its own is all there is"
    elif outcome.get("optimizers", 1) > 1:
        reason = f"the module has {outcome['optimizers']} optimizers: its own are all there is"
    else:
        return space
    absent = {**space.absent, "optimizer": {"params": reason}, "schedule": {"optimizer": reason}}
    return space.fitting(absent)


def sound_baseline(space: Space, runner: Runner, order: dict[str, Any]) -> tuple[Space, Result]:
    """Drop first options until the baseline trains; the space, and how it went."""
    while True:
        (result,) = collect(runner, [trial_run(space.baseline(), "baseline", order)])
        problem = problem_of(result)
        if problem is None:
            return space, result
        slot, name = problem.get("slot", ""), problem.get("name", "")
        if slot not in SLOTS or name not in space.tree[slot] or len(space.tree[slot]) < 2:
            log = runner.folder.trial("preflight/baseline") / "log.txt"
            raise BadInput(f"the baseline cannot be trained: {problem['said']} (log: {log})")
        space = without(space, slot, name, problem)


def without(space: Space, slot: str, name: str, problem: dict[str, Any]) -> Space:
    """The space without a technique that does not work here.

    Raises:
        BadInput: it raised by itself with values that were set for it, which may be what is wrong; or a slot has nothing left.
    """
    broken = not problem.get("unavailable")
    itself = (problem.get("slot"), problem.get("name")) == (slot, name)
    if broken and itself and (pins := space.pins(slot, name)):
        said = ", ".join(f"{slot}.{name}.{key}={value}" for key, value in pins.items())
        raise BadInput(f"{said}: {slot}={name} cannot be used so: {problem['detail']}")
    return space.without(slot, name, problem["detail"], broken)


def on_two_batches(tree: Tree) -> dict[str, Any]:
    """The order of a trial run."""
    return {"limit": 2, "time_limit": min(SECONDS, seconds(tree["executor"]["trial_time"]) or SECONDS)}


def collect(runner: Runner, jobs: Iterable[Job]) -> list[Result]:
    """Run jobs that are no trials of the study, so that MLflow is not told of them."""
    found: list[Result] = []
    replace(runner, mirror=Nobody()).run(jobs, found.append)
    return found


def trial_run(recipe: Recipe, key: str, order: dict[str, Any], context: Any = None) -> Job:
    return Job(f"preflight/{key}", "preflight", recipe, 0, order, context)


def problem_of(result: Result) -> dict[str, Any] | None:
    """Why a preflight failed: what its technique said, or how its process ended."""
    if result.outcome is None:
        return {"detail": f"{result.reason}: {result.detail}", "said": f"{result.reason}: {result.detail}"}
    return result.outcome.get("problem")


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
