"""One torch thread a process, no user's settings, and no GPU, unless AUTOOPT_TEST_GPU=1 asks for the tests of these."""

import gc
import os
import random
import shutil
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from zlib import crc32

import pytest

for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = "1"
os.environ.pop("PYTHONSAFEPATH", None)  # a script of a test imports what lies beside it, as a user's does
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # else each process compiles all anew, and pytest the assertions of 40,000 lines
sys.dont_write_bytecode = False
os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
if os.environ.get("AUTOOPT_TEST_GPU") != "1":
    os.environ["CUDA_VISIBLE_DEVICES"] = ""


def pytest_collectstart() -> None:
    """What a module draws for its parameters is the same in each run, whatever was collected before it."""
    seed(0)


@pytest.fixture(autouse=True)
def seeded(request: pytest.FixtureRequest) -> None:
    """What a test draws is the same in each run, whatever ran before it, and not what its module has drawn."""
    seed(crc32(request.node.nodeid.encode()))


def seed(number: int) -> None:
    import numpy  # reads the number of its threads, set above, when it is imported; so does torch
    import torch

    random.seed(number)
    numpy.random.seed(number)
    torch.manual_seed(number)


@pytest.fixture(autouse=True)
def no_settings_of_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME"):
        monkeypatch.delenv(name, raising=False)


def pytest_collection_finish() -> None:
    """What was imported stays; else the garbage collection would go through its millions of objects again and again.

    And Lightning, where it was imported, reads the entry points of all packages once, not for each Trainer.
    """
    if registry := sys.modules.get("lightning.fabric.utilities.registry"):
        registry.entry_points = cache(registry.entry_points)
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database of MLflow's: making one takes seconds."""
    from mlflow import MlflowClient  # takes seconds, too, and few tests need it

    path = tmp_path_factory.mktemp("store") / "mlflow.db"
    MlflowClient(f"sqlite:///{path}").search_experiments()
    return path


@pytest.fixture
def store(template: Path, tmp_path: Path) -> str:
    """A store of MLflow's in the folder of a test, where a command that runs there finds it."""
    return f"sqlite:///{shutil.copy(template, tmp_path / 'mlflow.db')}"


@pytest.fixture
def forks(monkeypatch: pytest.MonkeyPatch) -> None:
    """The trials of a search or a training in this process are forked from it, instead of from one that imports all anew."""
    monkeypatch.setattr("autoopt.plugins.executor.local.is_live", lambda tree: True)


@pytest.fixture(scope="session")
def quick_exporter() -> Iterator[None]:
    """The exporter of ONNX reads the source of its 500 operators once, not at each export, where it takes half of the time."""
    from torch.onnx._internal.exporter._registration import onnxscript_apis

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(onnxscript_apis, "get_torchlib_ops", cache(onnxscript_apis.get_torchlib_ops))
        yield
