"""One recipe, trained to its end, measured on the test part and exported like a winner."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from autoopt.config import Tree
from autoopt.errors import NotConcluded
from autoopt.executor import Executor
from autoopt.orders import Measure, Order, Outcome, Train
from autoopt.records.folder import default_name
from autoopt.records.stages import TEST, TRAIN, Stage
from autoopt.report.numbers import number
from autoopt.report.sentence import PART_WORDS
from autoopt.study.conclusion import Conclusion
from autoopt.study.export import Advice, export
from autoopt.study.forms import write_forms
from autoopt.study.jobs import Job, Result
from autoopt.study.mirror import training_listener
from autoopt.study.runner import Screen
from autoopt.study.search import open_study
from autoopt.study.study import Study
from autoopt.study.warm import warm

JOB_KEY = "0"


@dataclass(frozen=True)
class Trained:
    """The result of a training; `score` is measured on `part`: the test part where there is one, else validation, or the training alone."""

    objective: str
    score: float
    part: str
    metrics: Mapping[str, float]
    path: Path

    @property
    def note(self) -> str:
        place = "of the training" if self.part == "training" else PART_WORDS[self.part]
        return f"{self.objective} {number(self.score)} {place}."

    def conclusion(self) -> Conclusion:
        """What its run in MLflow tells of it: the score on the test part has a name of its own there."""
        score = {"test_score": self.score} if self.part == "test" else {}
        return Conclusion(f"**{self.note}**", score, {"autoopt.state": "trained"}, [self.path], self.path)


def train(tree: Tree, screen: Screen, executor: Executor | None = None) -> Trained:
    """Train the recipe that the tree pins; settings that it leaves open are those of the baseline.

    Raises:
        BadInput: the recipe cannot be trained; nothing was started.
        NotConcluded: the training failed, or the measurement on the test part did; then best/ holds the trained model.
    """
    tree = {**tree, "name": tree["name"] or f"train-{default_name(tree)}"}
    left = "the same command trains it again, from its last checkpoint if it has one"
    with (
        warm(tree, screen, executor, left, searched=False) as ready,
        open_study(ready, ready.begin_training(), True, training_listener) as study,
    ):
        recipe, log = study.space.baseline(), study.runner.executor.store.log(JOB_KEY)
        screen.say(f"training {recipe.title()}, {recipe.epochs} epochs (log: {log})")
        result = run(study, Train(key=JOB_KEY, recipe=recipe, seed=study.seed, keep=True), TRAIN, "the training")
        part = "training" if study.part == "training" else "validation"
        trained = exported(study, result, part, {})
        if study.tests:
            order = Measure(key=TEST.key.format(JOB_KEY), recipe=recipe, seed=study.seed, weights=JOB_KEY, latency=True)
            test = run(study, order, TEST, f"{trained.path} holds the trained model, but the measurement")
            trained = exported(study, test, "test" if study.part == "test" else part, trained.metrics)
        write_forms(study.runner, "best", recipe, study.facts["lightning"])
        study.runner.listener.conclude(trained.conclusion())
        return trained


def run(study: Study, order: Order, stage: Stage, what: str) -> Result:
    """The result of one order.

    Raises:
        NotConcluded: the order failed; `what` begins the message.
    """
    study.runner.screen.stage(stage, 1, 0)
    (result,) = study.runner.collect([Job(order, stage)])
    if result.problem is not None:
        raise NotConcluded(f"{what} failed ({result.problem.reason}): {result.problem.line}")
    return result


def exported(study: Study, result: Result, part: str, before: Mapping[str, float]) -> Trained:
    """Write best/ with the metrics so far.

    Args:
        before: the metrics of the training, where this is the measurement on the test part.
    """
    first, path = study.goal.first, study.folder.path / "best"
    outcome, recipe = result.outcome or Outcome(), result.job.recipe
    score = result.score if result.score is not None else before[first.name]
    trained = Trained(first.name, score, part, {**outcome.metrics, **before}, path)
    advice = Advice(study.folder.name, trained.note, first.name, score, folds=study.tree["split"]["folds"] or 1)
    export(path, recipe, study.runner.executor.store.weights(JOB_KEY), study.facts, advice)
    return trained
