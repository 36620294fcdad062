"""Before trial 0: each selected technique goes through all stages with two batches; what cannot work here is left out with its reason."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

from autoopt.config import Tree, seconds
from autoopt.errors import BadInput, NotConcluded
from autoopt.goal import Goal, takes_stopwatch
from autoopt.orders import Contrast, Outcome, Problem, TryOut
from autoopt.recipe import Recipe
from autoopt.records.settled import Settled
from autoopt.records.stages import PREFLIGHT
from autoopt.space import Domain, Space
from autoopt.study.jobs import Job, Result
from autoopt.study.objectives import COMMON, bounds_of, choose_objectives
from autoopt.study.runner import Runner

SECONDS = 300


def rehearse(space: Space, runner: Runner, tree: Tree, own: Recipe | None = None) -> Settled:
    """Try the baseline alone on two batches, and settle the goal.

    Args:
        own: the recipe of `baseline=FILE`, if any.

    Raises:
        BadInput: the baseline cannot be trained, or the objective is neither measured nor logged.
        NotConcluded: the machine ended a try-out.
    """
    space, result = sound_baseline(space, runner, tree, own)
    assert result.outcome is not None
    for note in result.outcome.notes:
        runner.screen.say(note)
    measured = {**result.last, **result.outcome.metrics}
    objectives = choose_objectives(tree, measured, result.outcome.validated)
    goal = Goal(objectives, bounds_of(tree, measured), space.baseline().best_epoch)
    if tree["objective"] is None and goal.first.name not in COMMON:
        runner.screen.say(f"objective={goal.first.name}: the one metric that validation logs and whose name tells which way is better")
    if goal.first.name in result.outcome.by_step:
        runner.screen.say(f"{goal.first.name} is that of an epoch's last batch: your training logs it without on_epoch=True")
    space = without_vain_scale(as_the_module_allows(space, result.outcome), result)
    if own is not None:
        (mine,) = runner.collect([try_out_job(tree, own, "own-baseline")])
        if problem := charged(mine):
            said = f"baseline={tree['baseline']} cannot be trained: {problem}"
            raise BadInput(said if tree["baseline"] else untrainable(problem))
        space = without_vain_scale(space, mine)
    part = goal.first.judged_by(result.outcome.tested, result.outcome.validated)
    return Settled(space, goal, part, result.outcome.untested)


def preflight(space: Space, runner: Runner, tree: Tree, own: Recipe | None = None) -> Settled:
    """Try every technique of the space on two batches; a technique that cannot work here is left out with its reason.

    Raises:
        BadInput: as `rehearse`, or a slot has nothing left.
    """
    settled = rehearse(space, runner, tree, own)
    contrasts = searched_arguments(settled.space, runner, tree)
    for note in arguments_of_the_objective(contrasts, settled.goal.first.name):
        runner.screen.say(note)
    space = without_second_scale(without_vain(settled), contrasts)
    space = with_each_model(without_failing(space, runner, tree), runner, tree)
    return replace(settled, space=space)


def searched_arguments(space: Space, runner: Runner, tree: Tree) -> list[Result]:
    """What each searched argument of a user's model changes beside its weights; the argument is the first part of the job's context."""
    baseline, jobs = space.baseline(), []
    for domain in space.domains():
        slot, model, *_ = f"{domain.key}.".split(".")
        if slot == "model" and model and not space.options[slot][model].technique.owner and domain.condition.holds(baseline.tree):
            value = next(option for option in reversed(domain.options) if option != domain.default)
            other = space.recipe({domain.path: value}).tree
            order = Contrast(key=PREFLIGHT.key.format(domain.key), recipe=baseline, other=dict(other), time_limit=limit_of(tree))
            jobs.append(Job(order, PREFLIGHT, (domain.key, value)))
    return runner.collect(jobs)


def arguments_of_the_objective(contrasts: Iterable[Result], name: str) -> Iterator[str]:
    """A note on each argument that changes the objective itself, such as the weight of a term of the loss."""
    for result in contrasts:
        if result.outcome is not None and name in result.outcome.validated:
            key, value = result.job.context
            yield (
                f"{key}={value} gives another {name} for the same weights, so that {name} cannot compare its values; "
                "give an objective without it (objective=…), or fix it"
            )


def without_second_scale(space: Space, contrasts: Iterable[Result]) -> Space:
    """The space without a scale, unless the user gives its range, of what a searched argument of the only model sets itself."""
    keep = space.options["optimizer"].get("keep")
    if keep is None or len(space.options["model"]) > 1:
        return space
    for result in contrasts:
        for name in result.outcome.scaled if result.outcome is not None else ():
            value, advised = keep.values.get(scale := f"{name}_scale"), keep.technique.param(f"{name}_scale").domain
            if isinstance(value, Domain) and value.values == advised:
                space = space.with_default("optimizer", "keep", scale, f"{result.job.context[0]} is searched, which sets this")
    return space


def without_failing(space: Space, runner: Runner, tree: Tree) -> Space:
    """The space without the techniques that fail together with the rest of the baseline."""
    jobs = [try_out_job(tree, recipe, f"{slot}-{name}", (slot, name)) for slot, name, recipe in variants(space)]
    runner.screen.stage(PREFLIGHT, len(jobs), 0)
    for result in runner.collect(jobs):
        if (problem := charged(result)) is not None:
            slot, name = result.job.context
            models = list(space.options["model"])
            if problem.unavailable and len(models) > 1 and looks_at_the_model(space, slot, name):
                space = space.without_with(models[0], slot, name, problem.detail)
            else:
                space = without(space, slot, name, problem)
    return space


def charged(result: Result) -> Problem | None:
    """The problem of a try-out, if its recipe may be to blame: also for a process that died in every attempt (`lost`).

    Raises:
        NotConcluded: the machine or the user ended it; nothing is settled by that.
    """
    problem = result.problem
    if problem is not None and problem.blame != "recipe" and problem.reason != "lost":
        raise NotConcluded(f"{result.job.key} was not tried to its end ({problem}); the same command tries again")
    return problem


def looks_at_the_model(space: Space, slot: str, name: str) -> bool:
    """Whether a technique may work with some models only."""
    return slot == "activation" or "model" in space.options[slot][name].technique.asks


def with_each_model(space: Space, runner: Runner, tree: Tree) -> Space:
    """The space in which no technique is drawn with a model that it fails with; the first model was tried before."""
    jobs = []
    for model in list(space.options["model"])[1:]:
        for slot, name, _ in space.techniques():
            if slot != "model" and looks_at_the_model(space, slot, name):
                recipe = space.with_option("model", model).with_option(slot, name).baseline()
                jobs.append(try_out_job(tree, recipe, f"{model}-{slot}-{name}", (model, slot, name)))
    if jobs:
        runner.screen.stage(PREFLIGHT, len(jobs), 0)
    for result in runner.collect(jobs):
        if (problem := charged(result)) is not None:
            model, slot, name = result.job.context
            space = space.without_with(model, slot, name, problem.detail)
    return space


def as_the_module_allows(space: Space, outcome: Outcome) -> Space:
    """A module that steps its optimizers itself, or has several, keeps them."""
    if outcome.manual:
        reason = "the module optimizes manually, so it keeps its own"
    elif outcome.optimizers > 1:
        reason = f"the module has {outcome.optimizers} optimizers, so it keeps its own"
    else:
        return space
    absent = {**space.absent, "optimizer": {"params": reason}, "schedule": {"optimizer": reason}}
    return space.fitting(absent)


def without_vain_scale(space: Space, result: Result) -> Space:
    """The space without a scale for the decay of an optimizer that decays nothing."""
    if "keep" in result.job.recipe.tree["optimizer"] and result.outcome is not None and not result.outcome.decays:
        return space.with_default("optimizer", "keep", "weight_decay_scale", "no group of the module's optimizer decays its weights")
    return space


def without_vain(settled: Settled) -> Space:
    """The space without the regularizers that have no effect here: a mean of the weights where only the training measures the
    objective, and a clipping beside that of the author's Trainer.

    Raises:
        BadInput: one of them is pinned on.
    """
    space, objective = settled.space, settled.goal.first
    in_training, clipping = settled.part == "training" and not objective.cost, space.settings["trainer"].get("gradient_clip_val")
    clipped = isinstance(clipping, Domain) or (clipping is not None and bool(clipping.value))
    for name, option in space.options["regularizer"].items():
        if in_training and option.technique.acts.last:
            space = space.without("regularizer", name, f"{objective.name} is measured on the weights in training, and never on their mean")
        if clipped and option.technique.acts.clips:
            reason = "your own Trainer clips the gradients; to search that, give several values of trainer.gradient_clip_val"
            space = space.without("regularizer", name, reason)
    return space


def untrainable(problem: Problem) -> str:
    return f"the module as it is written cannot be trained: {problem}; mend it, or name a recipe to compare with: baseline=FILE"


def sound_baseline(space: Space, runner: Runner, tree: Tree, own: Recipe | None) -> tuple[Space, Result]:
    """Drop first options until the baseline trains; return the space and the result of the try-out.

    Args:
        own: the recipe that trial 0 trains instead, if any.

    Raises:
        BadInput: the baseline fails, and no other option can replace the technique that failed; or what fails is the module's own.
    """
    latency = any(map(takes_stopwatch, [*(tree["objective"] or "").split(), *tree["constraints"]]))
    while True:
        (result,) = runner.collect([try_out_job(tree, space.baseline(), "baseline", latency=latency)])
        if (problem := charged(result)) is None:
            return space, result
        if problem.name == "keep" and own is None:
            raise BadInput(untrainable(problem))
        options = space.options.get(problem.slot, {})
        if problem.name not in options or len(options) < 2:
            log = runner.executor.store.log(result.job.key)
            raise BadInput(f"the baseline cannot be trained: {problem} (log: {log})")
        space = without(space, problem.slot, problem.name, problem)


def without(space: Space, slot: str, name: str, problem: Problem) -> Space:
    """The space without a technique that does not work here.

    Raises:
        BadInput: it failed with pinned values, which may be wrong, or its slot has nothing left.
    """
    broken = not problem.unavailable
    itself = (problem.slot, problem.name) == (slot, name)
    detail = problem.detail if problem.slot else str(problem)
    if broken and itself and (pins := space.options[slot][name].pins):
        pinned = ", ".join(f"{slot}.{name}.{key}={value}" for key, value in pins.items())
        raise BadInput(f"{pinned}: {slot}={name} cannot be used with these values: {detail}")
    return space.without(slot, name, detail, broken)


def try_out_job(tree: Tree, recipe: Recipe, name: str, context: Any = None, *, weights: str | None = None, latency: bool = False) -> Job:
    """The job that tries a recipe on two batches.

    Args:
        weights: the key of a trained trial to start from.
    """
    order = TryOut(key=PREFLIGHT.key.format(name), recipe=recipe, weights=weights, latency=latency, time_limit=limit_of(tree))
    return Job(order, PREFLIGHT, context)


def limit_of(tree: Tree) -> float:
    """The most seconds that a try-out may take."""
    return min(SECONDS, *(seconds(time) or SECONDS for time in (tree["executor"]["trial_time"], tree["study"]["time"])))


def variants(space: Space) -> Iterable[tuple[str, str, Recipe]]:
    """For each technique that the baseline lacks: its slot, its name, and the baseline with it at its defaults."""
    baseline = space.baseline()
    for slot, name, _ in space.techniques():
        if name not in baseline.tree[slot]:
            yield slot, name, space.with_option(slot, name).baseline()
