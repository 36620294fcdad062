"""autoopt from Python, as a script or a notebook calls it."""

import contextlib
import functools
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from types import SimpleNamespace

import forked
import lightning.pytorch as L
import numpy as np
import pandas
import pyarrow
import pytest
import torch
import yaml
from lightning.pytorch.loggers.logger import DummyLogger
from omegaconf import OmegaConf
from safetensors.torch import load_file
from test_report import verdict as scripted
from torch import nn
from torch.nn.functional import binary_cross_entropy, cross_entropy
from torch.optim import AdamW
from torch.utils.data import DataLoader, TensorDataset

import autoopt
from autoopt.api import Searched, compose_tree
from autoopt.config import compose, is_live
from autoopt.data.examples import Examples
from autoopt.data.splits import Splitter
from autoopt.data.task import Task
from autoopt.deployment.graph import write_onnx
from autoopt.errors import BadInput, NotConcluded
from autoopt.live import import_path
from autoopt.orders import Measure, Problem, Train
from autoopt.plugins.data.npz import npz
from autoopt.recipe import Recipe
from autoopt.records.journal_file import StoreError
from autoopt.records.stages import TRAIN
from autoopt.records.verdict import Verdict
from autoopt.space import Space
from autoopt.study import train as training
from autoopt.study.export import Advice, export
from autoopt.study.jobs import Result
from autoopt.technique import LIVE, find
from autoopt.terminal import Progress
from autoopt.trial.metrics import quality_metrics
from autoopt.trial.run import prepare, run

HERE = __name__
TINY = (
    "study.trials=3",
    "study.epochs=2",
    "study.seeds=2",
    "executor.workers=1",
    "tracking.enabled=false",
    "optimizer=sgd,adamw",
    "schedule=constant",
    "initializer=keep",
    "regularizer=none",
    "augmentation=none",
    "device=cpu",
)


@pytest.fixture(autouse=True, scope="module")
def nothing_is_left_behind():
    yield
    LIVE.clear()
    find.cache_clear()


def examples() -> Examples:
    generator = torch.Generator().manual_seed(0)
    targets = torch.arange(200) % 2
    inputs = torch.randn(200, 4, generator=generator) * 30 + 20 * targets[:, None] + 100
    return Examples(inputs, targets, "classification", ("left", "right"))


class Network(nn.Module):
    def __init__(self, task, hidden: int = 8):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(4, hidden), nn.ReLU(), nn.Linear(hidden, task.outputs))

    def forward(self, x):
        return self.layers(x)


class Lit(L.LightningModule):
    def __init__(self, hidden: int = 8):
        super().__init__()
        self.save_hyperparameters()
        self.net = nn.Sequential(nn.Linear(4, hidden), nn.BatchNorm1d(hidden), nn.ReLU(), nn.Linear(hidden, 2))

    def forward(self, x):
        return self.net(x / 100)

    def training_step(self, batch, _):
        return cross_entropy(self(batch[0]), batch[1])

    def validation_step(self, batch, _):
        self.log("val_acc", (self(batch[0]).argmax(1) == batch[1]).float().mean())

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


def labelled() -> Examples:
    inputs, targets = examples().inputs, torch.arange(200)
    return Examples(inputs, torch.stack([targets % 2, targets % 3 == 0], 1), "multilabel", ("odd", "third"))


class Sigmoid(Lit):
    """It gives the probabilities of labels."""

    def forward(self, x):
        return super().forward(x).sigmoid()

    def training_step(self, batch, _):
        return binary_cross_entropy(self(batch[0]), batch[1])

    def validation_step(self, batch, _):
        self.log("val_loss", binary_cross_entropy(self(batch[0]), batch[1]))


class Bag(L.LightningDataModule):
    def __init__(self):
        super().__init__()
        self.batch_size = 32

    def loader(self, rows: slice) -> DataLoader:
        found = examples()
        return DataLoader(TensorDataset(found.inputs[rows], found.targets[rows]), self.batch_size)

    def train_dataloader(self):
        return self.loader(slice(0, 120))

    def val_dataloader(self):
        return self.loader(slice(120, 160))

    def test_dataloader(self):
        return self.loader(slice(160, 200))


def dropping(model) -> None:
    """A regularizer that changes the model: what it holds moves one level down."""
    network = getattr(model, "model", model)
    network.layers = nn.Sequential(nn.Dropout(0.1), network.layers)


# -------------------------------------------------------------------------------------------------------------------- search and train


def local() -> dict:
    """What cannot be imported; another at each call."""

    class Local(nn.Module):
        def __init__(self, task, hidden: int = 8):
            super().__init__()
            self.layers = nn.Sequential(nn.Linear(4, hidden), nn.ReLU(), nn.Linear(hidden, task.outputs))

        def forward(self, x):
            return self.layers(x)

    return {"model": Local, "data": lambda: examples()}


searched = pytest.mark.xdist_group("the verdict of test_api")  # in one process, so that one search serves all


@pytest.fixture(scope="module")
def verdict(tmp_path_factory) -> Verdict:
    with contextlib.chdir(tmp_path_factory.mktemp("study")):  # what it gives can be used from elsewhere
        return autoopt.search(TINY, **local(), quiet=True)


@searched
@pytest.mark.slow
def test_a_local_class_and_a_function_are_searched_over(verdict):
    assert verdict.study.startswith("data-Local-")
    assert verdict.baseline.trial == "0" and verdict.best in (verdict.baseline, verdict.winner)
    assert len(verdict.baseline.scores) == 2
    assert verdict.objective == "val_accuracy" and verdict.part == "test"
    assert sum(verdict.counts.values()) == 3


