"""model.onnx beside the exported weights, where the extra is installed."""

from importlib.metadata import PackageNotFoundError, version

from autoopt.orders import Graph
from autoopt.recipe import Recipe
from autoopt.study.runner import Job, Runner
from autoopt.study.stages import EXPORT

PACKAGES = ("onnx", "onnxruntime", "onnxscript")


def write_graph(runner: Runner, folder: str, recipe: Recipe) -> None:
    """Write an exported model as an ONNX graph in a process of its own, and print a line if that fails.

    Args:
        folder: of the study, such as `best`.
    """
    try:
        for package in PACKAGES:
            version(package)
    except PackageNotFoundError:
        return
    (result,) = runner.collect([Job(Graph(key=EXPORT.key, recipe=recipe, folder=folder), EXPORT)])
    if result.problem is not None:
        runner.screen.say(f"{folder}/model.onnx was not written: {result.problem.detail}")
