"""One trial: a pure function of (recipe, task, seed, epochs)."""

import json
import os
from functools import partial

import lightning.pytorch as L
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.optim import Optimizer
from torch.utils.data import DataLoader, TensorDataset

from autoopt.config import compose
from autoopt.domain import Unavailable
from autoopt.errors import NonFinite, TechniqueError
from autoopt.plugins.model.mlp import mlp
from autoopt.recipe import Recipe
from autoopt.space import Space
from autoopt.technique import LIVE, find
from autoopt.trial.metrics import quality
from autoopt.trial.run import prepare, run
from autoopt.trial.world import World

HERE = __name__
COSTS = ("seconds", "samples_per_second", "peak_memory_mb")
SMALL = ("data=digits", "data.digits.train=300", "device=cpu", "study.epochs=3", "model.mlp.width=16")

COUNTED: list[int] = []
"""Steps after which a batch had ended."""


def prepared(*overrides: str) -> tuple[World, Recipe]:
    tree = compose(overrides)
    world, facts = prepare({"tree": tree})
    return world, Space(tree).fitting(facts["absent"]).baseline()


@pytest.fixture(scope="module")
def digits() -> tuple[World, Recipe]:
    return prepared(*SMALL, "augmentation=[translate,mixup]", "optimizer=adamw", "optimizer.adamw.lr=0.01")


def job(recipe: Recipe, **order) -> dict:
    return {"recipe": recipe.tree, "seed": 1, "objective": "val_accuracy", **order}


def going(epoch: int, metrics: dict) -> bool:
    return False


def measured(world: World, job: dict) -> dict[str, float]:
    """All that has to be equal where the same is done again."""
    return {k: v for k, v in run(world, job, going)["metrics"].items() if k not in COSTS}


def in_a_child(world: World, job: dict) -> dict[str, float]:
    reading, writing = os.pipe()
    if (pid := os.fork()) == 0:
        try:
            os.write(writing, json.dumps(measured(world, job)).encode())
        finally:
            os._exit(0)
    os.close(writing)
    with open(reading) as pipe:
        told = pipe.read()
    os.waitpid(pid, 0)
    return json.loads(told)


# ---------------------------------------------------------------------------------------------- what recipes below name by import path


class Rows(L.LightningDataModule):
    """Three classes, or their number as a value."""

    columns: tuple[int, ...] | None = None

    def __init__(self):
        super().__init__()
        self.batch_size = 16

    def rows(self, seed: int, shuffle: bool = False) -> DataLoader:
        generator = torch.Generator().manual_seed(seed)
        targets = torch.arange(60) % 3
        inputs = torch.randn(60, 4, generator=generator) + targets[:, None]
        values = targets if self.columns is None else targets.float().reshape(60, *self.columns)
        return DataLoader(TensorDataset(inputs, values), self.batch_size, shuffle=shuffle)

    def train_dataloader(self):
        return self.rows(0, shuffle=True)

    def val_dataloader(self):
        return self.rows(1)


class Opened(Rows):
    def test_dataloader(self):
        return self.rows(2)


class Values(Rows):
    columns = ()


class Columns(Rows):
    columns = (1,)


class Weighted(Rows):
    """A third tensor in every batch."""

    def rows(self, seed, shuffle=False):
        x, y = super().rows(seed).dataset.tensors
        return DataLoader(TensorDataset(x, y, torch.ones(60)), self.batch_size)


class Lit(L.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.5), nn.ReLU(), nn.Linear(8, 3))

    def training_step(self, batch, _):
        return cross_entropy(self.net(batch[0]), batch[1])

    def validation_step(self, batch, _):
        outputs = self.net(batch[0])
        self.log_dict({"val_accuracy": (outputs.argmax(1) == batch[1]).float().mean(), "val_loss": cross_entropy(outputs, batch[1])})

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=0.01)


class Forward(Lit):
    def forward(self, x):
        return self.net(x)

    def validation_step(self, batch, _):
        self.log("val/acc", (self(batch[0]).argmax(1) == batch[1]).float().mean())
        self.log("eval_acc", 0.5)