@searched
@pytest.mark.slow
def test_the_trials_are_a_table(verdict):
    table = verdict.trials()
    assert isinstance(table, pandas.DataFrame) and [*table.index] == ["0", "1", "2"]
    assert set(table.state) <= {"complete", "stopped"} and set(table.stage) == {"search"}
    assert set(table.optimizer) <= {"sgd", "adamw"} and table.loc["0", "optimizer"] == "sgd"
    assert (table.score == table.val_accuracy).all() and table.loc["0", "optimizer.sgd.lr"] == 0.1
    assert {"epochs", "seconds", "reason", "batches.size"} <= {*table.columns}


@searched
@pytest.mark.slow
def test_a_notebook_shows_the_verdict(verdict):
    shown = verdict._repr_html_()
    assert verdict.study in shown and "val_accuracy on the test split" in shown and f"{verdict.baseline.score:.4f}" in shown
    words, _, figures = shown.partition("<div")
    assert words.count("<tr>") == words.count("</tr>") > 4 and f"{verdict.role} (trial" in words
    assert figures.count('class="plotly-graph-div"') == 2 and figures.count("Plotly.newPlot(") == 2
    assert "https://cdn" not in figures.partition("</script>")[0][:1000], "plotly comes along"


def test_a_notebook_shows_the_verdict_of_a_folder_that_was_moved(tmp_path):
    given = scripted(folder=str(tmp_path / "gone" / "s"))
    shown = Searched(**{f.name: getattr(given, f.name) for f in fields(given)})._repr_html_()
    assert "winner (trial 7)" in shown and "plotly" not in shown
    with pytest.raises(BadInput, match="No study named 's'"):
        Searched(**{f.name: getattr(given, f.name) for f in fields(given)}).trials()


@searched
@pytest.mark.slow
def test_a_notebook_draws_a_figure_by_its_name(verdict):
    assert verdict.plot("history").layout.title.text == "Best so far"
    with pytest.raises(BadInput, match=r"has nothing to show in the figure 'front'\. Known: .*history"):
        verdict.plot("front")


@searched
@pytest.mark.slow
def test_the_best_of_a_search_can_be_loaded_where_its_class_is(verdict):
    model = autoopt.load(f"{verdict.folder}/best")
    found = examples()
    raw = found.inputs[parts_of(found)["validation"]]
    assert model(raw).shape == (40, 2) and model.classes == ("left", "right") and not model.training


@searched
@pytest.mark.slow
def test_the_same_call_resumes(verdict):
    again = autoopt.search([*TINY, f"root={Path(verdict.folder).parent}"], **local(), quiet=True)
    assert again.tree() | {"elapsed": 0} == verdict.tree() | {"elapsed": 0}


def nets(hidden: int) -> list:
    class Local(nn.Module):
        def forward(self, x):
            return x + 1

    first = Local

    class Local(nn.Module):
        def forward(self, x):
            return x + 2

    short = [lambda: Network(None, 3), lambda: Network(None, 4)]
    typed = [eval(f"lambda: Network(None, {i})") for i in (3, 4)]  # noqa: S307 - without a source
    return [first, Local, *short, *typed, lambda: Network(None, hidden), functools.partial(Network, hidden=hidden)]


@pytest.mark.slow
def test_of_what_cannot_be_imported_two_objects_are_two_and_the_same_source_is_one():
    paths = [import_path("model", made) for made in nets(5)]
    assert paths == [import_path("model", made) for made in nets(5)]
    assert len({*paths}) == 6 and paths[2:4] == paths[4:6]  # a lambda is what it does
    assert [one == other for one, other in zip(paths, (import_path("model", made) for made in nets(6)), strict=True)] == [True] * 6 + [
        False
    ] * 2
    tree = compose_tree(["data=digits"], nets(5)[0], None)
    assert [*tree["model"]] == ["Local"] and tree["model"]["Local"]["from"] == paths[0]


WIDTH = 5


class Holder:
    def __init__(self, width):
        self.width = width

    def build(self, task):
        return Network(task, self.width)


def local_base(shift: int) -> type:
    class Base(nn.Module):
        def forward(self, x):
            return x + shift

    class Local(Base):
        pass

    return Local


HELD = {
    "an object": Holder,
    "a method": lambda width: Holder(width).build,
    "an argument": lambda width: functools.partial(Network, settings=SimpleNamespace(width=width)),
    "a module": lambda width: functools.partial(Network, loss=nn.CrossEntropyLoss(label_smoothing=1 / width)),
    "a list": lambda width: (lambda held: lambda task: Network(task, held[0]))([width]),
    "a function": lambda width: (lambda inner: lambda task: Network(task, inner()))(lambda: width),
    "a class": lambda width: (lambda inner: lambda task: inner())(Network if width == 5 else Lit),
    "a base": local_base,
    "data": lambda width: functools.partial(list, TensorDataset(torch.full((3, 2), float(width)))),
}


@pytest.mark.parametrize("held", HELD.values(), ids=HELD)
def test_what_an_object_holds_on_to_makes_another_study(held):
    assert import_path("model", held(5)) == import_path("model", held(5)) != import_path("model", held(6))


def chain(length: int, end: int) -> Holder:
    first = Holder(end)
    for _ in range(length):
        first = Holder(first)
    return first


class Unshown(int):
    def __repr__(self):
        raise ValueError("not shown")


def sharing(width: int) -> set:
    shared = Holder(width)
    return {Holder((number, shared)) for number in range(20)}


HELD_DATA = {
    "a deep chain": lambda width: chain(2000, width),
    "an array of Arrow": lambda width: pyarrow.array([1, None, width]),
    "columns": lambda width: pandas.DataFrame([[1, 2]], columns=["a", "b"] if width == 5 else ["b", "a"]),
    "a config": lambda width: OmegaConf.create({"lr": width, "deep": {"to": "${lr}"}}),
    "a set of objects": sharing,
    "beside what cannot be shown": lambda width: [{"a": Unshown(1)}, width],
}


@pytest.mark.parametrize("held", HELD_DATA.values(), ids=HELD_DATA)
def test_data_of_any_form_that_an_object_holds_makes_another_study(held):
    paths = [import_path("model", functools.partial(Network, held=held(width))) for width in (5, 5, 6)]
    assert paths[0] == paths[1] != paths[2]


