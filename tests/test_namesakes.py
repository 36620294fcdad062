"""One set of Lightning's classes under both of its names, in processes of their own: what is imported cannot be taken back."""

import pytest
import scripts

from autoopt.namesakes import spec_of

MODULE = """
import pytorch_lightning as pl
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class Lit(pl.LightningModule):
    def __init__(self, hidden: int = 4):
        super().__init__()
        self.save_hyperparameters()
        self.net = nn.Sequential(nn.Linear(3, hidden), nn.ReLU(), nn.Linear(hidden, 1))

    def forward(self, x):
        return self.net(x)

    def training_step(self, batch, _):
        print("MY TRAINING STEP")
        return self(batch[0]).square().mean()

    def validation_step(self, batch, _):
        self.log("val_loss", self(batch[0]).square().mean())

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.05)


class Data(pl.LightningDataModule):
    def train_dataloader(self):
        return DataLoader(TensorDataset(torch.rand(32, 3)), 8)

    val_dataloader = train_dataloader
"""
JOINED = """
assert pl.LightningModule is L.LightningModule is lightning.LightningModule
assert pl.callbacks.EarlyStopping is L.callbacks.EarlyStopping is EarlyStopping
assert pl.utilities.types.STEP_OUTPUT is L.utilities.types.STEP_OUTPUT and seed is fabric.seed_everything
assert L.__spec__.name == L.__name__ and torchmetrics.Metric
"""
OLD = """
import lightning_fabric as fabric
import pytorch_lightning as pl
import pytorch_lightning.utilities.types
from lightning_fabric import seed_everything as seed
from pytorch_lightning.callbacks import EarlyStopping
"""
NEW = "import lightning\nimport lightning.pytorch as L\nimport torchmetrics\n"
OURS = "import autoopt\nautoopt.search\n"
NOT_INSTALLED = """
import sys
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("pytorch_lightning", "lightning_fabric"):
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Missing())
"""


pytestmark = pytest.mark.xdist_group("scripts")  # one process to fork them from


def run(script, folder):
    (folder / "script.py").write_text(script)
    return scripts.run(folder / "script.py", folder)


@pytest.mark.slow
@pytest.mark.parametrize(
    "imports",
    [OURS + OLD + NEW, OLD + OURS + NEW, NEW + OURS + OLD, NOT_INSTALLED + OURS + OLD + NEW],
    ids=["autoopt first", "pytorch_lightning first", "lightning first", "pytorch_lightning is not installed"],
)
def test_both_names_have_one_set_of_classes(imports, tmp_path):
    done = run(imports + JOINED, tmp_path)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_a_module_that_there_is_not_is_missing_under_its_own_name(tmp_path):
    done = run(OURS + "import pytorch_lightning.metrics", tmp_path)
    assert done.stderr.splitlines()[-1] == "ModuleNotFoundError: No module named 'pytorch_lightning.metrics'"


@pytest.mark.slow
@pytest.mark.parametrize("made", ["own.Lit", "lambda: own.Lit()"])
def test_a_second_set_of_classes_is_refused(made, tmp_path):
    (tmp_path / "own.py").write_text(MODULE)
    script = f"""
import lightning.pytorch, pytorch_lightning, autoopt, own
own.Lit.__module__ = "__main__"
try:
    autoopt.train(["data=wine", "tracking.enabled=false"], model={made}, quiet=True)
except autoopt.errors.BadInput as error:
    print(error)
"""
    done = run(script, tmp_path)
    assert "is a pytorch_lightning.LightningModule, which was imported beside lightning.pytorch's class" in done.stdout, done.stderr


@pytest.mark.slow
def test_a_project_that_imports_pytorch_lightning_is_trained_as_it_is_and_loaded(tmp_path):
    (tmp_path / "own.py").write_text(MODULE)
    said = ["model=own:Lit", "data=own:Data", "study.epochs=1", "name=t", "tracking.enabled=false"]
    done = run(f"from autoopt.cli import main\nassert main(['train', *{said}]) == 0", tmp_path)
    assert done.returncode == 0, done.stderr
    assert "imported pytorch_lightning as lightning.pytorch 2." in done.stdout
    assert (tmp_path / "autoopt-runs/t/trials/0/log.txt").read_text().count("MY TRAINING STEP") == 4
    loaded = run("import autoopt, torch\nprint(autoopt.load('autoopt-runs/t/best', trust=['own:Lit'])(torch.rand(2, 3)).shape)", tmp_path)
    assert loaded.stdout == "torch.Size([2, 1])\n", loaded.stderr
    beside = run("import autoopt, lightning.pytorch, own\nautoopt.load('autoopt-runs/t/best', trust=['own:Lit'])", tmp_path)
    assert "BadInput: model=own:Lit is a pytorch_lightning.LightningModule, which was imported beside" in beside.stderr


def test_nothing_is_inside_of_a_module_that_is_no_package():
    assert spec_of("autoopt.errors") is not None and spec_of("autoopt.errors.json") is None
    assert spec_of("json.decoder") is not None