class Masked(Lit):
    def forward(self, x, mask):
        return self.net(x * mask)


class Fragile(nn.Module):
    def __init__(self, task):
        super().__init__()
        self.layer = nn.Linear(64, task.outputs)

    def forward(self, x):
        raise ValueError("of glass")


class Trusting(nn.Module):
    def __init__(self, task):
        super().__init__()
        self.layer = nn.Linear(64, task.outputs)

    def forward(self, x):
        return self.layer(x.flatten(1))


def helped(task) -> nn.Module:
    class Fine(Trusting):
        def forward(self, x):
            return helper(x)

    return Fine(task)


def unsaid(task) -> nn.Module:
    return Unnamed(task)


class Unnamed(Trusting):
    def forward(self, x):
        raise ValueError("who am I")


def helper(x):
    raise ValueError("no help")


def impatient() -> L.Callback:
    class Impatient(L.Callback):
        def on_train_epoch_end(self, trainer, *_):
            trainer.should_stop = True

    return Impatient()


def absent(params) -> Optimizer:
    raise Unavailable("no such machine here")


def confused(params) -> Optimizer:
    return "an optimizer"


def raising(params) -> Optimizer:
    raise ZeroDivisionError("of course")


def wide(task) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(64, task.outputs + 1))


def double(task) -> nn.Module:
    class Two(nn.Module):
        def forward(self, x):
            return x, x

    return Two()


def clumsy(inputs: Tensor) -> Tensor:
    raise ValueError("dropped it")


def stepwise() -> L.Callback:
    class Counting(L.Callback):
        def on_train_batch_end(self, trainer, *_):
            COUNTED.append(trainer.global_step)

    return Counting()


# -------------------------------------------------------------------------------------------------------------------- a pure function


def test_the_same_recipe_and_seed_give_the_same(digits):
    world, recipe = digits
    once = measured(world, job(recipe))
    torch.rand(100)
    assert measured(world, job(recipe)) == once == in_a_child(world, job(recipe))


def test_another_seed_gives_another_training(digits):
    world, recipe = digits
    assert measured(world, job(recipe, seed=2))["val_loss"] != measured(world, job(recipe))["val_loss"]


def test_a_module_of_the_users_is_the_same_too():
    world, recipe = prepared(f"data={HERE}:Opened", f"model={HERE}:Lit", "device=cpu", "study.epochs=2")
    once = measured(world, job(recipe))
    sized = measured(world, job(recipe.replace(batches={"size": 8})))
    assert measured(world, job(recipe)) == once == in_a_child(world, job(recipe)) and sized != once
    assert measured(world, job(recipe.replace(batches={"size": None}))) == measured(world, job(recipe.replace(batches={"size": 16})))


def test_the_world_is_left_as_it_was(digits):
    world, recipe = digits
    before = [t.clone() for pair in world.task.parts.values() for t in pair]
    run(world, job(recipe), going)
    assert all(torch.equal(a, b) for a, b in zip(before, (t for pair in world.task.parts.values() for t in pair), strict=True))


# ----------------------------------------------------------------------------------------------------------------------------- reports


def test_every_epoch_is_reported_and_the_answer_is_heard(digits):
    world, recipe = digits
    heard = []
    outcome = run(world, job(recipe), lambda epoch, metrics: heard.append((epoch, metrics)) or epoch == 2)
    assert [epoch for epoch, _ in heard] == [1, 2]
    assert heard[0][1].keys() == {"val_accuracy", "val_loss", "train_loss", "lr"}
    assert (outcome["epochs"], outcome["stopped"], outcome["metrics"]["epochs_trained"]) == (2, True, 2.0)
    whole = run(world, job(recipe), going)
    assert (whole["epochs"], whole["stopped"]) == (3, False)


