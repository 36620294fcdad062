"""The distribution as others get it: built, checked, and used outside of this repository, from a file that mypy reads, too."""

import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PARTS = ("autoopt", "plugins", "conf", "pyproject.toml", "README.md", "LICENSE", "MANIFEST.in", "constraints.txt")
TINY = ("study.trials=3", "study.epochs=2", "study.seeds=2", "study.confirm=1", "tracking.enabled=false")
SCRIPT = """
import autoopt
from autoopt.records.verdict import Verdict

found: Verdict = autoopt.search(["data=digits"])
reveal_type(found.gain)
autoopt.search("data=digits", modle=None)
"""

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("wheel")]


def run(command: Sequence[str | Path], folder: Path) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the wheel, built from the source distribution."""
    folder = tmp_path_factory.mktemp("built")
    for part in PARTS:  # building leaves files behind
        source = ROOT / part
        shutil.copytree(source, folder / "source" / part) if source.is_dir() else shutil.copy(source, folder / "source" / part)
    run([sys.executable, "-m", "build", "--no-isolation", "--outdir", folder / "dist", folder / "source"], folder)
    return folder / "dist"


@pytest.fixture(scope="module")
def environment(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with the wheel and the packages of this one, but not with this repository."""
    folder = installed(built, tmp_path_factory.mktemp("environment"))
    (site,) = folder.glob("lib/python*/site-packages")
    (site / "shared.pth").write_text("\n".join(path for path in sys.path if path.endswith("site-packages")))
    return folder


def installed(built: Path, folder: Path) -> Path:
    """An environment with nothing but the wheel."""
    run([sys.executable, "-m", "venv", "--without-pip", folder], built)
    (wheel,) = built.glob("*.whl")
    run([sys.executable, "-m", "pip", "--python", folder / "bin" / "python", "install", "-q", "--no-deps", "--no-index", wheel], built)
    return folder


def test_both_distributions_are_fit_to_be_uploaded(built: Path) -> None:
    files = sorted(built.iterdir())
    assert [file.suffix for file in files] == [".whl", ".gz"]
    assert run([sys.executable, "-m", "twine", "check", "--strict", *files], built).count("PASSED") == 2


def test_the_first_command_of_the_readme_runs_from_the_wheel(environment: Path, tmp_path: Path) -> None:
    line = next(line for line in (ROOT / "README.md").read_text().splitlines() if "/bin/autoopt search" in line)
    words = shlex.split(line.partition("/bin/autoopt ")[2])
    assert "best/ holds the" in run([environment / "bin" / "autoopt", *words, *TINY], tmp_path)
    where = "import autoopt, autoopt.conf, autoopt.plugins; print(*[p.__path__[0] for p in (autoopt, autoopt.conf, autoopt.plugins)])"
    assert run([environment / "bin" / "python", "-c", where], tmp_path).count(str(environment)) == 3


def test_mypy_sees_the_types(built: Path, tmp_path: Path) -> None:
    """Without the packages that autoopt requires, whose types take two minutes to read."""
    python = installed(built, tmp_path / "environment") / "bin" / "python"
    (tmp_path / "script.py").write_text(SCRIPT)
    command = [sys.executable, "-m", "mypy", "--python-executable", python, "--cache-dir", tmp_path / "cache", "script.py"]
    said = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=280).stdout
    assert 'script.py:6: note: Revealed type is "float"' in said
    assert re.findall(r"script.py:(\d+): error: (.*?);", said) == [("7", 'Unexpected keyword argument "modle" for "search"')], said
