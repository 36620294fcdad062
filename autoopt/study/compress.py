"""The second stage, where compressions are selected: they are tried on the trained weights of the best."""

from typing import Any

from autoopt.recipe import Recipe
from autoopt.space import Space
from autoopt.study.explore import STAGE as SEARCH
from autoopt.study.explore import Asking, Sampling, ranked
from autoopt.study.journal import Journal, Record
from autoopt.study.objective import Objective
from autoopt.study.runner import Runner

STAGE = "compress"


def compress(
    runner: Runner, journal: Journal, space: Space, objective: Objective, top: int, seed: int, until: float = float("inf")
) -> list[Record]:
    """Search over (which of the best, which compressions); one training serves many compressions.

    Args:
        top: how many of the trained models are tried; the weights of the others are deleted.
        until: the wall time after which no more are tried.

    Returns:
        the records of this stage; none where no compression is selected.
    """
    if not space.tree["compression"]:
        return []
    trained = ranked(journal.records(SEARCH), objective)
    best = {r.key: r for r in trained[:top] if runner.folder.weights(r.key).exists()}
    for record in trained[top:]:
        runner.folder.weights(record.key).unlink(missing_ok=True)
    if not best:
        return []

    def trained_as(trial: Asking) -> str:
        return str(trial.suggest_categorical("trial", list(best)))

    def draw(trial: Asking) -> Recipe:
        return best[trained_as(trial)].point.replace(compression=space.compressions(trial))

    def order(trial: Asking) -> dict[str, Any]:
        return {"load": str(runner.folder.weights(trained_as(trial)))}

    sampling = Sampling(STAGE, journal, draw, space.tree["study"]["compress"], seed, until, order=order)
    runner.screen.stage(STAGE, sampling.total, len(journal.records(STAGE)))
    runner.run(sampling.jobs(), sampling.tell)
    return journal.records(STAGE)
