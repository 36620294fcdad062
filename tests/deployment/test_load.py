"""What a loaded model makes of rows, texts and numbers, without the training that came before."""

import json
from math import prod

import lightning.pytorch as L
import numpy as np
import pandas
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from autoopt.config import compose
from autoopt.data.examples import Examples
from autoopt.data.make_task import make_task
from autoopt.data.table import Table
from autoopt.data.task import Task
from autoopt.data.words import Texts
from autoopt.deployment.card import CARD_FACTS
from autoopt.deployment.deployed import Deployed
from autoopt.deployment.graph import example_inputs
from autoopt.deployment.load import load
from autoopt.errors import BadInput
from autoopt.space import Space
from autoopt.store import digest

SPLIT = {"validation": 0.2, "test": 0.2, "seed": 0, "stratify": False, "normalise": True}
START = 2459000.0


class Same(nn.Module):
    """The inputs as outputs: what is seen is the scales."""

    def forward(self, inputs):
        assert inputs.dtype == torch.float32
        return inputs


@pytest.fixture
def night() -> Deployed:
    """A model that gives back Julian dates, from a table of such dates."""
    times = START + np.random.default_rng(0).uniform(0, 0.2, 200)
    task = make_task(Examples(Table(pandas.DataFrame({"jd": times})), torch.tensor(times)[:, None], "regression"), SPLIT)
    assert len(task.parts["train"][0].unique()) == len(task.parts["train"][1].unique()) == 120
    return Deployed(Same(), task)


def test_inputs_and_targets_keep_their_precision(night):
    frame = pandas.DataFrame({"jd": [START + 0.01, START + 0.010001]})
    found = night.predict(frame)
    assert found.dtype == torch.float64 and found.flatten().tolist() == pytest.approx(frame["jd"].tolist(), abs=1e-7, rel=0)


def test_the_stages_keep_it_too(night):
    values = night.encode(pandas.DataFrame({"jd": [START + 0.01, START + 0.010001]}))
    for stage in night.stages():
        values = stage(values)
    assert values.flatten().tolist() == pytest.approx([START + 0.01, START + 0.010001], abs=1e-7, rel=0)


@pytest.mark.slow
def test_the_graph_keeps_it_too(night):
    onnx = pytest.importorskip("autoopt.deployment.onnx")
    task = Task("regression", (1,), inputs=night.inputs, targets=night.targets, encoding=night.encoding)
    examples = example_inputs(task)
    assert examples.dtype == torch.float64 and (examples - START).abs().max() < 10
    graph = onnx.OnnxModel(onnx.to_onnx(night, examples), 0)
    inputs = torch.tensor([[START + 0.01], [START + 0.010001]], dtype=torch.float64)
    assert graph(inputs).flatten().tolist() == pytest.approx(inputs.flatten().tolist(), abs=1e-7, rel=0)


def test_a_row_is_predicted_alike_alone_and_among_others(night):
    rows = [{"jd": START + 0.05}, {"jd": None}, {"jd": str(START)}]
    together = night.predict(rows)
    assert torch.equal(torch.cat([night.predict([row]) for row in rows]), together)


def test_numbers_that_are_inputs_already_need_their_number(night):
    assert night.predict(torch.tensor([[START]], dtype=torch.float64)).shape == (1, 1)
    with pytest.raises(BadInput, match=r"predict: expected 1 numbers in each row, got the shape \(1, 2\)"):
        night.predict(torch.ones(1, 2))


@pytest.mark.parametrize("examples", [{"jd": START}, 3.0, "jd"])
def test_what_is_no_table_is_refused(night, examples):
    with pytest.raises(BadInput, match="predict: expected a DataFrame or a list of rows, got "):
        night.predict(examples)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int32, torch.int64, torch.bool])