def test_a_config_that_was_read_is_the_same():
    config = OmegaConf.create({"optimizer": {"lr": 0.1}})
    made = functools.partial(Network, config=config)
    before = import_path("model", made)
    assert config.optimizer.lr and import_path("model", made) == before


def test_what_a_function_looks_up_makes_another_study(monkeypatch):
    def here(task):
        return Network(task, WIDTH)

    before = import_path("model", here)
    monkeypatch.setattr(sys.modules[HERE], "WIDTH", 6)
    assert import_path("model", here) != before


@pytest.mark.slow
def test_a_script_that_is_run_again_names_its_objects_alike():
    script = (
        "import logging, numpy, threading, torch; from autoopt.live import import_path\n"
        "words, log, lock = {'a', 'b', 'c'}, logging.getLogger('x'), threading.Lock()\n"
        "net, draw = torch.nn.Linear(3, 2), numpy.random.default_rng()\n"
        "print(import_path('model', lambda task: (words, log.info, lock, net, draw.random())))"
    )
    seeds = ({**os.environ, "PYTHONHASHSEED": seed} for seed in "12")
    assert len({subprocess.run([sys.executable, "-c", script], env=env, check=True, capture_output=True).stdout for env in seeds}) == 1


@pytest.mark.slow
def test_only_a_search_that_names_what_cannot_be_imported_is_forked_from_here(monkeypatch):
    assert is_live(compose_tree(["data=digits"], lambda: Network(None), None))
    assert LIVE and not is_live(compose_tree(["data=digits"], Network, None))
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    compose_tree(["data=digits"], Network, None)
    with pytest.raises(BadInput, match=r"model=__main__\.\w+:model cannot be passed .* uses CUDA already, .* import path: model="):
        autoopt.search(["data=digits"], model=lambda: Network(None), quiet=True)


@pytest.mark.parametrize(("lost", "device", "refused"), [(True, "auto", True), (True, "cpu", False), (False, "auto", False)])
def test_a_process_whose_forks_cannot_use_a_gpu_passes_nothing_to_trials_that_do(lost, device, refused, monkeypatch):
    """As after `torch.cuda.is_available()`, unless autoopt or Lightning was imported before."""
    monkeypatch.setattr(torch.backends.cuda, "is_built", lambda: True)
    monkeypatch.setattr(torch.cuda, "_is_in_bad_fork", lambda: lost)
    with pytest.raises(BadInput, match="asked for it before it imported autoopt") if refused else contextlib.nullcontext():
        compose_tree(["data=digits", f"device={device}"], lambda: Network(None), None)


def test_who_asks_for_a_gpu_after_the_import_does_not_begin_to_use_it():
    script = "import autoopt, os, sys; print(os.environ['PYTORCH_NVML_BASED_CUDA_CHECK'], 'torch' in sys.modules)"
    env = {name: value for name, value in os.environ.items() if name != "PYTORCH_NVML_BASED_CUDA_CHECK"}
    assert subprocess.run([sys.executable, "-c", script], env=env, check=True, capture_output=True, text=True).stdout == "1 False\n"


def test_all_problems_of_a_search_are_said_before_anything_starts(tmp_path):
    with pytest.raises(BadInput, match=r"(?s)No optimizer named 'adamww'\. Did you mean 'adamw'\?.*study\.trials=many: expected int"):
        autoopt.search(["data=digits", "optimizer=adamww", "study.trials=many", f"root={tmp_path}"], quiet=True)
    assert not [*tmp_path.iterdir()]


@pytest.mark.slow
def test_one_recipe_is_trained_and_exported(tmp_path, capfd):
    made = autoopt.train([*TINY, "optimizer=adamw", f"root={tmp_path}"], model=lambda task: Network(task, 3), data=examples, quiet=True)
    assert made.objective == "val_accuracy" and made.score == made.metrics["test_accuracy"] and made.metrics["latency_ms"] > 0
    assert made.path.parent.parent == tmp_path and made.path.name == "best" and made.path.parent.name.startswith("train-")
    assert autoopt.load(made.path).model.layers[0].out_features == 3
    assert capfd.readouterr().out == ""


@pytest.mark.slow
def test_a_trainer_is_given_from_python(tmp_path):
    stops = []

    def stopping() -> L.Callback:
        stops.append(1)
        return L.callbacks.EarlyStopping("val_acc", stopping_threshold=0.0, mode="max", patience=0)

    over = ["study.epochs=3", f"root={tmp_path}", "tracking.enabled=false"]
    trained = autoopt.train(over, model=Lit, data=Bag, trainer={"callbacks": stopping, "gradient_clip_val": 0.5}, quiet=True)
    recipe = yaml.safe_load((trained.path / "recipe.yaml").read_text())
    assert recipe["trainer"]["gradient_clip_val"] == 0.5 and recipe["trainer"]["callbacks"].endswith(":stopping")
    assert trained.metrics["epochs_trained"] == 1 and not stops, "called in the trial alone"


@pytest.mark.slow
def test_a_trainers_argument_may_be_a_choice():
    tree = compose_tree([], Lit, Bag, {"gradient_clip_val": autoopt.Choice(None, 1.0), "callbacks": lambda: []})
    assert tree["trainer"]["gradient_clip_val"] == "choice(null, 1.0)" and is_live(tree)


class Blind(Bag):
    def test_dataloader(self):
        raise OSError("the test split is on fire")


@pytest.mark.slow
def test_a_test_part_that_cannot_be_measured_is_told_before_the_training(tmp_path, capfd):
    found = autoopt.train([*TINY, "optimizer=adamw", f"root={tmp_path}"], model=lambda task: Network(task), data=Blind)
    assert found.part == "validation"
    assert "the test split cannot be measured: OSError: the test split is on fire\n" in capfd.readouterr().out
    (best,) = tmp_path.glob("*/best")
    assert autoopt.load(best)(examples().inputs).shape == (200, 2)
    assert "on the validation split" in (best / "README.md").read_text()


