"""Other forms of the exported model beside it: a Lightning checkpoint, an ONNX graph where the extra is installed, an MLflow model."""

from importlib.metadata import PackageNotFoundError, version

from autoopt.orders import Checkpoint, Export, Graph, Serve
from autoopt.recipe import Recipe
from autoopt.records.stages import EXPORT
from autoopt.study.jobs import Job
from autoopt.study.runner import Runner

PACKAGES = ("onnx", "onnxruntime", "onnxscript")


def write_forms(runner: Runner, folder: str, recipe: Recipe, lightning: bool) -> None:
    """Write an exported model in other forms, each in a process of its own, and say so where that cannot be done.

    Args:
        folder: of the study, such as `best`.
        lightning: the model is a LightningModule.
    """
    forms: dict[str, type[Export]] = {"model.ckpt": Checkpoint} if lightning else {}
    forms |= {"model.onnx": Graph} if installed() else {}
    for name, kind in {**forms, "MLmodel": Serve}.items():
        (result,) = runner.collect([Job(kind(key=EXPORT.key, recipe=recipe, folder=folder), EXPORT)])
        if result.problem is not None:
            runner.screen.say(f"{folder}/{name} was not written: {result.problem.detail.removeprefix('BadInput: ')}")


def installed() -> bool:
    """Whether the packages that write graphs are there."""
    try:
        for package in PACKAGES:
            version(package)
    except PackageNotFoundError:
        return False
    return True
