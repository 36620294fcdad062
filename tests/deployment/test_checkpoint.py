"""An exported LightningModule as its author's class loads it."""

from argparse import Namespace
from pathlib import Path

import lightning.pytorch as L
import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from autoopt.config import compose
from autoopt.deployment.checkpoint import write_checkpoint
from autoopt.deployment.graph import inputs_for
from autoopt.deployment.load import load
from autoopt.errors import BadInput
from autoopt.orders import Checkpoint, Graph, Train
from autoopt.space import Space
from autoopt.study.export import Advice, export
from autoopt.trial.run import prepare, run

HERE = __name__
RECIPE = (
    "data=wine",
    "device=auto",
    "study.epochs=1",
    "optimizer=keep",
    "schedule=keep",
    "loss=keep",
    "regularizer=none",
    "augmentation=none",
)


class Lit(L.LightningModule):
    def __init__(self, width: int = 8):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(13, width), nn.ReLU(), nn.Linear(width, 3))

    def forward(self, x):
        return self.net(x)

    def training_step(self, batch, _):
        return cross_entropy(self(batch[0]), batch[1])

    def validation_step(self, batch, _):
        self.log("val_loss", cross_entropy(self(batch[0]), batch[1]))

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=0.01)


class Saved(Lit):
    """Hyperparameters, one of which only a pickle could hold."""

    def __init__(self, width: int = 8, layer: type = nn.ReLU):
        super().__init__(width)
        self.save_hyperparameters()
        self.net[1] = layer()
        self.example_input_array = torch.zeros(1, 13)


class StoresObjects(Lit):
    def on_save_checkpoint(self, checkpoint):
        checkpoint["layer"] = nn.ReLU()


class Told(Lit):
    def __init__(self, args, act=None):
        super().__init__(args.width)


class Mapped(Lit):
    example_input_array = {"x": torch.zeros(1, 13)}  # noqa: RUF012 - as Lightning has it


@pytest.fixture
def exported(tmp_path):
    def go(model: str, *overrides: str) -> Path:
        tree = compose([*RECIPE, f"model={HERE}:{model}", *overrides])
        world, facts = prepare({"tree": tree, "store": str(tmp_path)})
        recipe = Space.of(tree).fitting(facts["absent"]).baseline()
        run(world, Train(key="0", recipe=recipe, objective="val_loss", keep=True).json(), lambda *_: False)
        export(tmp_path / "best", recipe, world.store.weights("0"), facts, Advice("s", "It is.", "val_loss", 1.0))
        go.write = lambda order: run(world, order(key="export", recipe=recipe, folder="best").json(), lambda *_: False)
        return tmp_path / "best"

    return go


@pytest.mark.parametrize(("model", "missing"), [("Lit", {}), ("Saved", {"layer": nn.ReLU})])
def test_the_authors_class_loads_it_without_a_pickle(exported, model, missing):
    folder = exported(model, f"model.{model}.width=5")
    exported.write(Checkpoint)
    again = globals()[model].load_from_checkpoint(folder / "model.ckpt", weights_only=True, **missing).eval()
    x = torch.rand(4, 13)
    assert torch.equal(again(x), load(folder).model(x)) and again.net[0].out_features == 5
    text = (folder / "README.md").read_text()
    arguments = "".join(f", {name}=…" for name in missing)
    assert f"from {HERE} import {model}" in text and "`model.model`" in text
    assert f'{model}.load_from_checkpoint("model.ckpt", weights_only=True{arguments})' in text and str(folder) not in text
    write_checkpoint(folder)
    assert (folder / "README.md").read_text() == text, "it is said once"


def test_of_a_class_that_saves_no_hyperparameters_what_no_checkpoint_holds_is_given_when_it_is_loaded(exported):
    folder = exported("Told", "model.Told.args=argparse:Namespace", "model.Told.args.width=5", "model.Told.act=torch.nn:ReLU")
    assert write_checkpoint(folder) is not None
    given = {"args": Namespace(width=5), "act": nn.ReLU()}
    again = Told.load_from_checkpoint(folder / "model.ckpt", weights_only=True, **given).eval()
    x = torch.rand(4, 13)
    assert torch.equal(again(x), load(folder).model(x))
    assert "weights_only=True, args=…, act=…)" in (folder / "README.md").read_text()


def test_what_the_authors_class_would_not_make_is_not_written(exported):
    folder = exported("Lit", "activation=gelu")
    with pytest.raises(BadInput, match=r"Lit\.load_from_checkpoint would not give this model: .* the recipe has changed its layers"):
        write_checkpoint(folder)
    assert not (folder / "model.ckpt").exists()
    assert "`model.model`" in (folder / "README.md").read_text() and "load_from_checkpoint" not in (folder / "README.md").read_text()


def test_objects_that_the_author_stores_beside_are_told_in_a_line(exported):
    with pytest.raises(BadInput, match=r"^StoresObjects\.load_from_checkpoint .*: the on_save_checkpoint of StoresObjects stores objects"):
        write_checkpoint(exported("StoresObjects"))


def test_of_a_compressed_module_there_is_none(exported):
    folder = exported("Lit", "compression=[half]")
    assert write_checkpoint(folder) is None and not (folder / "model.ckpt").exists()


@pytest.mark.slow
def test_a_graph_is_traced_with_the_modules_own_example(exported):
    pytest.importorskip("onnxscript")
    folder = exported("Saved")
    assert torch.equal(inputs_for(load(folder)), torch.zeros(2, 13)), "a batch of one would stay one"
    exported.write(Graph)
    assert (folder / "model.onnx").exists()


def test_an_example_that_is_no_tensor_is_told(exported):
    folder = exported("Mapped")
    with pytest.raises(BadInput, match="its example_input_array is a dict; a graph is written for one tensor"):
        inputs_for(load(folder))
