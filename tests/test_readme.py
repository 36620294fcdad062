"""What the README says is true today: its catalogue is printed by the command, and its examples run."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from autoopt.commands.plugins import as_markdown
from autoopt.slots import PLUGGABLE

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
QUICK = ["study.trials=3", "study.epochs=2", "study.time=null", "study.confirm=1", "study.seeds=2", "study.compress=2"]
MY_MODELS = """
import lightning.pytorch as L
import torch
from torch import nn


class LitNet(L.LightningModule):
    def __init__(self, channels: int = 8):
        super().__init__()
        self.net = nn.Sequential(
            nn.Conv2d(1, channels, 3), nn.BatchNorm2d(channels), nn.ReLU(), nn.Flatten(), nn.Linear(channels * 36, 10)
        )

    def forward(self, x):
        return self.net(x)

    def training_step(self, batch, index):
        return nn.functional.cross_entropy(self(batch[0]), batch[1])

    def validation_step(self, batch, index):
        self.log("val_acc", (self(batch[0]).argmax(1) == batch[1]).float().mean())

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


def callbacks():
    return [L.callbacks.EarlyStopping("val_acc", mode="max"), L.callbacks.ModelCheckpoint(monitor="val_acc", mode="max")]
"""
TABLE = "rooms,street,price,garden,lift\n" + "\n".join(
    f"{i % 7},{'abc'[i % 3]},{100 + 13 * (i % 7) + 0.5 * i},{int(i % 7 > 4)},{int(i % 3 == 1)}" for i in range(120)
)


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def searches() -> list[str]:
    lines = [line for block in blocks("bash") for line in block.splitlines() if "autoopt search" in line]
    return [line.split("/bin/")[-1] if "/bin/" in line else line for line in lines]


@pytest.fixture
def desk(tmp_path: Path) -> Path:
    """A directory with what the examples take for granted."""
    (tmp_path / "my_models.py").write_text(MY_MODELS)
    (tmp_path / "my_table.csv").write_text(TABLE)
    draw = np.random.default_rng(0)
    for part, count in {"train": 40, "valid": 10}.items():
        for name in ("cat", "dog"):
            (tmp_path / "photos" / part / name).mkdir(parents=True)
            for number in range(count):
                pixels = draw.integers(0, 256, (12, 12, 3), dtype="uint8")
                Image.fromarray(pixels).save(tmp_path / "photos" / part / name / f"{number}.jpg")
    np.savez(tmp_path / "scans.npz", x=draw.random((60, 8, 8)), y=np.arange(60) % 2)
    return tmp_path


def run(command: list[str], folder: Path) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_catalogue_is_current() -> None:
    printed = re.search(r"<!-- catalogue -->\n(.*?)\n<!-- end of catalogue -->", README, re.DOTALL)
    assert printed, "no catalogue between its marks"
    assert printed[1].strip() == as_markdown(list(PLUGGABLE)), "README: put in what `autoopt plugins --markdown` prints"


def test_every_command_that_it_names_is_there() -> None:
    from autoopt.cli import COMMANDS

    named = set(re.findall(r"`?autoopt ([a-z]+)", README)) - {"answers", "searches", "says"}
    assert named & COMMANDS.keys() and not {n for n in named - COMMANDS.keys() if f"`autoopt {n}" in README}


def test_the_set_up_commands_install_into_an_environment_of_their_own() -> None:
    first, second = [b.strip() for b in blocks("bash") if "venv" in b]
    for line in (first, second):
        assert "\n" not in line and "-c constraints.txt" in line
    assert second.endswith("/bin/pytest -n 2")


@pytest.mark.slow
@pytest.mark.parametrize("line", searches())
def test_a_search_of_it_runs(line: str, desk: Path) -> None:
    words = shlex.split(re.sub(r"\s+#.*", "", line))[1:]
    command = [sys.executable, "-c", "import sys; from autoopt.cli import main; sys.exit(main())"]
    said = run([*command, *words, *QUICK, "tracking.enabled=false"], desk)
    assert "best/ holds the" in said


@pytest.mark.slow
@pytest.mark.parametrize("code", [b for b in blocks("python") if "autoopt.search" in b or "autoopt.apply" in b])
def test_a_script_of_it_runs(code: str, desk: Path) -> None:
    (desk / "script.py").write_text(code)
    run([sys.executable, "script.py"], desk)


def test_its_technique_passes_the_contract(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from autoopt.technique import find
    from autoopt.testing import check

    (code,) = [b for b in blocks("python") if "def sign_momentum" in b]
    (tmp_path / "my_opt.py").write_text(code)
    monkeypatch.syspath_prepend(str(tmp_path))
    technique = find("optimizer", "my_opt:sign_momentum")
    assert check(technique) == []
    w = torch.tensor([1.0, 1.0, 1.0], requires_grad=True)
    w.grad = torch.tensor([5.0, -0.1, 0.0])
    technique.load()([w], lr=0.25).step()
    assert w.tolist() == [0.75, 1.25, 1.0], "steps of lr * sign(m)"