def test_another_callback_may_stop_the_training_too(digits):
    world, recipe = digits
    outcome = run(world, job(recipe.replace(regularizer={"impatient": {"from": f"{HERE}:impatient"}})), going)
    assert (outcome["epochs"], outcome["stopped"]) == (1, False)


def test_the_metric_that_is_followed_is_reported_too(digits):
    world, recipe = digits
    heard = []
    run(world, job(recipe, objective="val_f1"), lambda epoch, metrics: heard.append(metrics) or False)
    assert all("val_f1" in metrics for metrics in heard)


def test_what_is_reported_last_is_what_comes_out(digits):
    world, recipe = digits
    heard = []
    outcome = run(world, job(recipe), lambda epoch, metrics: heard.append(metrics) or False)
    assert heard[-1].items() <= outcome["metrics"].items()


def test_an_exploding_rate_ends_the_trial(digits):
    world, _ = digits
    recipe = prepared(*SMALL, "optimizer=sgd", "optimizer.sgd.lr=1e30")[1]
    with pytest.raises(NonFinite, match=r"train_loss is (nan|inf)"):
        run(world, job(recipe), going)


# --------------------------------------------------------------------------------------------------------------------- save and load


def test_weights_that_were_kept_give_the_same_predictions(digits, tmp_path):
    world, recipe = digits
    path = str(tmp_path / "deep" / "model.safetensors")
    trained = run(world, job(recipe, save=path), going)
    loaded = run(world, job(recipe, load=path, seed=99), lambda *_: pytest.fail("nothing is trained"))
    quality_of = [k for k in loaded["metrics"] if k.startswith("val_")]
    assert {k: loaded["metrics"][k] for k in quality_of} == {k: trained["metrics"][k] for k in quality_of}
    assert len(quality_of) == 6 and (loaded["epochs"], loaded["resamples"]) == (0, [])

    tested = run(world, job(recipe, load=path, part="test", latency=True), going)
    model = mlp(world.task, width=16).eval()
    model.load_state_dict({k.removeprefix("model."): v for k, v in load_file(path).items()})
    inputs, targets = world.task.parts["test"]
    by_hand = quality("classification", model(inputs).detach(), targets, ("accuracy", "loss"))
    assert tested["metrics"]["test_accuracy"] == by_hand["accuracy"]
    assert tested["metrics"]["test_loss"] == pytest.approx(by_hand["loss"])
    assert len(tested["resamples"]) == 200 and tested["metrics"]["latency_ms"] > 0
    assert "latency_ms" not in trained["metrics"] and not any(k.startswith("test") for k in trained["metrics"])


def test_a_module_of_the_users_measures_itself_on_the_test_part(tmp_path):
    world, recipe = prepared(f"data={HERE}:Opened", f"model={HERE}:Lit", "device=cpu", "study.epochs=2")
    path = str(tmp_path / "w")
    trained = run(world, job(recipe, save=path), going)["metrics"]
    validated = run(world, job(recipe, load=path), going)["metrics"]
    assert validated["val_loss"] == pytest.approx(trained["val_loss"])
    tested = run(world, job(recipe, load=path, part="test"), going)["metrics"]
    lit = Lit().eval()
    lit.load_state_dict(load_file(path))
    x, y = Opened().rows(2).dataset.tensors
    assert tested["test_accuracy"] == pytest.approx((lit.net(x).argmax(1) == y).float().mean().item())
    assert "val_accuracy" not in tested


def test_only_the_validation_part_goes_by_the_name_of_the_test_part(tmp_path):
    world, recipe = prepared(f"data={HERE}:Opened", f"model={HERE}:Forward", "device=cpu", "study.epochs=1")
    run(world, job(recipe, save=str(tmp_path / "w")), going)
    tested = run(world, job(recipe, load=str(tmp_path / "w"), part="test"), going)["metrics"]
    assert tested["eval_acc"] == 0.5 and {"test/acc", "eval_acc"} <= tested.keys() and "val/acc" not in tested


