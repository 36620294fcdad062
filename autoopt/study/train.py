"""One recipe, trained to its end, measured on the test split and exported like a winner."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from autoopt.config import Tree
from autoopt.errors import NotConcluded
from autoopt.study.export import Advice, export
from autoopt.study.folder import default_name
from autoopt.study.graph import write_graph
from autoopt.study.preflight import collect
from autoopt.study.runner import Job, Result, Screen
from autoopt.study.search import opened


@dataclass(frozen=True)
class Trained:
    """What a training came to; `score` is of the `part` test where there is such a split, else of validation."""

    objective: str
    score: float
    part: str
    metrics: Mapping[str, float]
    path: Path


def train(tree: Tree, screen: Screen) -> Trained:
    """Train the recipe that the tree pins; what it leaves open is as in the baseline.

    Raises:
        BadInput: it cannot be trained; nothing was started.
        NotConcluded: the training failed, or the measurement on the test split, which leaves what was trained in best/.
    """
    tree = {**tree, "name": tree["name"] or f"train-{default_name(tree)}"}
    with opened(tree, screen, alone=True) as study:
        recipe, runner, folder = study.space.baseline(), study.runner, study.folder
        weights = folder.weights("0")
        screen.say(f"training {recipe.title()}, {recipe.epochs} epochs (log: {folder.path / 'trials' / '0' / 'log.txt'})")
        screen.stage("train", 1, 0)

        def exported(result: Result, part: str) -> Trained:
            assert whole.outcome is not None and result.outcome is not None and result.score is not None
            name, score = study.objective.name, result.score
            said = Advice(folder.name, f"{name} {score:.4f} on the {part} split.", name, score)
            export(folder.path / "best", recipe, weights, study.facts, said)
            return Trained(name, score, part, {**result.outcome["metrics"], **whole.outcome["metrics"]}, folder.path / "best")

        whole = done(collect(runner, [Job("0", "train", recipe, tree["seed"], {"save": str(weights)})]), "the training")
        trained = exported(whole, "validation")
        if study.facts["test"]:
            screen.stage("test", 1, 0)
            order = {"load": str(weights), "part": "test", "latency": True}
            job = Job("0-test", "test", recipe, tree["seed"], order)
            trained = exported(done(collect(runner, [job]), f"{trained.path} holds what was trained, but the measurement"), "test")
        write_graph(runner, trained.path, recipe)
        return trained


def done(results: list[Result], what: str) -> Result:
    """The one result.

    Raises:
        NotConcluded: it is a failure.
    """
    (result,) = results
    if result.outcome is None:
        raise NotConcluded(f"{what} failed ({result.reason}): {result.detail}")
    return result