def test_a_training_that_fails_is_not_bad_input():
    class Failing:
        def collect(self, jobs):
            return [Result(job, problem=Problem("error", "of course")) for job in jobs]

        screen = Progress(quiet=True)

    study = SimpleNamespace(runner=Failing())
    with pytest.raises(NotConcluded, match=r"^the training failed \(error\): of course$"):
        training.run(study, Train(key="0", recipe=Recipe({})), TRAIN, "the training")


@pytest.mark.slow
def test_importable_classes_are_searched_over_in_a_process_of_their_own(tmp_path, monkeypatch):
    for path in [*LIVE]:
        monkeypatch.delitem(LIVE, path)
    short = ["optimizer=recommended", "study.trials=2", "study.seeds=1", "study.ablation=false", f"root={tmp_path}"]
    found = autoopt.search([*TINY, *short], model=Lit, data=Bag, quiet=True)
    assert import_path("model", Network) == f"{HERE}:Network" and import_path("data", examples) == f"{HERE}:examples"
    assert not LIVE and found.part == "test"
    assert found.baseline.recipe["model"]["Lit"]["from"] == f"{HERE}:Lit"
    assert [*found.baseline.recipe["optimizer"]] == ["keep"]
    assert autoopt.load(f"{found.folder}/best")(examples().inputs).shape == (200, 2)


# --------------------------------------------------------------------------------------------------------------------------------- load


@pytest.fixture
def exported(tmp_path):
    """Train, measure on the test part and export what the overrides say; `named` puts another recipe beside the weights."""

    def go(*overrides: str, **slots):
        tree = compose(["device=cpu", "study.epochs=2", *overrides])
        world, facts = prepare({"tree": tree, "store": str(tmp_path)})
        recipe = Space.of(tree).fitting(facts["absent"]).baseline().replace(**slots)
        run(world, Train(key="0", recipe=recipe, seed=3, keep=True).json(), lambda *_: False)
        tested = run(world, Measure(key="0-test", recipe=recipe, seed=3, weights="0").json(), lambda *_: False)["metrics"]
        export(
            tmp_path / "best", recipe, world.store.weights("0"), json.loads(json.dumps(facts)), Advice("title", "It is so.", "val_x", 0.5)
        )
        return tmp_path / "best", world.task, {k.removeprefix("test_"): v for k, v in tested.items() if k.startswith("test_")}

    return go


def parts_of(found: Examples) -> dict[str, torch.Tensor]:
    split = {"validation": 0.2, "test": 0.2, "seed": 0, "stratify": True}
    return next(Splitter(found.targets, found.kind == "classification", {}, None, split).parts())


def loss_of(task: Task, tested: dict[str, float]) -> dict[str, float]:
    """The loss of values, which is that of the scaled targets."""
    return {} if task.targets is None else {"loss": (tested["rmse"] / float(task.targets.deviation)) ** 2}


def raw(name: str) -> tuple[torch.Tensor, torch.Tensor]:
    """The test part as the user has it."""
    found = find("data", name).load()()
    rows = parts_of(found)["test"]
    return found.inputs[rows], found.targets[rows]


