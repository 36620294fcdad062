"""The second stage, where compressions are selected: they are tried on the trained weights of the best."""

import time
from collections.abc import Mapping, Sequence
from typing import Any

from autoopt.errors import BadInput
from autoopt.recipe import Recipe
from autoopt.space import Space
from autoopt.study.explore import PATIENCE, Asking, Sampling, ranked
from autoopt.study.explore import STAGE as SEARCH
from autoopt.study.journal import Journal, Record
from autoopt.study.objective import Objective
from autoopt.study.preflight import collect, on_two_batches, problem_of, trial_run
from autoopt.study.runner import Runner

STAGE = "compress"
COSTS = ("latency_ms", "size_mb")


def compress(
    runner: Runner, journal: Journal, space: Space, objective: Objective, top: int, seed: int, until: float = float("inf")
) -> list[Record]:
    """Search over (which of the best, which compressions) for the objective, the latency and the size together.

    One training serves many compressions. They are tried one at a time, so that the latency counts. The first is the best
    model as it is, where that is among the choices.

    Args:
        top: how many of the trained models are tried; the weights of the others are deleted, and those of compressed
            models that are not on the front.
        until: the wall time after which no more are tried.

    Returns:
        the records of this stage; none where no compression is selected.
    """
    if not space.tree["compression"]:
        return []
    searched, begun = journal.records(SEARCH), journal.records(STAGE)
    best = {r.key: r for r in ranked(searched, objective)[:top] if runner.folder.weights(r.key).exists()}
    for record in searched:
        if record.key not in best:
            runner.folder.forget(record.key)
    if len(begun) < space.tree["study"]["compress"] and (not begun or time.time() < until):
        sample(runner, journal, space, best, seed, until)
    records = journal.records(STAGE)
    kept = {r.key for r in front(records, objective)}
    for record in records:
        if record.key not in kept:
            runner.folder.forget(record.key)
    return records


def sample(runner: Runner, journal: Journal, space: Space, best: Mapping[str, Record], seed: int, until: float) -> None:
    """Ask, compress and tell up to the total, or until hardly any are left that were not tried."""
    spaces, total = spaces_of(best, runner, space), space.tree["study"]["compress"]
    if not spaces:
        return

    def trained_as(trial: Asking) -> str:
        return str(trial.suggest_categorical("trial", list(spaces)))

    def draw(trial: Asking) -> Recipe:
        key = trained_as(trial)
        return best[key].point.replace(compression=spaces[key].draw(trial).tree["compression"])

    def order(trial: Asking) -> dict[str, Any]:
        kept = runner.folder.weights(f"{STAGE}-{trial.number}")
        return {"load": str(runner.folder.weights(trained_as(trial))), "save": str(kept), "latency": True}

    key, own = next(iter(spaces.items()))
    sampling = Sampling(STAGE, journal, draw, total, seed, until, {"trial": key} | own.defaults(), order, COSTS, once=True)
    runner.screen.stage(STAGE, total, len(journal.records(STAGE)))
    runner.run(sampling.jobs(), sampling.tell, width=1)
    if not runner.interrupts and time.time() < until and (done := len(journal.records(STAGE))) < total:
        runner.screen.say(f"{done} compressions, not {total}: what the last {PATIENCE} draws came to had been tried")


def spaces_of(trained: Mapping[str, Record], runner: Runner, space: Space) -> dict[str, Space]:
    """By trained model the compressions that work with it, each of them tried at its defaults on two batches.

    The preflight tried them with every kind of model as it is by default; the search may have made another thing of it. A
    model with which one does not work that was asked for always is left out.
    """
    spaces = {key: space.compressing(next(iter(record.recipe["model"]))) for key, record in trained.items()}
    jobs = []
    for key, record in trained.items():
        order = on_two_batches(space.tree) | {"load": str(runner.folder.weights(key))}
        for name in spaces[key].tree["compression"]:
            recipe = record.point.replace(compression=spaces[key].with_option("compression", name).baseline().tree["compression"])
            jobs.append(trial_run(recipe, f"{key}-{name}", order, (key, name)))
    runner.screen.stage("preflight", len(jobs), 0)
    for result in collect(runner, jobs):
        key, name = result.job.context
        if (problem := problem_of(result)) is not None and key in spaces:
            try:
                spaces[key] = spaces[key].without("compression", name, problem["detail"])
            except BadInput as error:
                runner.screen.say(f"trial {key} is not compressed: {error}")
                del spaces[key]
    return spaces


def front(records: Sequence[Record], objective: Objective) -> list[Record]:
    """The Pareto front of objective, latency and size: those that no other is as good as in all three, the best score first."""
    complete = {values: r for r in reversed(ranked(list(records), objective)) if (values := costly(r, objective)) is not None}
    best = [r for v, r in complete.items() if not any(w != v and all(a <= b for a, b in zip(w, v, strict=True)) for w in complete)]
    return ranked(best, objective)


def costly(record: Record, objective: Objective) -> tuple[float, ...] | None:
    """What is the better the smaller it is, where all of it was measured."""
    if record.score is None or any(cost not in record.metrics for cost in COSTS):
        return None
    return (-objective.sign * record.score, *(record.metrics[cost] for cost in COSTS))
