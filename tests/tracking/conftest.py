import shutil
from pathlib import Path

import pytest
from mlflow import MlflowClient


@pytest.fixture(scope="session")
def template(tmp_path_factory) -> Path:
    """One migrated database: making one takes seconds."""
    path = tmp_path_factory.mktemp("store") / "mlflow.db"
    MlflowClient(f"sqlite:///{path}").search_experiments()
    return path


@pytest.fixture
def store(template, tmp_path) -> str:
    return f"sqlite:///{shutil.copy(template, tmp_path / 'mlflow.db')}"


@pytest.fixture
def folder(tmp_path) -> Path:
    path = tmp_path / "study"
    path.mkdir()
    return path
