"""One recipe, trained to its end, measured on the test part and exported like a winner."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from autoopt.config import Tree
from autoopt.errors import NotConcluded
from autoopt.executor import Executor
from autoopt.orders import Measure, Order, Outcome, Train
from autoopt.report.sentence import PART_WORDS
from autoopt.study.export import Advice, export
from autoopt.study.folder import default_name
from autoopt.study.graph import write_graph
from autoopt.study.runner import Job, Result, Screen
from autoopt.study.search import open_study, warm
from autoopt.study.stages import TEST, TRAIN, Stage
from autoopt.study.study import Study

JOB_KEY = "0"


@dataclass(frozen=True)
class Trained:
    """What a training came to; `score` is of the `part` test where there is such a split, else of validation."""

    objective: str
    score: float
    part: str
    metrics: Mapping[str, float]
    path: Path


def train(tree: Tree, screen: Screen, executor: Executor | None = None) -> Trained:
    """Train the recipe that the tree pins; what it leaves open is as in the baseline.

    Raises:
        BadInput: it cannot be trained; nothing was started.
        NotConcluded: the training failed, or the measurement on the test part, which leaves what was trained in best/.
    """
    tree = {**tree, "name": tree["name"] or f"train-{default_name(tree)}"}
    with warm(tree, screen, executor) as ready, open_study(ready, ready.begin_training()) as study:
        recipe, log = study.space.baseline(), study.runner.executor.store.log(JOB_KEY)
        screen.say(f"training {recipe.title()}, {recipe.epochs} epochs (log: {log})")
        result = run(study, Train(key=JOB_KEY, recipe=recipe, seed=study.seed, keep=True), TRAIN, "the training")
        trained = exported(study, result, "validation", {})
        if study.facts["test"]:
            order = Measure(key=TEST.key.format(JOB_KEY), recipe=recipe, seed=study.seed, weights=JOB_KEY, latency=True)
            test = run(study, order, TEST, f"{trained.path} holds what was trained, but the measurement")
            trained = exported(study, test, "test" if study.part == "test" else "validation", trained.metrics)
        write_graph(study.runner, "best", recipe)
        return trained


def run(study: Study, order: Order, stage: Stage, what: str) -> Result:
    """The result of one order.

    Raises:
        NotConcluded: it is a failure.
    """
    study.runner.screen.stage(stage, 1, 0)
    (result,) = study.runner.collect([Job(order, stage)])
    if result.problem is not None:
        raise NotConcluded(f"{what} failed ({result.problem.reason}): {result.problem.line}")
    return result


def exported(study: Study, result: Result, part: str, before: Mapping[str, float]) -> Trained:
    """Write best/ with what is known by now, and tell MLflow.

    Args:
        before: the metrics of the training, where this is the measurement on the test part.
    """
    first, path = study.goal.first, study.folder.path / "best"
    outcome, recipe = result.outcome or Outcome(), result.job.recipe
    score = result.score if result.score is not None else before[first.name]
    note = f"{first.name} {score:.4f} {PART_WORDS[part]}."
    export(path, recipe, study.runner.executor.store.weights(JOB_KEY), study.facts, Advice(study.folder.name, note, first.name, score))
    study.runner.listener.conclude(f"**{note}**", {"objective": score}, {"autoopt.state": "trained"}, [path])
    return Trained(first.name, score, part, {**outcome.metrics, **before}, path)
