"""Cross-validation: an order is carried out on each fold of the data in turn, and its metrics are the means over the folds."""

from collections.abc import Callable
from dataclasses import replace
from statistics import fmean, stdev

from autoopt.data.parts import on_test
from autoopt.orders import Order, Outcome
from autoopt.trial import Report
from autoopt.trial.world import World

OnFold = Callable[[World, Order, Report, int], Outcome]
ADDED = ("seconds", "epochs_trained")
GREATEST = ("peak_memory_mb", "peak_gpu_memory_mb")


def in_folds(carry_out: OnFold, world: World, order: Order, report: Report, outcomes: list[Outcome] | None = None) -> Outcome:
    """Carry out an order on each fold of the task.

    Only the epochs of the first fold are reported, so that a trial is stopped by comparison with the same fold of other trials; the
    other folds then run to the end. Each fold has its own weights, and those of the first are exported; all folds are measured on the
    same test part.

    Args:
        carry_out: carries out the order on one fold, given its world and its number, from 1.
        outcomes: of the folds that are done already; those of the others are added.

    Returns:
        the outcome of the first fold, with the means over the folds as its metrics, and `<objective>_std`.
    """
    outcomes = [] if outcomes is None else outcomes
    if not outcomes:
        outcomes.append(carry_out(world, order, report, 1))
    untimed = replace(order, latency=False)  # the stopwatch is for the first
    for fold, task in list(enumerate(world.task.folds, 2))[len(outcomes) - 1 :]:
        if outcomes[0].stopped:
            break
        outcomes.append(carry_out(replace(world, task=task, example=task.example()), untimed, lambda *_: False, fold))
    return outcomes[0] if len(outcomes) == 1 else combined(outcomes, order.objective)


def combined(outcomes: list[Outcome], objective: str | None) -> Outcome:
    all_metrics = [outcome.metrics for outcome in outcomes]
    metrics = {name: over_folds(name, [each[name] for each in all_metrics if name in each]) for name in all_metrics[0]}
    for name in [objective, on_test(objective)] if objective else []:
        values = [each[name] for each in all_metrics if name in each]
        if len(values) > 1:
            metrics[f"{name}_std"] = stdev(values)
    resamples = [fmean(draw) for draw in zip(*(outcome.resamples for outcome in outcomes), strict=True)]
    return replace(outcomes[0], metrics=metrics, seconds=sum(outcome.seconds for outcome in outcomes), resamples=resamples)


def over_folds(name: str, values: list[float]) -> float:
    return sum(values) if name in ADDED else max(values) if name in GREATEST else fmean(values)
