"""One recipe, trained to its end, measured on the test split and exported like a winner."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from autoopt.config import Tree
from autoopt.errors import BadInput
from autoopt.study.export import Advice, export
from autoopt.study.folder import default_name
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
        BadInput: it cannot be trained.
    """
    tree = {**tree, "name": tree["name"] or f"train-{default_name(tree)}"}
    with opened(tree, screen, alone=True) as study:
        recipe, runner, folder = study.space.baseline(), study.runner, study.folder
        weights = folder.weights("0")
        screen.say(f"training {recipe.title()}, {recipe.epochs} epochs (log: {folder.path / 'trials' / '0' / 'log.txt'})")
        screen.stage("train", 1, 0)
        whole = done(collect(runner, [Job("0", "train", recipe, tree["seed"], {"save": str(weights)})]))
        measured, part = whole, "validation"
        if study.facts["test"]:
            screen.stage("test", 1, 0)
            order = {"load": str(weights), "part": "test", "latency": True}
            measured, part = done(collect(runner, [Job("0-test", "test", recipe, tree["seed"], order)])), "test"
        assert whole.outcome is not None and measured.outcome is not None and measured.score is not None
        said = Advice(
            folder.name, f"{study.objective.name} {measured.score:.4f} on the {part} split.", study.objective.name, measured.score
        )
        export(folder.path / "best", recipe, weights, study.facts, said)
        metrics = {**measured.outcome["metrics"], **whole.outcome["metrics"]}
        return Trained(study.objective.name, measured.score, part, metrics, folder.path / "best")


def done(results: list[Result]) -> Result:
    """The one result.

    Raises:
        BadInput: it is a failure.
    """
    (result,) = results
    if result.outcome is None:
        raise BadInput(f"the training failed ({result.reason}): {result.detail}")
    return result
