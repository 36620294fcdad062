from pathlib import Path

import pytest


@pytest.fixture
def folder(tmp_path) -> Path:
    path = tmp_path / "study"
    path.mkdir()
    return path