def test_integers_become_floats_where_the_model_was_trained_on_floats(dtype):
    class Batches(L.LightningDataModule):
        def __init__(self, inputs):
            super().__init__()
            self.inputs = inputs

        def train_dataloader(self):
            return [(self.inputs, torch.arange(4) % 2)]

    for shape in ((4, 3), (4, 3, 5, 5)):
        inputs = torch.arange(2).repeat(150)[: prod(shape)].view(shape).to(dtype)
        floats, own = (Deployed(nn.Identity(), make_task(Batches(x), SPLIT, scan=False)) for x in (inputs.float(), inputs))
        assert own.outputs_for(inputs).dtype == dtype and torch.equal(own.outputs_for(inputs.numpy()), inputs)
        if len(shape) == 2:
            assert floats.outputs_for(inputs).dtype == torch.float32 and torch.equal(floats.outputs_for(inputs.tolist()), inputs.float())


def test_outputs_that_are_no_scores_of_classes_are_predicted_as_they_are():
    """Of a LightningModule: its data have classes, but it gives images, or several things."""
    task = make_task(Examples(torch.rand(20, 3, 4, 4), torch.arange(20) % 2, "classification"), {**SPLIT, "normalise": False})
    images = torch.rand(5, 3, 4, 4)
    assert torch.equal(Deployed(nn.Identity(), task).predict(images), images)

    class Both(nn.Module):
        def forward(self, x):
            return x, x.mean()

    assert torch.equal(Deployed(Both(), task).predict(images)[0], images)
    assert Deployed(nn.Flatten(), task).predict(images).shape == (5,)


def test_what_cannot_be_numbers_is_refused_with_the_way_out():
    task = make_task(Examples(torch.rand(20, 3), torch.arange(20) % 2, "classification"), {**SPLIT, "normalise": False})
    with pytest.raises(BadInput, match=r"^predict: expected numbers, got list; call `\.model` with what its forward takes"):
        Deployed(nn.Identity(), task).predict(["a text", "another"])


@pytest.mark.parametrize("shapes", [((3,), (3, 4)), ((3, 4, 4), (3, 5, 5))])
def test_examples_of_different_shapes_are_refused_with_the_way_out(shapes):
    """Such as the graphs of PyG, which are tuples of tensors, or images of different sizes."""
    task = make_task(Examples(torch.rand(20, *shapes[0]), torch.arange(20) % 2, "classification"), {**SPLIT, "normalise": False})
    with pytest.raises(BadInput, match=r"^predict: the examples are of different shapes; .* call `\.model` with what its forward takes"):
        Deployed(nn.Identity(), task).predict([np.zeros(shape) for shape in shapes])


LOGITS = torch.tensor([[3.0, -1.0, 0.1], [-3.0, 0.0, -0.1]])


def test_labels_are_predicted_by_name_each_by_itself():
    model = Deployed(Same(), Task("multilabel", (3,), 3, ("a", "b", "c")))
    assert model.predict(LOGITS) == [("a", "c"), ()]
    assert Deployed(Same(), Task("multilabel", (3,), 3)).predict(LOGITS) == [(0, 2), ()]
    torch.testing.assert_close(model.predict_proba(LOGITS), 1 / (1 + (-LOGITS).exp()))


def test_the_probabilities_of_classes_add_up_to_one():
    model = Deployed(Same(), Task("classification", (3,), 3, ("a", "b", "c")))
    assert model.predict(LOGITS) == ["a", "b"]
    torch.testing.assert_close(model.predict_proba(LOGITS), LOGITS.exp() / LOGITS.exp().sum(1, keepdim=True))


def test_what_has_no_probabilities_is_refused():
    with pytest.raises(
        BadInput, match=r"predict_proba: the task is regression, not the logits of classes or labels; call model\(model\.encode"
    ):
        Deployed(Same(), Task("regression", (3,), 3)).predict_proba(LOGITS)
    own = Deployed(Same(), Task("multilabel", (3,), 3), logits=False)
    assert torch.equal(own.predict(LOGITS), LOGITS), "they may be probabilities already"
    with pytest.raises(BadInput, match=r"predict_proba: a LightningModule's outputs are its author's, not the logits"):
        own.predict_proba(LOGITS)


