"""An exported folder as MLflow loads and serves it."""

import asyncio
import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import lightning.pytorch as L
import mlflow.pyfunc
import numpy as np
import pandas
import pytest
import torch
from mlflow.pyfunc.scoring_server import invocations
from mlflow.types import DataType
from mlflow.utils import requirements_utils
from torch import nn
from torch.nn.functional import cross_entropy

from autoopt.config import compose
from autoopt.data.cells import PLAIN_STYLE, Style
from autoopt.data.column import Column
from autoopt.data.task import Task
from autoopt.deployment.deployed import Deployed
from autoopt.deployment.graph import write_onnx
from autoopt.deployment.load import load
from autoopt.deployment.served import Served, cells, signature_of, write_served
from autoopt.errors import BadInput
from autoopt.orders import Serve, Train
from autoopt.space import Space
from autoopt.study.export import Advice, export
from autoopt.trial.run import prepare, run

HERE = __name__
SHORT = ("device=auto", "study.epochs=1")
OWN = ("optimizer=keep", "schedule=keep", "loss=keep", "regularizer=none", "augmentation=none")


class Pairs(L.LightningModule):
    """Its outputs are a tuple."""

    def __init__(self):
        super().__init__()
        self.net = nn.Linear(13, 3)

    def forward(self, x):
        return self.net(x), self.net(x)

    def training_step(self, batch, _):
        return cross_entropy(self(batch[0])[0], batch[1])

    def validation_step(self, batch, _):
        self.log("val_loss", cross_entropy(self(batch[0])[0], batch[1]))

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=0.01)


class Scores(Pairs):
    def forward(self, x):
        return self.net(x)

    def training_step(self, batch, _):
        return cross_entropy(self(batch[0]), batch[1])

    def validation_step(self, batch, _):
        self.log("val_loss", cross_entropy(self(batch[0]), batch[1]))


class FromNoise(Scores):
    """Its batches are rows with 13 columns, and its `forward` makes others of 4 numbers."""

    def __init__(self):
        super().__init__()
        self.generator = nn.Linear(4, 13)
        self.example_input_array = torch.zeros(2, 4)

    def forward(self, noise):
        return self.generator(noise)

    def training_step(self, batch, _):
        return cross_entropy(self.net(batch[0]), batch[1])

    def validation_step(self, batch, _):
        self.log("val_loss", cross_entropy(self.net(batch[0]), batch[1]))


@pytest.fixture
def exported(tmp_path):
    def go(*overrides: str) -> Path:
        tree = compose([*SHORT, *overrides])
        world, facts = prepare({"tree": tree, "store": str(tmp_path)})
        recipe = Space.of(tree).fitting(facts["absent"]).baseline()
        run(world, Train(key="0", recipe=recipe, objective="val_loss", keep=True).json(), lambda *_: False)
        export(tmp_path / "best", recipe, world.store.weights("0"), facts, Advice("s", "It is.", "val_loss", 1.0))
        run(world, Serve(key="export", recipe=recipe, folder="best").json(), lambda *_: False)
        return tmp_path / "best"

    return go


def served(folder: Path) -> pandas.DataFrame:
    """The predictions for the folder's own example, as a client of the server gets them."""
    model = mlflow.pyfunc.load_model(str(folder))
    sent = (folder / "serving_input_example.json").read_text()
    answer = asyncio.run(asyncio.to_thread(invocations, sent, "application/json", model, model.metadata.get_input_schema()))
    assert answer.status == 200, answer.response
    return pandas.DataFrame(json.loads(answer.response)["predictions"])


def same(folder: Path, examples, expected) -> pandas.DataFrame:
    """The predictions for examples, after a check against those of `autoopt.load`."""
    predicted = mlflow.pyfunc.load_model(str(folder)).predict(examples)
    given = load(folder).predict(expected)
    assert predicted["prediction"].tolist() == (given if isinstance(given, list) else given.flatten().tolist())
    return predicted


@pytest.mark.slow
def test_images(exported, monkeypatch):
    monkeypatch.setattr(requirements_utils, "_MODULES_TO_PACKAGES", None)
    folder = exported("data=digits", "data.digits.train=100", "model=cnn")
    assert requirements_utils._MODULES_TO_PACKAGES is None, "the files of all packages are not read for it"
    images = np.random.default_rng(0).random((3, 1, 8, 8), dtype="float32")
    predicted = same(folder, images, images)
    assert list(predicted) == ["prediction", "probability"]
    torch.testing.assert_close(torch.tensor(predicted["probability"]).float(), load(folder).predict_proba(images).amax(1))
    assert len(served(folder)) == 2
    names = {path.name for path in folder.iterdir()}
    assert {"MLmodel", "input_example.json", "requirements.txt"} <= names
    assert not {name for name in names if name.endswith((".pkl", ".pickle", ".pt", ".pth"))}


@pytest.mark.slow
def test_rows_of_a_table_in_which_numbers_are_written_with_commas(exported, tmp_path):
    rows = "".join(f"{i % 7},5;{'red' if i % 2 else 'blue'};0{i % 9}.0{1 + i % 8}.2024;{'yes' if i % 3 else 'no'};{i}\n" for i in range(90))
    (tmp_path / "t.csv").write_text("size;colour;day;sold;price\n" + rows.replace("00.0", "10.0"))
    folder = exported("data=csv", f"data.csv.path={tmp_path}/t.csv", "data.csv.target=price", "model=mlp")
    frame = pandas.read_csv(tmp_path / "t.csv", sep=";")
    predicted = same(folder, frame.drop(columns="price"), frame)
    assert list(predicted) == ["prediction"] and len(served(folder)) == 2