@pytest.mark.parametrize(("model", "timed"), [("Forward", True), ("Lit", False), ("Masked", False)])
def test_a_module_of_the_users_is_timed_where_its_forward_takes_the_inputs(model, timed):
    world, recipe = prepared(f"data={HERE}:Rows", f"model={HERE}:{model}", "device=cpu", "study.epochs=1")
    metrics = run(world, job(recipe, latency=True), going)["metrics"]
    assert ("latency_ms" in metrics) is timed and (not timed or metrics["latency_ms"] > 0)


@pytest.mark.parametrize("model", ["mlp", f"{HERE}:Lit"])
def test_without_a_test_part_there_are_no_test_metrics(tmp_path, model):
    world, recipe = prepared(f"data={HERE}:Rows", f"model={model}", "device=cpu", "study.epochs=1")
    path = str(tmp_path / "w")
    run(world, job(recipe, save=path), going)
    tested = run(world, job(recipe, load=path, part="test", latency=True), going)["metrics"]
    assert "parameters" in tested and not any(k.startswith("test") for k in tested)


def test_a_compression_acts_after_training(digits, tmp_path):
    world, recipe = digits
    path = str(tmp_path / "w")
    plain = run(world, job(recipe, save=path), going)["metrics"]
    half = recipe.replace(compression={"half": {"use": True, "dtype": "bfloat16"}})
    for order in ({}, {"load": path}):
        compressed = run(world, job(half, **order), going)["metrics"]
        assert compressed["size_mb"] == plain["size_mb"] / 2
        assert compressed["val_accuracy"] == pytest.approx(plain["val_accuracy"], abs=0.02)
        assert compressed["val_loss"] != plain["val_loss"]


# -------------------------------------------------------------------------------------------------------------------------- regression


def test_values_are_measured_in_the_units_of_the_data(tmp_path):
    world, recipe = prepared("data=diabetes", "model=linear", "device=cpu", "study.epochs=5")
    path = str(tmp_path / "w")
    run(world, job(recipe, objective="val_rmse", save=path), going)
    tested = run(world, job(recipe, objective="val_rmse", load=path, part="test"), going)
    weights = load_file(path)
    x, y = world.task.parts["test"]
    scale = world.task.targets
    outputs = x @ weights["model.1.weight"].T + weights["model.1.bias"]
    by_hand = (scale.invert(outputs) - scale.invert(y)).square().mean().sqrt().item()
    assert tested["metrics"]["test_rmse"] == pytest.approx(by_hand, rel=1e-5)
    assert 40 < by_hand < 400 and len(tested["resamples"]) == 200


def test_the_losses_of_values_are_in_one_unit():
    world, recipe = prepared("data=diabetes", "model=linear", "loss=mse", "device=cpu", "study.epochs=30", "optimizer.adamw.lr=0.01")
    metrics = measured(world, job(recipe))
    deviation = float(world.task.targets.deviation)
    assert metrics["val_loss"] == pytest.approx((metrics["val_rmse"] / deviation) ** 2, rel=1e-5) and deviation > 50
    assert metrics["train_loss"] == pytest.approx(metrics["val_loss"], rel=0.3), "a linear model does not overfit"
    raw, recipe = prepared("data=diabetes", "model=linear", "device=cpu", "study.epochs=1", "split.normalise=false")
    metrics = measured(raw, job(recipe))
    assert metrics["val_loss"] == pytest.approx(metrics["val_rmse"] ** 2, rel=1e-5) and metrics["train_loss"] > 1000


def test_values_without_columns_are_as_good_as_one_column():
    found = []
    for data in ("Values", "Columns"):
        world, recipe = prepared(f"data={HERE}:{data}", "model=mlp", "device=cpu", "study.epochs=2")
        found.append(measured(world, job(recipe, objective="val_rmse")))
    assert found[0] == found[1]
    assert found[0]["val_r2"] > -1


def test_further_tensors_of_a_batch_are_left_aside_by_a_network():
    world, recipe = prepared(f"data={HERE}:Weighted", "model=mlp", "device=cpu", "study.epochs=1")
    assert run(world, job(recipe), going)["metrics"]["val_accuracy"] > 0