@pytest.mark.parametrize("compression", [{}, {"half": {"use": True, "dtype": "bfloat16"}}], ids=["whole", "half"])
@pytest.mark.parametrize(("data", "model"), [("breast_cancer", "mlp"), ("digits", "cnn"), ("diabetes", "mlp")])
def test_what_is_loaded_takes_raw_inputs_and_gives_what_was_measured(exported, data, model, compression):
    path, task, tested = exported(f"data={data}", f"model={model}", compression=compression)
    inputs, targets = raw(data)
    loaded = autoopt.load(path)
    outputs = loaded(inputs).detach()
    assert quality_metrics(task.kind, outputs, targets, tested) | loss_of(task, tested) == pytest.approx(tested, rel=1e-6)
    assert loaded.classes == task.classes and not loaded.training
    if not compression:
        x = task.parts["test"][0]
        by_hand = loaded.model(x).detach()
        assert torch.equal(outputs, by_hand if task.targets is None else task.targets.invert(by_hand))


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("before", [{}, {"prune_magnitude": {"use": True, "sparsity": 0.5, "epochs": 0}}], ids=["alone", "pruned"])
@torch.no_grad()
def test_the_graph_of_a_model_in_16_bits_computes_in_float32(exported, dtype, before):
    onnx = pytest.importorskip("autoopt.deployment.onnx")
    path, task, _ = exported("data=breast_cancer", "model=mlp", compression={**before, "half": {"use": True, "dtype": dtype}})
    graph = onnx.OnnxModel(write_onnx(path).read_bytes(), 0)
    inputs, loaded = raw("breast_cancer")[0], autoopt.load(path)
    torch.testing.assert_close(graph(inputs), loaded.model.dense()(task.inputs.apply(inputs)), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(graph(inputs), loaded(inputs), atol=0.05, rtol=0.05)


@pytest.mark.parametrize(("kind", "model"), [("sequences", "recurrent"), ("images", "cnn")])
def test_sequences_and_images_in_raw_units_are_learnt_and_predicted(exported, tmp_path, kind, model):
    generator = np.random.default_rng(0)
    classes = np.arange(400) % 2
    if kind == "sequences":  # of pressure and temperature, which rises or falls
        slope = np.linspace(-1, 1, 6) * (2 * classes[:, None] - 1) + generator.normal(0, 0.3, (400, 6))
        inputs = np.stack([1e5 + generator.normal(0, 200, (400, 6)), 300 + 0.5 * slope], 2).astype("float32")
    else:  # dark ones, of which the lower half is lighter or darker
        inputs = generator.integers(20, 30, (400, 8, 8, 3)).astype("uint8")
        inputs[:, 4:] += (4 * classes[:, None, None, None]).astype("uint8")
    np.savez(tmp_path / "raw.npz", x=inputs, y=classes)
    fitting = {"optimizer": {"adamw": {"lr": 0.02, "weight_decay": 0.0, "beta1": 0.9}}}
    layout = "numbers" if kind == "sequences" else "NHWC"
    said = ("data=npz", f"data.npz.path={tmp_path / 'raw.npz'}", f"data.npz.layout={layout}", f"model={model}", "study.epochs=6")
    path, task, tested = exported(*said, **fitting)
    assert tested["accuracy"] > 0.95
    loaded, test = autoopt.load(path), parts_of(npz(path=str(tmp_path / "raw.npz"), layout=layout))["test"].numpy()
    right = np.array(loaded.predict(inputs[test])) == classes[test].astype(str)
    assert right.mean() == pytest.approx(tested["accuracy"])
    torch.testing.assert_close(loaded.inputs.lists(), task.inputs.lists())


@pytest.mark.parametrize("normalise", ["true", "false"])
@pytest.mark.parametrize(
    ("shape", "dtype", "layout"),
    [
        ((6,), "uint8", "numbers"),
        ((5, 2), "uint8", "numbers"),
        ((1, 3, 4), "uint8", "numbers"),
        ((2, 1, 3, 2), "uint8", "numbers"),
        ((6,), "int64", "numbers"),
        ((6,), "bool", "numbers"),
        ((6,), ">f4", "numbers"),
        ((4, 3), "uint8", "NHW"),
    ],
)
def test_arrays_of_any_type_are_predicted_as_in_training(exported, tmp_path, shape, dtype, layout, normalise):
    generator, classes = np.random.default_rng(0), np.arange(300) % 2
    inputs = generator.integers(0, 2, (300, *shape))
    inputs.reshape(300, -1)[:, 0] = classes
    np.savez(tmp_path / "raw.npz", x=inputs.astype(dtype), y=classes)
    said = (f"data.npz.path={tmp_path / 'raw.npz'}", f"data.npz.layout={layout}", f"split.normalise={normalise}")
    path, task, _ = exported("data=npz", "model=linear", *said)
    test = parts_of(npz(path=str(tmp_path / "raw.npz"), layout=layout))["test"].numpy()
    loaded, (x, _) = autoopt.load(path), task.parts["test"]
    torch.testing.assert_close(loaded.outputs_for(inputs.astype(dtype)[test]), loaded.model(x[:]))


def test_rows_of_a_table_are_predicted_as_they_stand_in_its_file(exported, tmp_path):
    file = tmp_path / "homes.csv"
    rows = [f"{i % 5 if i % 9 else ''},{'abc'[i % 3]},2020-01-{1 + i % 28:02},{10 * (i % 5) + i % 3}" for i in range(90)]
    file.write_text("\n".join(["rooms,street,built,price", *rows]))
    path, task, tested = exported("data=csv", f"data.csv.path={file}", "data.csv.target=price", "data.csv.kind=regression", "model=mlp")
    loaded, frame = autoopt.load(path), pandas.read_csv(file)
    test = parts_of(find("data", "csv").load()(path=str(file), target="price", kind="regression"))["test"].numpy()
    found = loaded.predict(frame.iloc[test].drop(columns="price"))
    by_hand = quality_metrics("regression", found, torch.tensor(frame["price"].to_numpy()[test])[:, None], tested)
    assert by_hand | loss_of(task, tested) == pytest.approx(tested, rel=1e-5)
    row = frame.iloc[:1].to_dict("records")
    torch.testing.assert_close(loaded.predict(row), loaded.predict(frame.iloc[:1]))
    with pytest.raises(BadInput, match=r"^predict: the table has no column 'street'"):
        loaded.predict(frame.drop(columns="street"))


def test_labels_of_a_table_are_predicted_by_the_names_of_their_columns(exported, tmp_path):
    frame = pandas.DataFrame({"a": [i % 7 / 7 for i in range(120)], "b": [i % 5 / 5 for i in range(120)]})
    frame = frame.assign(high=frame["a"] > 0.5, wide=frame["b"] > 0.5)
    frame.to_csv(tmp_path / "t.csv", index=False)
    fitting = {"optimizer": {"adamw": {"lr": 0.05, "weight_decay": 0.0, "beta1": 0.9}}}
    said = ("data=csv", f"data.csv.path={tmp_path / 't.csv'}", "data.csv.target=[high,wide]", "model=mlp", "loss=bce", "study.epochs=20")
    path, _, tested = exported(*said, **fitting)
    card = json.loads((path / "model.json").read_text())
    assert (card["kind"], card["classes"], card["recipe"]["loss"].keys()) == ("multilabel", ["high", "wide"], {"bce"})
    assert tested.keys() >= {"f1", "recall", "precision", "accuracy", "exact_match", "loss"} and tested["exact_match"] == 1
    loaded = autoopt.load(path)
    expected = [tuple(name for name in ("high", "wide") if row[name]) for row in frame[:35].to_dict("records")]
    assert loaded.predict(frame[:35]) == expected
    assert torch.equal(loaded.predict_proba(frame[:35])[:, 0] > 0.5, torch.tensor(frame["high"][:35].to_numpy()))


@pytest.mark.slow
def test_the_outputs_of_a_lightning_module_with_labels_are_its_own(exported, tmp_path):
    path, _, _ = exported(f"data={HERE}:labelled", f"model={HERE}:Sigmoid")
    outputs = autoopt.load(path).predict(labelled().inputs)
    assert outputs.shape == (200, 2) and outputs.min() >= 0 and outputs.max() <= 1


@pytest.mark.slow
def test_texts_and_images_are_predicted_by_the_names_of_their_classes(exported, tmp_path):
    file = tmp_path / "said.tsv"
    lines = [("good", f"a fine film {i}") if i % 2 else ("bad", f"what a bore {i}") for i in range(60)]
    file.write_text("\n".join("\t".join(line) for line in lines))
    fitting = {"optimizer": {"adamw": {"lr": 0.05, "weight_decay": 0.0, "beta1": 0.9}}}
    path, _, tested = exported("data=text", f"data.text.path={file}", "model=mlp", "study.epochs=10", **fitting)
    assert tested["accuracy"] == 1
    assert autoopt.load(path).predict(["A fine film!", "what a bore, what a film"]) == ["good", "bad"]

    loaded = autoopt.load(exported("data=digits", "model=mlp")[0])
    pixels = (255 * raw("digits")[0][:5]).round().to(torch.uint8)
    said = loaded.predict(pixels)
    assert said == loaded.predict(pixels.numpy()) == loaded.predict(pixels / 255) and set(said) <= set(loaded.classes)


def test_nothing_in_the_folder_is_pickled(exported):
    path, _, _ = exported("data=breast_cancer", "model=mlp")
    assert {p.name for p in path.iterdir()} == {"recipe.yaml", "model.safetensors", "model.json", "README.md"}
    card = json.loads((path / "model.json").read_text())
    assert card["techniques"]["model/mlp"].startswith("autoopt ") and "of one training" in card["seeds"] in (path / "README.md").read_text()
    assert (card["classes"], card["input_shape"], card["objective"], card["score"]) == (["malignant", "benign"], [30], "val_x", 0.5)
    assert load_file(path / "model.safetensors").keys() >= {"model.1.0.weight"}
    assert 'autoopt.load(".")' in (path / "README.md").read_text()


def test_the_recipe_file_is_a_config(exported):
    path, _, _ = exported("data=breast_cancer", "model=mlp")
    recipe = Space.of(compose([], str(path / "recipe.yaml"))).baseline()
    assert recipe.tree == json.loads((path / "model.json").read_text())["recipe"]


@pytest.mark.parametrize("model", ["Network", "Lit"])
def test_a_module_of_the_users_is_loaded(exported, model):
    data = f"data={HERE}:{'Bag' if model == 'Lit' else 'examples'}"
    path, _, _ = exported(data, f"model={HERE}:{model}", f"model.{model}.hidden=5", activation={"elu": {"alpha": 0.5}})
    loaded = autoopt.load(path)
    assert type(loaded.model).__name__ == model
    assert any(isinstance(m, nn.ELU) and m.alpha == 0.5 for m in loaded.modules())
    weights = load_file(path / "model.safetensors")
    for name, tensor in loaded.model.state_dict().items():
        assert torch.equal(weights[name if model == "Lit" else f"model.{name}"], tensor)
    assert loaded(examples().inputs).shape == (200, 2)


def test_a_regularizer_that_changes_the_model_changes_what_is_loaded(exported):
    path, _, tested = exported(f"data={HERE}:examples", f"model={HERE}:Network", regularizer={"dropping": {"from": f"{HERE}:dropping"}})
    loaded = autoopt.load(path, trust=[dropping])
    assert isinstance(loaded.model.layers[0], nn.Dropout)
    found = examples()
    rows = parts_of(found)["test"]
    assert quality_metrics("classification", loaded(found.inputs[rows]).detach(), found.targets[rows], tested) == tested


def test_a_model_is_loaded_without_what_only_its_training_needed(exported):
    path, _, _ = exported("data=breast_cancer", "model=mlp")
    card = json.loads((path / "model.json").read_text())
    for slot in ("data", "loss", "optimizer", "schedule", "initializer"):
        card["recipe"][slot] = {"gone": {"from": "gone:gone"}}
    (path / "model.json").write_text(json.dumps(card))
    assert autoopt.load(path)(torch.rand(3, 30)).shape == (3, 2)


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("model.json", None, r"model\.json is missing"),
        ("model.json", "{", r"best: JSONDecodeError"),
        ("model.json", "[]", r"model\.json lacks everything"),
        ("model.json", "{}", r"model\.json lacks categories, classes, encoding, input_shape, inputs, .*sha256"),
        ("model.safetensors", None, r"model\.safetensors is missing"),
        ("model.safetensors", "cut", r"model\.safetensors is not the one that model\.json describes"),
    ],
)
def test_a_folder_that_is_not_as_it_was_written_is_bad_input(exported, name, text, said):
    path, _, _ = exported("data=breast_cancer", "model=mlp")
    (path / name).unlink() if text is None else (path / name).write_text(text)
    with pytest.raises(BadInput, match=said):
        autoopt.load(path)