@pytest.mark.slow
def test_texts(exported, tmp_path):
    lines = (f"{('bad', 'good')[i % 2]}\ta {('bad', 'good')[i % 2]} film {i % 5}\n" for i in range(60))
    (tmp_path / "t.tsv").write_text("".join(lines))
    folder = exported("data=text", f"data.text.path={tmp_path}/t.tsv", "model=recurrent")
    texts = ["a good film", "a bad film"]
    same(folder, pandas.DataFrame({"text": texts}), texts)
    same(folder, pandas.DataFrame({"review": texts}).rename(columns={"review": "text"}), texts)
    assert len(served(folder)) == 2


@pytest.mark.slow
def test_a_path_may_hold_what_looks_like_an_escape(exported, tmp_path):
    folder = tmp_path / "my%20data" / "best"
    shutil.copytree(exported("data=wine", "model=linear"), folder)
    (folder / "MLmodel").unlink()
    (folder / "model.onnx").touch()  # MLmodel names it, which MLflow loads for that
    assert write_served(folder).is_file()


@pytest.mark.slow
def test_a_module_of_ones_own_is_loaded_by_its_import_path(exported):
    folder = exported("data=wine", f"model={HERE}:Scores", *OWN)
    text = (folder / "MLmodel").read_text()
    assert f"{HERE}:Scores" in text, "whoever wrote the model named its code"
    assert len(mlflow.pyfunc.load_model(str(folder)).predict(np.zeros((2, 13), np.float32))) == 2


@pytest.mark.slow
def test_a_forward_takes_what_the_example_of_its_author_is_and_not_what_the_batches_hold(exported):
    folder = exported("data=wine", f"model={HERE}:FromNoise", *OWN)
    noise = np.ones((3, 4), np.float32)
    predicted = load(folder).predict(noise)
    assert predicted.shape == (3, 13), "outputs as they are, no classes"
    assert np.allclose(mlflow.pyfunc.load_model(str(folder)).predict(noise), predicted, atol=1e-6)


def test_the_numbers_of_classes_are_no_integers_that_may_be_missing(recwarn):
    predicted = pandas.DataFrame({"prediction": [1, 0]})
    model = SimpleNamespace(model=SimpleNamespace(encoding={}), predict=lambda _: predicted)
    assert signature_of(model, np.zeros((2, 13), np.float32)).outputs.input_types() == [DataType.long]
    assert not [str(warning.message) for warning in recwarn], "MLflow warns of them"


@pytest.mark.slow
def test_outputs_that_are_no_table_are_refused(exported):
    with pytest.raises(BadInput, match=r"predict: the model returns a tuple, which MLflow cannot pass on; use autoopt\.load"):
        exported("data=wine", f"model={HERE}:Pairs", *OWN)


def test_a_forward_that_takes_two_things_is_told_in_a_line(tmp_path, monkeypatch):
    class Paired(nn.Module):
        def forward(self, x, again):
            return x + again

    model = Deployed(Paired(), Task("classification", (3,), 3), logits=False)
    monkeypatch.setattr("autoopt.deployment.served.load", lambda folder: model)
    monkeypatch.setattr("autoopt.deployment.served.read_card", lambda folder: {"recipe": {}})
    with pytest.raises(BadInput, match=r"^TypeError: .*forward\(\) missing 1 required positional argument: 'again'$"):
        write_served(tmp_path)


@pytest.mark.slow
def test_why_a_graph_cannot_be_traced_is_told_and_not_what_torch_says_to_try(tmp_path, monkeypatch):
    pytest.importorskip("autoopt.deployment.onnx")

    class Branches(nn.Module):
        def forward(self, x):
            return x if x.sum().item() > 0 else -x

    model = Deployed(Branches(), Task("classification", (3,), 3), logits=False)
    monkeypatch.setattr("autoopt.deployment.graph.load", lambda folder: model)
    with pytest.raises(BadInput, match=r"^GuardOnDataDependentSymNode: Could not guard on data-dependent expression"):
        write_onnx(tmp_path)


def test_a_table_without_its_texts_is_refused():
    class Reader:
        encoding = {"vocabulary": ["a"]}  # noqa: RUF012

    with pytest.raises(BadInput, match="predict: the table has no column 'text'"):
        Served(Reader()).predict(pandas.DataFrame({"a": ["x"], "b": ["y"]}))


@pytest.mark.parametrize(
    "column",
    [
        Column("a", "number", fill=1.5),
        Column("a", "number", fill=1.5, style=Style(decimal=",")),
        Column("a", "category", levels=("x", "y")),
        Column("a", "date", fill=19000.5),
        Column("a", "date", fill=19000.0, style=Style(format="%d.%m.%Y")),
        Column("a", "truth value", fill=1.0),
    ],
)
def test_the_cells_of_an_example_can_be_read(column):
    read = column.encoded(pandas.Series(list(cells(column)), name="a"), "row {}".format)
    if column.type != "category":
        assert [column.fill if column.style == PLAIN_STYLE or column.type != "date" else 19000.0] * 2 == list(read[0])
    else:
        assert [list(level) for level in read] == [[1, 0], [0, 1]]


@pytest.mark.parametrize("width", [1, 2])
def test_no_examples_are_no_predictions(width):
    task = Task("regression", (width,), width, encoding={"numbers": True})
    served = Served(Deployed(nn.Identity(), task))
    some, none = (served.predict(np.ones((count, width))) for count in (3, 0))
    assert list(none) == list(some) and len(some) == 3 and len(none) == 0
