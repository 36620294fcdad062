"""model.onnx beside the exported weights, where the extra is installed."""

from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from autoopt.recipe import Recipe
from autoopt.study.preflight import collect
from autoopt.study.runner import Job, Runner

PACKAGES = ("onnx", "onnxruntime", "onnxscript")


def write_graph(runner: Runner, folder: Path, recipe: Recipe) -> None:
    """Write an exported model as an ONNX graph in a process of its own, and say so where that cannot be done."""
    try:
        for package in PACKAGES:
            version(package)
    except PackageNotFoundError:
        return
    (result,) = collect(runner, [Job("export", "export", recipe, 0, {"onnx": str(folder.resolve())})])
    if result.outcome is None:
        runner.screen.say(f"{folder.name}/model.onnx was not written: {result.detail}")