def test_weights_that_no_longer_fit_are_bad_input(exported):
    path, _, _ = exported("data=breast_cancer", "model=mlp")
    card = json.loads((path / "model.json").read_text())
    card["recipe"]["model"]["mlp"]["width"] = 3
    (path / "model.json").write_text(json.dumps(card))
    with pytest.raises(BadInput, match=r"best: the weights do not fit the model: size mismatch"):
        autoopt.load(path)


def test_a_model_that_refuses_its_weights_without_a_word_is_bad_input(exported, monkeypatch):
    def take_up(module, weights):
        raise RuntimeError

    monkeypatch.setattr("autoopt.deployment.load.take_up", take_up)
    path, _, _ = exported("data=breast_cancer", "model=mlp")
    with pytest.raises(BadInput, match=r"best: the weights do not fit the model: RuntimeError"):
        autoopt.load(path)


def calibrated(model, batches) -> nn.Module:
    return nn.Sequential(model, nn.Identity() if len(list(batches)) else None)


def test_what_looked_at_batches_is_loaded_without_them(exported):
    path, _, _ = exported("data=breast_cancer", "model=mlp", compression={"calibrated": {"from": f"{HERE}:calibrated"}})
    loaded = autoopt.load(path)
    assert [type(layer) for layer in loaded.model] == [nn.Sequential, nn.Identity]
    assert loaded(torch.rand(3, 30)).shape == (3, 2)


