"""How long a study will take, from short trainings of the baseline and of recipes drawn from its space."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from autoopt.orders import Train
from autoopt.recipe import Recipe
from autoopt.records.folder import derived_seed
from autoopt.records.record import Epochs
from autoopt.records.stages import PREFLIGHT
from autoopt.space import Space, traced
from autoopt.study.jobs import Job, Result
from autoopt.study.runner import Runner

DRAWN = 5
"""So many recipes are drawn beside the baseline."""
EPOCHS, SECONDS, LIMIT = 20, 2.0, 60
"""A training for the clock is stopped after so many epochs, at the first epoch after so many seconds, or unfinished after `LIMIT`."""
WITH_RUNGS = 0.55
"""The share of all epochs that the trials of a search with rungs train: 27.8 whole trainings of 50, mean over the tuning tables."""


@dataclass(frozen=True)
class Timing:
    """The cost of a training on one fold.

    Args:
        start: seconds before the first epoch and after the last one.
        epoch: seconds of an epoch.
        memory: the most that its process had, in MB.
        size: of its weights, in MB.
    """

    start: float
    epoch: float
    memory: float
    size: float

    def training(self, epochs: float) -> float:
        """Seconds of a training of so many epochs."""
        return self.start + epochs * self.epoch


def timings(runner: Runner, space: Space, recipe: Recipe, seed: int) -> list[Timing]:
    """The cost of a recipe, and of `DRAWN` recipes of the space, trained for a few seconds each; those that fail are missing.

    Every training is stopped, a fast one after its last epoch, so that none goes on with the other folds of a cross-validation. As many
    run at a time as in a search, so that what they share slows them down alike.
    """
    random = Random(seed)
    drawn = [traced(space, lambda domain: domain.sample(random)).recipe for _ in range(DRAWN)]
    reports: dict[str, list[float]] = defaultdict(list)

    def job(number: int, of: Recipe) -> Job:
        key = PREFLIGHT.key.format(f"timing-{number}")
        short = of.replace(study={**of.tree["study"], "epochs": EPOCHS})
        return Job(
            Train(key=key, recipe=short, seed=derived_seed(seed, key), rungs=tuple(range(1, EPOCHS + 1)), time_limit=LIMIT), PREFLIGHT
        )

    def stop(job: Job, epoch: int, _: Epochs) -> bool:
        reports[job.key].append(runner.executor.now())
        return epoch == EPOCHS or (epoch > 1 and reports[job.key][-1] - reports[job.key][0] > SECONDS)

    results: list[Result] = []
    runner.run([job(number, each) for number, each in enumerate([recipe, *drawn])], results.append, stop)
    return [timing_of(result, reports[result.job.key]) for result in results if result.outcome and len(reports[result.job.key]) > 1]


def timing_of(result: Result, reports: Sequence[float]) -> Timing:
    """The cost of a trial whose epochs ended at these times."""
    epoch = (reports[-1] - reports[0]) / (len(reports) - 1)
    metrics = result.metrics
    return Timing(max(0.0, result.seconds - epoch * len(reports)), epoch, metrics.get("peak_memory_mb", 0.0), metrics.get("size_mb", 0.0))