def test_only_texts_are_texts():
    texts = Texts(["good film", "bad film"] * 10, 5, 10)
    task = make_task(Examples(texts, torch.arange(20) % 2, "classification", ("a", "b")), SPLIT)
    model = Deployed(nn.Identity(), task)
    assert model.encode(("good", "bad")).shape == (2, 2) and torch.equal(model.encode(pandas.Series(["good"])), model.encode(["good"]))
    for wrong, said in (("good", "a list of texts, got str"), (pandas.DataFrame({"a": ["good"]}), "got DataFrame"), (5, "got int")):
        with pytest.raises(BadInput, match=said):
            model.predict(wrong)
    with pytest.raises(BadInput, match="predict: expected texts, but number 2 is None"):
        model.predict(["good", None])
    for wrong in ({"text": ["good"]}, {"good", "bad"}, np.array("good")):
        with pytest.raises(BadInput, match=f"predict: expected a list of texts, got {type(wrong).__name__}"):
            model.predict(wrong)
    assert model.encode([]).shape == (0, 2)


NUMBERS = np.random.default_rng(0).normal(size=(8, 3))


@pytest.mark.parametrize(
    "given",
    [NUMBERS.astype(np.longdouble), NUMBERS.astype(">f8"), np.asfortranarray(NUMBERS), NUMBERS.tolist()],
)
def test_numbers_of_every_type_and_order_in_memory(given):
    model = Deployed(Same(), Task("regression", (3,), 3, encoding={"numbers": True}))
    torch.testing.assert_close(model.predict(given), torch.tensor(NUMBERS).float())
    assert torch.equal(model.predict(np.asarray(given)[::-1]), model.predict(given).flip(0))


def test_masked_values_are_no_numbers():
    model = Deployed(Same(), Task("regression", (3,), 3, encoding={"numbers": True}))
    with pytest.raises(BadInput, match="predict: the array has masked values"):
        model.predict(np.ma.masked_array(NUMBERS, NUMBERS > 0))


@pytest.mark.parametrize("kind", ["classification", "multilabel"])
def test_nan_is_no_class(kind):
    model = Deployed(Same(), Task(kind, (3,), 3, ("a", "b", "c"), encoding={"numbers": True}))
    with pytest.raises(BadInput, match="predict: the outputs for row 2 are NaN, which is no class; do its inputs hold NaN"):
        model.predict([[1.0, 2.0, 3.0], [1.0, np.nan, 3.0]])
    assert model.predict_proba([[1.0, np.nan, 3.0]]).isnan().any()


def test_columns_of_several_levels_are_no_columns_of_the_table(night):
    frame = pandas.DataFrame({("jd", "utc"): [START]})
    with pytest.raises(BadInput, match=r"predict: the table has no column 'jd'. Known: \('jd', 'utc'\)"):
        night.predict(frame)


CARD = {"kind": "regression", "input_shape": [3], "outputs": 1, "tokens": 0, "classes": [], "categories": [], "encoding": {}}


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [(key, value, "model.json is not as it was written") for key in ("recipe", "input_shape", "classes", "inputs") for value in (3, True)]
    + [
        ("recipe", None, "model.json is not as it was written"),
        ("outputs", [], "model/linear: TypeError"),
        ("outputs", 1, "the weights do"),
    ],
)
def test_a_card_with_another_value_is_told(key, value, said, tmp_path):
    save_file({"other": torch.ones(1)}, tmp_path / "model.safetensors")
    recipe = dict(Space.of(compose(["data=diabetes", "model=linear"])).baseline().tree)
    card = {"recipe": recipe, "sha256": digest(tmp_path / "model.safetensors"), **dict.fromkeys(CARD_FACTS), **CARD, "lightning": False}
    (tmp_path / "model.json").write_text(json.dumps(card | {key: value}))
    with pytest.raises(BadInput, match=said):
        load(tmp_path)