def test_an_export_is_there_as_a_whole_or_not_at_all(exported, tmp_path, monkeypatch):
    path, _, _ = exported("data=breast_cancer", "model=mlp")
    before = {p.name: p.read_bytes() for p in path.iterdir()}
    recipe, facts = Recipe(json.loads(before["model.json"])["recipe"]), json.loads(before["model.json"])
    other = tmp_path / "other"
    other.write_text("other weights")
    monkeypatch.setattr("autoopt.study.export.readme", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        export(path, recipe, other, facts, Advice("t", "c", "val_x", 0.1))
    assert {p.name: p.read_bytes() for p in path.iterdir()} == before
    with pytest.raises(StoreError, match=r"best cannot be written: .*nothing_here"):
        export(path, recipe, tmp_path / "nothing_here", facts, Advice("t", "c", "val_x", 0.1))
    monkeypatch.undo()
    export(path, recipe, other, facts, Advice("t", "c", "val_x", 0.1))
    assert (path / "model.safetensors").read_text() == "other weights" and not [*tmp_path.glob("best.*")]


@pytest.mark.slow
def test_the_lines_of_the_readme_work_for_whoever_has_the_folder(exported, tmp_path, monkeypatch, template):
    """Its data and its model are where the search was: a file and a module by relative names."""
    project = tmp_path / "a project"
    project.mkdir()
    monkeypatch.chdir(project)
    monkeypatch.syspath_prepend(str(project))
    Path("rows.csv").write_text("a,b,y\n" + "".join(f"{i % 7},{i % 5},{'no' if i % 7 < 3 else 'yes'}\n" for i in range(80)))
    Path("own_perceptron.py").write_text(
        "from torch import nn\n\ndef perceptron(task) -> nn.Module:\n    return nn.Linear(*task.input_shape, task.outputs)\n"
    )
    path, _, _ = exported("data=csv", "data.csv.path=rows.csv", "data.csv.target=y", "model=own_perceptron:perceptron")
    given = path.rename(tmp_path / "my best")
    text = (given / "README.md").read_text()
    assert str(tmp_path) not in text
    load, train = (re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)[0] for language in ("python", "bash"))
    monkeypatch.chdir(given)
    exec(load, names := {"examples": pandas.DataFrame({"a": [1], "b": [2]})})
    assert names["predicted"][0] in ("no", "yes")
    shutil.copy(template, project / "mlflow.db")
    name, *words = shlex.split(train.replace("recipe.yaml", "'../my best/recipe.yaml'"))
    assert name == "autoopt" and "Exported to" in forked.end(forked.start(words, project), project)


@pytest.mark.parametrize(
    ("seeds", "folds", "said"),
    [
        (1, 1, "The score and the weights are those of one training."),
        (3, 1, "The score is the mean over 3 seeds; the weights are those of the first training."),
        (1, 5, "The score is the mean over 5 folds; the weights are those of the first training."),
        (3, 5, "The score is the mean over 3 seeds and 5 folds; the weights are those of the first training."),
    ],
)
def test_cross_validation_is_told_where_there_was_any(seeds, folds, said):
    assert Advice("t", "c", "val_x", 0.1, seeds, folds).of_seeds == said


def test_a_model_whose_source_is_gone_is_bad_input(exported):
    path, _, _ = exported("data=breast_cancer", "model=mlp")
    card = json.loads((path / "model.json").read_text())
    card["recipe"]["model"] = {"gone": {"from": "gone:gone"}}
    (path / "model.json").write_text(json.dumps(card))
    with pytest.raises(BadInput, match="model/gone cannot be loaded: ModuleNotFoundError: No module named 'gone'"):
        autoopt.load(path, trust=["gone:gone"])


def test_a_folder_that_is_not_there_is_said():
    with pytest.raises(FileNotFoundError, match=r"nowhere/model\.json"):
        autoopt.load("nowhere")


def test_a_loaded_model_can_be_moved(exported):
    path, _, _ = exported("data=diabetes", "model=mlp")
    assert autoopt.load(path).to("meta")(torch.rand(2, 10, device="meta")).device.type == "meta"


# -------------------------------------------------------------------------------------------------------------------------------- apply