# --------------------------------------------------------------------------------------------------------------------------- preflight


@pytest.mark.parametrize(
    ("slot", "name", "detail"),
    [
        ("optimizer", "absent", "no such machine here"),
        ("optimizer", "confused", "returned str, expected Optimizer"),
        ("optimizer", "raising", "ZeroDivisionError: of course"),
        ("model", "wide", r"gives (300, 11) for inputs (300, 1, 8, 8), the task needs outputs (300, 10)"),
        ("model", "double", r"gives tuple for inputs (300, 1, 8, 8), the task needs outputs (300, 10)"),
        ("augmentation", "clumsy", "ValueError: dropped it"),
    ],
)
def test_a_short_run_returns_the_problem_with_its_technique(digits, slot, name, detail):
    world, recipe = digits
    said = recipe.replace(**{slot: {name: {"from": f"{HERE}:{name}"}}})
    detail = detail.replace("300", "128")  # two batches of 64
    problem = run(world, job(said, limit=2), going)["problem"]
    assert problem == {"slot": slot, "name": name, "detail": detail, "said": f"{slot}/{name}: {detail}", "unavailable": name == "absent"}
    if slot != "model":
        with pytest.raises(TechniqueError, match=f"{slot}/{name}: {detail}") as caught:
            run(world, job(said), going)
        assert caught.value.unavailable is (name == "absent")


@pytest.mark.parametrize(("model", "blamed"), [("Fragile", "Fragile"), ("helped", "helped"), ("unsaid", None)])
def test_of_techniques_that_share_a_file_the_one_is_blamed_whose_code_it_was(digits, model, blamed):
    world, recipe = digits
    shared = {"model": {model: {"from": f"{HERE}:{model}"}}, "regularizer": {"stepwise": {"from": f"{HERE}:stepwise"}}}
    with pytest.raises(TechniqueError if blamed else ValueError) as caught:
        run(world, job(recipe.replace(**shared)), going)
    assert getattr(caught.value, "name", None) == blamed and getattr(caught.value, "slot", "model") == "model"


def test_an_optimizer_is_not_blamed_for_the_closure_that_it_calls(digits):
    world, recipe = digits
    of_glass = {"model": {"Fragile": {"from": f"{HERE}:Fragile"}}, "optimizer": {"gd": {}}}
    with pytest.raises(TechniqueError, match="model/Fragile: ValueError: of glass"):
        run(world, job(recipe.replace(**of_glass)), going)


def test_a_technique_without_a_file_hides_no_error(digits, monkeypatch):
    world, recipe = digits
    monkeypatch.setitem(LIVE, "__main__:model", partial(Fragile))
    find.cache_clear()
    with pytest.raises(ValueError, match=r"^of glass$"):
        run(world, job(recipe.replace(model={"model": {"from": "__main__:model"}})), going)
    find.cache_clear()


def test_a_short_run_returns_any_other_problem_in_words(digits):
    world, _ = digits
    recipe = prepared(*SMALL, "optimizer=sgd", "optimizer.sgd.lr=1e30")[1]
    problem = run(world, job(recipe, limit=2), going)["problem"]
    assert problem["said"].startswith("NonFinite: ") and "slot" not in problem


@pytest.mark.parametrize("where", [SMALL, (f"data={HERE}:Rows", f"model={HERE}:Lit", "device=cpu", "batches.size=16")])
def test_a_short_run_is_one_epoch_of_two_batches_and_measures(where):
    world, recipe = prepared(*where)
    regularizer = {"stepwise": {"from": f"{HERE}:stepwise"}}
    COUNTED.clear()
    reports = []
    outcome = run(world, job(recipe.replace(regularizer=regularizer), limit=2), lambda epoch, metrics: reports.append(epoch) or False)
    assert reports == [1] and COUNTED == [1, 2] and "problem" not in outcome
    assert 0 <= outcome["metrics"]["val_accuracy"] <= 1
