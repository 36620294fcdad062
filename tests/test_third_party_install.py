"""A stranger's distribution, really installed into an environment of its own: found, checked and searched."""

import json
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

HERE = Path(__file__).parent

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("third_party")]


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of a fresh environment that sees what we need and has the distribution installed."""
    folder = tmp_path_factory.mktemp("fresh")
    source = shutil.copytree(HERE / "third_party", folder / "source")  # building leaves files behind
    subprocess.run([sys.executable, "-m", "venv", folder / "env"], check=True)
    found = folder / "env" / "bin" / "python"
    (site,) = (folder / "env").glob("lib/python*/site-packages")
    (site / "ours.pth").write_text(f"import site; site.addsitedir({sysconfig.get_path('purelib')!r})\n")
    subprocess.run([found, "-m", "pip", "install", "-q", "--no-deps", source], check=True)
    return found


def autoopt(python: Path, folder: Path, *arguments: str) -> str:
    command = [python, "-c", "import sys; from autoopt.cli import main; sys.exit(main())", *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=250)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_it_is_listed_under_its_distribution(python: Path, tmp_path: Path) -> None:
    rows = json.loads(autoopt(python, tmp_path, "plugins", "--json"))
    owners = {(row["slot"], row["name"]): row["from"] for row in rows}
    assert owners["optimizer", "sign_momentum"].startswith("autoopt-signs ")
    slots = {slot for (slot, _), owner in owners.items() if owner.startswith("autoopt-signs ")}
    assert slots == {
        "optimizer",
        "augmentation",
        "strategy",
        "executor",
    }


def test_it_passes_the_contract(python: Path, tmp_path: Path) -> None:
    assert "4 checked, 0 failed, 0 skipped" in autoopt(python, tmp_path, "plugins", "check", "autoopt-signs")


def test_it_is_searched(python: Path, tmp_path: Path) -> None:
    named = ["optimizer=sign_momentum,adamw", "augmentation=pixel_noise", "strategy=aging_evolution", "name=signs"]
    settings = ["study.trials=4", "study.epochs=3", "study.confirm=1", "study.seeds=1", "tracking.enabled=false"]
    autoopt(python, tmp_path, "search", "data=digits", *named, *settings)
    drawn = autoopt(python, tmp_path, "show", "signs")
    assert "sign_momentum" in drawn and "pixel_noise" in drawn