def plain_fit(module, callbacks, arguments) -> L.Trainer:
    quiet = dict.fromkeys(("enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False)
    trainer = L.Trainer(max_epochs=2, callbacks=callbacks, logger=DummyLogger(), log_every_n_steps=1, **quiet, **arguments)
    trainer.fit(module, datamodule=Bag())
    return trainer


@pytest.fixture
def chosen() -> Recipe:
    said = ["data=digits", "optimizer=adamw", "optimizer.adamw.lr=0.02", "schedule=cosine", "activation=elu", "initializer=xavier_uniform"]
    return Space.of(
        compose([*said, "regularizer=[l1,gradient_clip]", "augmentation=[mixup]", "loss=cross_entropy", "device=cpu"])
    ).baseline()


@pytest.mark.parametrize("form", ["recipe", "file"])
def test_a_recipe_is_put_on_a_module_in_ones_own_script(chosen, tmp_path, form):
    (tmp_path / "recipe.yaml").write_text(chosen.yaml())
    mine = Lit(hidden=4)
    before = mine.net[0].weight.detach().clone()
    module, callbacks, arguments = autoopt.apply(chosen if form == "recipe" else tmp_path / "recipe.yaml", mine)
    assert module is mine and isinstance(module, Lit) and module.hparams.hidden == 4
    assert isinstance(module.net[2], nn.ELU) and not torch.equal(module.net[0].weight, before)
    assert [type(c).__name__ for c in callbacks] == ["Penalty", "GradientClip"]
    assert arguments == {"accelerator": "cpu", "devices": 1, "precision": "32-true"}
    trainer = plain_fit(module, callbacks, arguments)
    (optimizer,) = trainer.optimizers
    assert isinstance(optimizer, AdamW) and optimizer.param_groups[0]["initial_lr"] == 0.02
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.0, abs=1e-9) and trainer.global_step == 8
    assert "val_acc" in trainer.callback_metrics


def test_the_data_set_of_a_recipe_is_not_imported(chosen, tmp_path):
    (tmp_path / "recipe.yaml").write_text(chosen.replace(data={"gone": {"from": "no_such:Data", "rows": 3}}).yaml())
    _, callbacks, arguments = autoopt.apply(tmp_path / "recipe.yaml", Lit())
    assert [type(c).__name__ for c in callbacks] == ["Penalty", "GradientClip"] and arguments["accelerator"] == "cpu"
    autoopt.apply(chosen.replace(data={"gone": {"from": "no_such:Data"}}), Lit())


ASKED: list[int] = []


def lasting(total_steps) -> L.Callback:
    ASKED.append(total_steps)
    return L.Callback()


def test_a_regularizer_that_asks_for_the_steps_is_given_them(chosen):
    recipe = chosen.replace(regularizer={"lasting": {"from": f"{HERE}:lasting"}})
    with pytest.raises(BadInput, match=r"regularizer=lasting needs total_steps: call apply\(…, total_steps=…\)"):
        autoopt.apply(recipe, mine := Lit(), trust=[lasting])
    assert type(mine) is Lit
    autoopt.apply(recipe, mine, total_steps=80)
    assert ASKED == [80]


def test_the_rate_of_a_recipe_is_scaled_for_its_own_batch_size(chosen):
    batches = {**chosen.tree["batches"], "size": 16, "scale_lr": "sqrt"}
    (optimizer,) = plain_fit(*autoopt.apply(chosen.replace(batches=batches), Lit())).optimizers
    assert optimizer.param_groups[0]["initial_lr"] == pytest.approx(0.01)
    with pytest.raises(BadInput, match=r"batches\.scale_lr=sqrt scales no rates of the module's own \(optimizer=keep\)"):
        autoopt.apply(chosen.replace(batches=batches, optimizer={"keep": {}}), mine := Lit())
    with pytest.raises(BadInput, match=r"batches\.scale_lr=sqrt needs batch sizes in numbers"):
        autoopt.apply(chosen.replace(batches={**batches, "size": None}), mine := Lit())
    assert type(mine) is Lit


@searched
@pytest.mark.slow
def test_a_recipe_is_taken_from_a_study_by_name(verdict, monkeypatch):
    monkeypatch.chdir(Path(verdict.folder).parent.parent)
    for said, recipe in ((verdict.study, verdict.best.recipe), (f"{verdict.study}/0", verdict.baseline.recipe)):
        module, callbacks, arguments = autoopt.apply(said, Lit())
        (optimizer,) = plain_fit(module, callbacks, arguments).optimizers
        assert type(optimizer).__name__.lower() == next(iter(recipe["optimizer"]))
    with pytest.raises(BadInput, match="No study named 'nobody' in autoopt-runs/"):
        autoopt.apply("nobody", Lit())
    with pytest.raises(BadInput, match="has no finished trial 99"):
        autoopt.apply(f"{verdict.study}/99", Lit())


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"data": "digits"}, r"data='digits': expected a class or a function that makes it; a name goes into the list: \['data=digits'\]"),
        ({"data": pandas.DataFrame({"a": [1]})}, r"data=DataFrame\(…\): .*; arrays and tables are data=\(inputs, targets\)"),
        ({"model": nn.Linear(2, 2)}, r"model=Linear\(in_features=2.*: expected a class or a function that makes it; each trial makes"),
        ({"model": Lit()}, r"model=Lit\(.*: .*, so say model=lambda: Lit\(…\)"),
        ({"data": L.LightningDataModule()}, r"data=<lightning.*: .*, so say data=lambda: LightningDataModule\(…\)"),
        ({"trainer": {"callbacks": [L.Callback()]}}, r"trainer.callbacks=\[<lightning.*: each trial makes its own, so give a function"),
        ({"trainer": {"max_epochs": 3}}, "trainer.max_epochs: autoopt sets this argument of the Trainer; give study.epochs=…"),
        ({"overrides": ["seed=1", "data=digits"], "data": L.LightningDataModule}, "^data=digits: an argument gives data already; give one"),
        ({"overrides": ["trainer.precision=32"], "trainer": {"precision": "64"}}, "^trainer.precision=32: an argument gives trainer.prec"),
        ({"overrides": "data=digits"}, r"overrides='data=digits': expected a list of strings"),
        ({"overrides": {"data": "digits"}}, r"overrides={'data': 'digits'}: expected a list of strings"),
        ({"overrides": [("seed", 1)]}, r"overrides=\[\('seed', 1\)\]: expected a list of strings"),
        ({"trainer": L.Trainer}, r"trainer=<class .*Trainer'>: expected the arguments of a Trainer by name, such as"),
        ({"data": (torch.ones(4, 2, requires_grad=True), [0, 1] * 2)}, "data: the Tensor is no array: Can't call numpy"),
    ],
    ids=[
        "a name",
        "a frame",
        "a network",
        "a module",
        "a data module",
        "a callback",
        "an argument of ours",
        "data twice",
        "an argument of the Trainer twice",
        "a string",
        "a mapping",
        "pairs",
        "a Trainer",
        "weights",
    ],
)
def test_what_is_no_class_and_no_list_is_refused(arguments, said):
    with pytest.raises(BadInput, match=said):
        autoopt.search(**arguments)


def test_a_duration_has_a_unit():
    with pytest.raises(BadInput, match=r"study\.time=5: expected a time above 0 in d, h, min or s, such as 5min, 2h, 90s or 1h30m"):
        autoopt.search(["data=digits", "study.time=5"])


def test_the_public_names_are_listed():
    assert {"search", "train", "apply", "load", "Range", "Choice"} <= set(dir(autoopt))
