"""One trial: a pure function of (recipe, task, seed, epochs)."""

import inspect
import json
import os
import re
import signal
import tomllib
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import lightning.pytorch as L
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.optim import Optimizer
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from autoopt.config import compose
from autoopt.data.examples import Examples
from autoopt.domain import Unavailable
from autoopt.errors import BadInput, NonFinite, StoreFault, TechniqueError
from autoopt.orders import Compress, Graph, Measure, Order, Outcome, Problem, Train, TryOut
from autoopt.plugins.model.mlp import mlp
from autoopt.process.endings import classify
from autoopt.recipe import Recipe
from autoopt.space import Space
from autoopt.store import SUMS, Store
from autoopt.technique import LIVE, find
from autoopt.trial.environment import RECORDED
from autoopt.trial.metrics import quality_metrics
from autoopt.trial.run import prepare, run
from autoopt.trial.training import check_outputs, set_up
from autoopt.trial.world import World

HERE = __name__
COSTS = ("seconds", "samples_per_second", "peak_memory_mb")
SMALL = ("data=digits", "data.digits.train=300", "device=auto", "study.epochs=3", "model.mlp.width=16")

COUNTED: list[int] = []
"""Steps after which a batch had ended."""


def prepared(*overrides: str, root: Path | str = ".") -> tuple[World, Recipe]:
    tree = compose(overrides)
    world, facts = prepare({"tree": tree, "store": str(root)})
    return world, Space.of(tree).fitting(facts["absent"]).baseline()


@pytest.fixture(scope="module")
def digits() -> tuple[World, Recipe]:
    return prepared(*SMALL, "augmentation=[translate,mixup]", "optimizer=adamw", "optimizer.adamw.lr=0.01")


@pytest.fixture
def kept(digits, tmp_path) -> tuple[World, Recipe]:
    """The same, with a store."""
    world, recipe = digits
    return replace(world, store=Store(tmp_path)), recipe


def ordered(kind: type[Order], recipe: Recipe, **said) -> Order:
    return kind(**{"key": "0", "recipe": recipe, "seed": 1, "objective": "val_accuracy", **said})


def going(epoch: int, metrics: dict) -> bool:
    return False


def outcome(world: World, order: Order, report: Callable = going) -> Outcome:
    return Outcome(**json.loads(json.dumps(run(world, json.loads(json.dumps(order.json())), report))))


def trained(world: World, recipe: Recipe, report: Callable = going, **said) -> Outcome:
    return outcome(world, ordered(Train, recipe, **said), report)


def test_within_a_job_of_slurm_lightning_does_not_requeue_the_job(digits, monkeypatch):
    """As it would at SIGUSR1 if it took the trial for a task of its own distributed training."""
    for name, value in {"SLURM_NTASKS": "1", "SLURM_JOB_NAME": "search", "SLURM_JOB_ID": "1", "SLURM_PROCID": "0"}.items():
        monkeypatch.setenv(name, value)
    world, recipe = digits
    handlers = []
    trained(replace(world, checkpoint=None), recipe, lambda epoch, metrics: handlers.append(signal.getsignal(signal.SIGUSR1)))
    assert handlers == [signal.SIG_DFL] * 3


def measured(world: World, recipe: Recipe, **said) -> dict[str, float]:
    """All that has to be equal where the same is trained again."""
    return {k: v for k, v in trained(world, recipe, **said).metrics.items() if k not in COSTS}


def in_a_child(world: World, recipe: Recipe) -> dict[str, float]:
    if torch.cuda.is_initialized():  # a child could not use it
        return measured(world, recipe)
    reading, writing = os.pipe()
    if (pid := os.fork()) == 0:
        try:
            os.write(writing, json.dumps(measured(world, recipe)).encode())
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


class Shuffled(Rows):
    def test_dataloader(self):
        return self.rows(2, shuffle=True)


class Twice(Opened):
    """Two loaders to validate on, and one to test on."""

    def val_dataloader(self):
        return {"near": self.rows(1), "far": self.rows(3)}


class Stream(IterableDataset):
    def __iter__(self):
        return iter(Rows().rows(0).dataset)


class Streamed(Opened):
    """Loaders that do not know their length."""

    def rows(self, seed, shuffle=False):
        return DataLoader(Stream(), self.batch_size)


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


class ByLoader(Forward):
    """Its metrics have a name for each loader."""

    def validation_step(self, batch, _, dataloader_idx=0):
        right = (self(batch[0]).argmax(1) == batch[1]).float().mean()
        self.log(("val_accuracy", "far_accuracy")[dataloader_idx], right, add_dataloader_idx=False)


class Masked(Lit):
    def forward(self, x, mask):
        return self.net(x * mask)


class Rated(Rows):
    """Three values in a batch, of which the last is the target, or a mapping of them."""

    def rows(self, seed, shuffle=False):
        x, y = super().rows(seed).dataset.tensors
        return DataLoader(TensorDataset(x, torch.rand(60, 4), y), self.batch_size)


class Mapped(Rated):
    def rows(self, seed, shuffle=False):
        names = ("mask", "extra", "x", "label")
        x, mask, y = super().rows(seed).dataset.tensors
        rows = [dict(zip(names, values, strict=True)) for values in zip(mask, mask, x, y, strict=True)]
        return DataLoader(rows, self.batch_size)


class OfTwo(Masked):
    def training_step(self, batch, _):
        x, mask, y = (batch[name] for name in ("x", "mask", "label")) if isinstance(batch, dict) else batch
        return cross_entropy(self(x, mask), y)

    def validation_step(self, batch, _):
        x, mask, y = (batch[name] for name in ("x", "mask", "label")) if isinstance(batch, dict) else batch
        self.log("val_accuracy", (self(x, mask).argmax(1) == y).float().mean())


class Unlabelled(Rows):
    """Batches of images alone."""

    def rows(self, seed, shuffle=False):
        return DataLoader(torch.rand(32, 2, 8, 8, generator=torch.Generator().manual_seed(seed)), self.batch_size)  # type: ignore[arg-type]


class Autoencoder(L.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Conv2d(2, 3, 3, padding=1), nn.Conv2d(3, 2, 3, padding=1))

    def forward(self, images):
        return self.net(images)

    def training_step(self, batch, _):
        return (self(batch) - batch).square().mean()

    def validation_step(self, batch, _):
        self.log("val_loss", (self(batch) - batch).square().mean())

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


class Logging(Forward):
    def forward(self, x):
        self.log("seen", float(len(x)))
        return self.net(x)


class Broken(Forward):
    """Does what it should in training and validation alone."""

    def forward(self, x):
        if len(x) == 1:
            self.fail()
        return super().forward(x)


class Full(Broken):
    def fail(self):
        raise OSError(28, "No space left on device")


class Greedy(Broken):
    def fail(self):
        raise MemoryError


class Interrupted(Broken):
    def fail(self):
        raise KeyboardInterrupt


class Untestable(Opened):
    def test_dataloader(self):
        raise FileNotFoundError("no test.csv")


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


def idle(params) -> Optimizer:
    class Idle(torch.optim.SGD):
        def step(self, closure=None):
            """Forgets what it is given."""

    return Idle(params, lr=0.1)


def wide(task) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(64, task.outputs + 1))


def certain(task) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(64, task.outputs), nn.Softmax(1))


def double(task) -> nn.Module:
    class Two(nn.Module):
        def forward(self, x):
            return x, x

    return Two()


def deep_supervised(task) -> nn.Module:
    class DeepSupervised(Trusting):
        def forward(self, x):
            outputs = super().forward(x)
            return (outputs, outputs) if self.training else outputs

    return DeepSupervised(task)


def lazy(task) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.LazyLinear(16), nn.LazyBatchNorm1d(), nn.ReLU(), nn.LazyLinear(task.outputs))


def clumsy(inputs: Tensor) -> Tensor:
    raise ValueError("dropped it")


def caching(model: nn.Module) -> None:
    try:
        raise OSError(28, "No space left on device")
    except OSError as error:
        raise ValueError("the weights cannot be cached") from error


def spilling(task) -> nn.Module:
    class Spilling(Trusting):
        def forward(self, x):
            raise OSError(28, "No space left on device")

    return Spilling(task)


def stepwise() -> L.Callback:
    class Counting(L.Callback):
        def on_train_batch_end(self, trainer, *_):
            COUNTED.append(trainer.global_step)

    return Counting()


# -------------------------------------------------------------------------------------------------------------------- a pure function


@pytest.mark.slow
def test_the_same_recipe_and_seed_give_the_same(digits):
    world, recipe = digits
    once = measured(world, recipe)
    torch.rand(100)
    assert measured(world, recipe) == once == in_a_child(world, recipe)


def test_another_seed_gives_another_training(digits):
    world, recipe = digits
    assert measured(world, recipe, seed=2)["val_loss"] != measured(world, recipe)["val_loss"]


@pytest.mark.slow
def test_a_module_of_the_users_is_the_same_too():
    world, recipe = prepared(f"data={HERE}:Opened", f"model={HERE}:Lit", "device=auto", "study.epochs=2")
    once = measured(world, recipe)
    sized = measured(world, recipe.replace(batches={"size": 8}))
    assert measured(world, recipe) == once == in_a_child(world, recipe) and sized != once
    assert measured(world, recipe.replace(batches={"size": None})) == measured(world, recipe.replace(batches={"size": 16}))


def test_the_world_is_left_as_it_was(digits):
    world, recipe = digits
    before = [t.clone() for pair in world.task.parts.values() for t in pair]
    trained(world, recipe)
    assert all(torch.equal(a, b) for a, b in zip(before, (t for pair in world.task.parts.values() for t in pair), strict=True))


# ----------------------------------------------------------------------------------------------------------------------------- reports


def test_every_epoch_is_reported_and_the_answer_is_heard(digits):
    world, recipe = digits
    heard = []
    found = trained(world, recipe, lambda epoch, metrics: heard.append((epoch, metrics)) or epoch == 2)
    assert [epoch for epoch, _ in heard] == [1, 2]
    assert heard[0][1].keys() == {"val_accuracy", "val_loss", "train_loss", "lr"}
    assert (found.epochs, found.stopped, found.metrics["epochs_trained"]) == (2, True, 2.0)
    whole = trained(world, recipe)
    assert (whole.epochs, whole.stopped) == (3, False)


def test_another_callback_may_stop_the_training_too(digits):
    world, recipe = digits
    found = trained(world, recipe.replace(regularizer={"impatient": {"from": f"{HERE}:impatient"}}))
    assert (found.epochs, found.stopped) == (1, False)


def test_the_metric_that_is_followed_is_reported_too(digits):
    world, recipe = digits
    heard = []
    trained(world, recipe, lambda epoch, metrics: heard.append(metrics) or False, objective="val_f1")
    assert all("val_f1" in metrics for metrics in heard)


def test_what_is_reported_last_is_what_comes_out(digits):
    world, recipe = digits
    heard = []
    found = trained(world, recipe, lambda epoch, metrics: heard.append(metrics) or False)
    assert heard[-1].items() <= found.metrics.items()


def test_an_exploding_rate_ends_the_trial(digits):
    world, _ = digits
    recipe = prepared(*SMALL, "optimizer=sgd", "optimizer.sgd.lr=1e30")[1]
    with pytest.raises(NonFinite, match=r"train_loss is (nan|inf)"):
        trained(world, recipe)


# --------------------------------------------------------------------------------------------------------------- stored weights


def validated(world: World, recipe: Recipe, report: Callable = going, **said) -> Outcome:
    return outcome(world, ordered(Measure, recipe, weights="0", part="validation", **said), report)


def on_the_test_part(world: World, recipe: Recipe, **said) -> Outcome:
    return outcome(world, ordered(Measure, recipe, weights="0", **said))


def test_weights_that_were_kept_give_the_same_predictions(kept):
    world, recipe = kept
    first = trained(world, recipe, keep=True)
    again = validated(world, recipe, lambda *_: pytest.fail("nothing is trained"), seed=99)
    quality_of = [k for k in again.metrics if k.startswith("val_")]
    assert {k: again.metrics[k] for k in quality_of} == {k: first.metrics[k] for k in quality_of}
    assert len(quality_of) == 8 and (again.epochs, again.resamples, again.units) == (0, [], 0)

    opened = on_the_test_part(world, recipe, latency=True)
    model = mlp(world.task, width=16).eval()
    model.load_state_dict({k.removeprefix("model."): v for k, v in load_file(world.store.weights("0")).items()})
    inputs, targets = world.task.parts["test"]
    by_hand = quality_metrics("classification", model(inputs).detach(), targets, ("accuracy", "loss"))
    assert opened.metrics["test_accuracy"] == by_hand["accuracy"]
    assert opened.metrics["test_loss"] == pytest.approx(by_hand["loss"])
    assert len(opened.resamples) == 200 and opened.units == len(targets) and opened.metrics["latency_ms"] > 0
    assert "latency_ms" not in first.metrics and not any(k.startswith("test") for k in first.metrics)


def test_weights_are_kept_where_it_is_ordered_and_nothing_stopped_the_trial(kept):
    world, recipe = kept
    trained(world, recipe)
    trained(world, recipe, lambda *_: True, keep=True)
    assert not world.store.has_weights("0")
    trained(world, recipe, keep=True, key="deep/er")
    assert world.store.has_weights("deep/er")


def test_weights_that_cannot_be_read_or_written_are_no_fault_of_the_recipe(kept):
    world, recipe = kept
    with pytest.raises(StoreFault, match=r"the weights of trial 0 are gone: .*/model\.safetensors$"):
        on_the_test_part(world, recipe)
    trained(world, recipe, keep=True)
    whole = world.store.weights("0").read_bytes()
    world.store.weights("0").write_bytes(whole[:100])
    with pytest.raises(StoreFault, match=r"the weights of trial 0 are damaged: "):
        on_the_test_part(world, recipe)
    world.store.weights("0").with_name(SUMS).unlink()  # as in a study begun before digests were stored
    with pytest.raises(StoreFault, match=r"the weights of trial 0 cannot be read: .*header"):
        on_the_test_part(world, recipe)
    world.store.weights("0").unlink()
    world.store.weights("0").mkdir()
    with pytest.raises(StoreFault, match=r"the weights of trial 0 cannot be written: .*directory"):
        trained(world, recipe, keep=True)


def test_a_module_of_the_users_measures_itself_on_the_test_part(tmp_path):
    world, recipe = prepared(f"data={HERE}:Opened", f"model={HERE}:Lit", "device=auto", "study.epochs=2", root=tmp_path)
    first = trained(world, recipe, keep=True).metrics
    assert validated(world, recipe).metrics["val_loss"] == pytest.approx(first["val_loss"])
    found = on_the_test_part(world, recipe).metrics
    lit = Lit().eval()
    lit.load_state_dict(load_file(world.store.weights("0")))
    x, y = Opened().rows(2).dataset.tensors
    assert found["test_accuracy"] == pytest.approx((lit.net(x).argmax(1) == y).float().mean().item())
    assert "val_accuracy" not in found


@pytest.mark.slow
def test_the_parts_may_have_different_numbers_of_loaders(tmp_path):
    world, recipe = prepared(f"data={HERE}:Twice", f"model={HERE}:ByLoader", "device=auto", "study.epochs=2", root=tmp_path)
    found = trained(world, recipe, keep=True, latency=True).metrics
    assert {"val_accuracy", "far_accuracy", "latency_ms"} <= found.keys()
    assert validated(world, recipe).metrics["far_accuracy"] == pytest.approx(found["far_accuracy"])
    tried = outcome(world, ordered(TryOut, recipe))
    lit = ByLoader().eval()
    lit.load_state_dict(load_file(world.store.weights("0")))
    x, y = Opened().rows(2).dataset.tensors
    assert on_the_test_part(world, recipe).metrics["test_accuracy"] == pytest.approx((lit.net(x).argmax(1) == y).float().mean().item())
    assert "test_accuracy" in tried.tested and not tried.untested, "one Trainer goes through both"


@pytest.mark.slow
@pytest.mark.parametrize("model", [f"{HERE}:Lit", "mlp"])
def test_a_shuffled_test_part_has_the_same_batches_for_all_models(tmp_path, model):
    world, recipe = prepared(f"data={HERE}:Shuffled", f"model={model}", "device=auto", "study.epochs=1", root=tmp_path)
    trained(world, recipe, keep=True)
    once, again = (on_the_test_part(world, recipe, seed=seed) for seed in (1, 2))
    assert once.units == again.units > 1 and once.resamples == again.resamples and len({*once.resamples}) > 1


def test_lazy_layers_have_weights_before_anything_looks_at_them(tmp_path):
    """An initializer draws them, their mean is taken from the first batch on, and they are stored and loaded."""
    world, recipe = prepared(*SMALL[:-1], f"model={HERE}:lazy", "regularizer=[ema]", "initializer=he_normal", root=tmp_path)
    found = trained(world, recipe, keep=True).metrics
    assert validated(world, recipe).metrics["val_loss"] == pytest.approx(found["val_loss"])


@pytest.mark.slow
@pytest.mark.parametrize("model", [f"{HERE}:Lit", "mlp"])
def test_a_stream_is_trained_and_measured_without_a_number_of_steps(tmp_path, model):
    world, recipe = prepared(f"data={HERE}:Streamed", f"model={model}", "schedule=constant", "device=auto", "study.epochs=2", root=tmp_path)
    assert not world.task.sized
    assert trained(world, recipe, keep=True).epochs == 2
    assert on_the_test_part(world, recipe).units > 1
    with pytest.raises(BadInput, match=r"^schedule=cosine cannot be used here: the training loader does not say how many batches it has"):
        prepared(f"data={HERE}:Streamed", f"model={model}", "schedule=cosine")


def test_only_the_validation_part_goes_by_the_name_of_the_test_part(tmp_path):
    world, recipe = prepared(f"data={HERE}:Opened", f"model={HERE}:Forward", "device=auto", "study.epochs=1", root=tmp_path)
    trained(world, recipe, keep=True)
    found = on_the_test_part(world, recipe).metrics
    assert found["eval_acc"] == 0.5 and {"test/acc", "eval_acc"} <= found.keys() and "val/acc" not in found


@pytest.mark.parametrize(
    ("model", "why"),
    [
        ("Forward", ""),
        ("Lit", "Lit is not timed: it has no forward"),
        ("Masked", "Masked is not timed: its forward does not work on the inputs of a batch alone (TypeError: "),
        ("Logging", "Logging is not timed: its forward does not work on the inputs of a batch alone (MisconfigurationException: "),
    ],
)
def test_a_module_of_the_users_is_timed_where_its_forward_takes_the_inputs_else_the_log_says_why(model, why, capsys):
    world, recipe = prepared(f"data={HERE}:Rows", f"model={HERE}:{model}", "device=auto", "study.epochs=1")
    metrics = trained(world, recipe, latency=True).metrics
    assert ("latency_ms" in metrics) is (not why) and (why or metrics["latency_ms"] > 0)
    printed = capsys.readouterr().out
    assert why in printed and ("is not timed" in printed) is bool(why)


def test_a_batch_that_is_a_tensor_is_timed_as_a_whole():
    """Its first row is one example without the dimension of the batch, which a convolution takes as well, and computes something else."""
    world, recipe = prepared(f"data={HERE}:Unlabelled", f"model={HERE}:Autoencoder", "device=auto", "study.epochs=1")
    metrics = trained(world, recipe, latency=True, objective="val_loss").metrics
    assert metrics["inference_samples_per_second"] > 0 and metrics["flops"] == 2 * 9 * (2 * 3 + 3 * 2) * 8 * 8


@pytest.mark.parametrize("data", ["Rated", "Mapped"])
def test_a_forward_of_several_inputs_is_timed(data):
    world, recipe = prepared(f"data={HERE}:{data}", f"model={HERE}:OfTwo", "device=auto", "study.epochs=1")
    metrics = trained(world, recipe, latency=True).metrics
    assert metrics["latency_ms"] > 0 and metrics["inference_samples_per_second"] > 0 and metrics["flops"] == 2 * (4 * 8 + 8 * 3)


@pytest.mark.parametrize(
    ("model", "error"), [("Full", OSError), ("Greedy", MemoryError), ("Interrupted", KeyboardInterrupt)], ids=lambda row: str(row)
)
def test_what_is_no_question_of_inputs_ends_the_timing(model, error):
    world, recipe = prepared(f"data={HERE}:Rows", f"model={HERE}:{model}", "device=auto", "study.epochs=1")
    with pytest.raises(error):
        trained(world, recipe, latency=True)


@pytest.mark.parametrize("model", ["mlp", f"{HERE}:Lit"])
def test_without_a_test_part_there_are_no_test_metrics(tmp_path, model):
    world, recipe = prepared(f"data={HERE}:Rows", f"model={model}", "device=auto", "study.epochs=1", root=tmp_path)
    trained(world, recipe, keep=True)
    found = on_the_test_part(world, recipe, latency=True).metrics
    assert "parameters" in found and not any(k.startswith("test") for k in found)


def test_a_compression_acts_after_training_and_on_stored_weights(kept):
    world, recipe = kept
    plain = trained(world, recipe, keep=True).metrics
    half = recipe.replace(compression={"half": {"use": True, "dtype": "bfloat16"}})
    for order in (ordered(Train, half, key="1"), ordered(Compress, half, key="1", weights="0")):
        compressed = outcome(world, order).metrics
        assert compressed["size_mb"] == plain["size_mb"] / 2
        assert compressed["val_accuracy"] == pytest.approx(plain["val_accuracy"], abs=0.02)
        assert compressed["val_loss"] != plain["val_loss"] == compressed["uncompressed_val_loss"]
    again = outcome(world, ordered(Measure, half, weights="1", part="validation")).metrics
    assert again["val_loss"] == compressed["val_loss"] and again["size_mb"] == plain["size_mb"] / 2
    assert not any(name.startswith("uncompressed") for name in again)


def test_the_outputs_are_looked_at_on_the_device_of_the_training(tmp_path):
    """Elsewhere the network would be compiled once more."""
    tree = compose(["data=diabetes", "model=mlp", "device=cpu", "loss=mse", "optimizer=adamw", "augmentation=none"])
    world, _ = prepare({"tree": tree, "store": str(tmp_path)})
    training = set_up(world, TryOut(key="0", recipe=Space.of(tree).baseline()), lambda *_: False)
    check_outputs(training.module, training.feed, torch.device("meta"))
    assert next(training.module.parameters()).is_meta


# -------------------------------------------------------------------------------------------------------------------------- regression


def test_values_are_measured_in_the_units_of_the_data(tmp_path):
    world, recipe = prepared("data=diabetes", "model=linear", "device=auto", "study.epochs=5", root=tmp_path)
    trained(world, recipe, objective="val_rmse", keep=True)
    found = on_the_test_part(world, recipe, objective="val_rmse")
    weights = load_file(world.store.weights("0"))
    x, y = world.task.parts["test"]
    scale = world.task.targets
    outputs = x @ weights["model.1.weight"].T + weights["model.1.bias"]
    by_hand = (scale.invert(outputs) - scale.invert(y)).square().mean().sqrt().item()
    assert found.metrics["test_rmse"] == pytest.approx(by_hand, rel=1e-5)
    assert 40 < by_hand < 400 and len(found.resamples) == 200


def test_the_losses_of_values_are_in_one_unit():
    world, recipe = prepared("data=diabetes", "model=linear", "loss=mse", "device=auto", "study.epochs=30", "optimizer.adamw.lr=0.01")
    metrics = measured(world, recipe)
    deviation = float(world.task.targets.deviation)
    assert metrics["val_loss"] == pytest.approx((metrics["val_rmse"] / deviation) ** 2, rel=1e-5) and deviation > 50
    assert metrics["train_loss"] == pytest.approx(metrics["val_loss"], rel=0.3), "a linear model does not overfit"
    raw, recipe = prepared("data=diabetes", "model=linear", "device=auto", "study.epochs=1", "split.normalise=false")
    metrics = measured(raw, recipe)
    assert metrics["val_loss"] == pytest.approx(metrics["val_rmse"] ** 2, rel=1e-5) and metrics["train_loss"] > 1000


def labelled() -> Examples:
    """Labels that show in the signs of the inputs; the last is set in one example of eight."""
    inputs = torch.randn(240, 4, generator=torch.Generator().manual_seed(0))
    return Examples(inputs, torch.cat([inputs[:, :2] > 0, (inputs[:, :3] > 0).all(1, keepdim=True)], 1), "multilabel", ("a", "b", "both"))


LABELS = (f"data={HERE}:labelled", "model=mlp", "loss=bce", "device=auto", "study.epochs=15", "optimizer.adamw.lr=0.01")


@pytest.mark.parametrize("augmentation", ["none", "[mixup]", "[gaussian_samples]"])
def test_labels_are_learnt_and_measured_each_by_itself(tmp_path, augmentation):
    world, recipe = prepared(*LABELS, f"augmentation={augmentation}", root=tmp_path)
    seen: list[dict] = []
    trained(world, recipe, lambda _, metrics: seen.append(metrics), objective="val_exact_match", keep=True)
    assert seen[-1].keys() >= {"val_f1", "val_loss", "val_exact_match", "train_loss"} and seen[-1]["val_loss"] < 1.2
    found = on_the_test_part(world, recipe, objective="val_f1")
    assert {"test_f1", "test_recall", "test_precision", "test_accuracy", "test_exact_match", "test_loss"} <= found.metrics.keys()
    assert found.metrics["test_f1"] > 0.8 and len(found.resamples) == 200


class Labels(Rows):
    """Labels of a data module, as truth values."""

    def rows(self, seed: int, shuffle: bool = False) -> DataLoader:
        whole = labelled()
        return DataLoader(TensorDataset(whole.inputs, whole.targets), self.batch_size, shuffle=shuffle)


def test_labels_of_a_data_module_are_learnt():
    world, recipe = prepared(f"data={HERE}:Labels", *LABELS[1:], "augmentation=[mixup]")
    assert world.task.kind == "multilabel" and measured(world, recipe, objective="val_f1")["val_f1"] > 0.8


def test_values_without_columns_are_as_good_as_one_column():
    found = []
    for data in ("Values", "Columns"):
        world, recipe = prepared(f"data={HERE}:{data}", "model=mlp", "device=auto", "study.epochs=2")
        found.append(measured(world, recipe, objective="val_rmse"))
    assert found[0] == found[1]
    assert found[0]["val_r2"] > -1


def test_further_tensors_of_a_batch_are_refused_for_a_network():
    with pytest.raises(BadInput, match=r"batches hold 3 tensors, but a network takes two, \(inputs, targets\); give a"):
        prepared(f"data={HERE}:Weighted", "model=mlp", "device=auto")
    world, recipe = prepared(f"data={HERE}:Weighted", f"model={HERE}:Lit", "device=auto", "study.epochs=1")
    assert trained(world, recipe).metrics["val_accuracy"] > 0


# --------------------------------------------------------------------------------------------------------------------------- try-outs


def tried(world: World, recipe: Recipe, report: Callable = going, **said) -> Outcome:
    return outcome(world, ordered(TryOut, recipe, **said), report)


def line_of(function: Callable) -> int:
    """The line of its `raise`, its last."""
    lines, first = inspect.getsourcelines(function)
    return first + len(lines) - 1


@pytest.mark.parametrize(
    ("slot", "name", "detail"),
    [
        ("optimizer", "absent", "no such machine here"),
        ("optimizer", "confused", "returned str, expected Optimizer"),
        ("optimizer", "raising", f"ZeroDivisionError: of course (test_trial.py, line {line_of(raising)})"),
        ("optimizer", "idle", "its step does not call the closure, which computes the loss and its gradient"),
        ("model", "wide", r"gives (300, 11) for inputs (300, 1, 8, 8), the task needs outputs (300, 10)"),
        ("model", "deep_supervised", "gives tuple in training, but a tensor in evaluation"),
        ("model", "double", r"gives tuple for inputs (300, 1, 8, 8), the task needs outputs (300, 10)"),
        ("augmentation", "clumsy", f"ValueError: dropped it (test_trial.py, line {line_of(clumsy)})"),
    ],
)
def test_a_try_out_fails_with_its_technique(digits, slot, name, detail):
    world, recipe = digits
    said = recipe.replace(**{slot: {name: {"from": f"{HERE}:{name}"}}})
    detail = detail.replace("300", "128")  # two batches of 64
    with pytest.raises(TechniqueError) as caught:
        tried(world, said)
    assert classify(caught.value) == Problem("plugin", detail, slot, name, unavailable=name == "absent")
    if slot != "model":
        with pytest.raises(TechniqueError, match=re.escape(f"{slot}/{name}: {detail}")) as caught:
            trained(world, said)
        assert caught.value.unavailable is (name == "absent")


def test_a_model_that_ends_with_a_softmax_is_told(digits):
    world, recipe = digits
    said = recipe.replace(model={"certain": {"from": f"{HERE}:certain"}})
    assert tried(world, said).notes == ["the model gives probabilities, but the losses take logits and apply a softmax: leave out its own"]
    assert tried(world, recipe).notes == []


@pytest.mark.parametrize(("model", "blamed"), [("Fragile", "Fragile"), ("helped", "helped"), ("unsaid", None)])
def test_of_techniques_that_share_a_file_the_one_is_blamed_whose_code_it_was(digits, model, blamed):
    world, recipe = digits
    shared = {"model": {model: {"from": f"{HERE}:{model}"}}, "regularizer": {"stepwise": {"from": f"{HERE}:stepwise"}}}
    with pytest.raises(TechniqueError if blamed else ValueError) as caught:
        trained(world, recipe.replace(**shared))
    assert getattr(caught.value, "name", None) == blamed and getattr(caught.value, "slot", "model") == "model"


def test_an_optimizer_is_not_blamed_for_the_closure_that_it_calls(digits):
    world, recipe = digits
    of_glass = {"model": {"Fragile": {"from": f"{HERE}:Fragile"}}, "optimizer": {"gd": {}}}
    with pytest.raises(TechniqueError, match="model/Fragile: ValueError: of glass"):
        trained(world, recipe.replace(**of_glass))


def test_a_technique_without_a_file_hides_no_error(digits, monkeypatch):
    world, recipe = digits
    monkeypatch.setitem(LIVE, "__main__:model", partial(Fragile))
    find.cache_clear()
    with pytest.raises(ValueError, match=r"^of glass$"):
        trained(world, recipe.replace(model={"model": {"from": "__main__:model"}}))
    find.cache_clear()


def test_a_disk_that_fills_up_inside_of_a_technique_is_not_its_fault(digits):
    world, recipe = digits
    with pytest.raises(TechniqueError) as caught:  # of its builder
        tried(world, recipe.replace(initializer={"caching": {"from": f"{HERE}:caching"}}))
    assert classify(caught.value) == Problem("disk", "OSError: [Errno 28] No space left on device")
    with pytest.raises(OSError, match="No space left"):  # of what it built
        tried(world, recipe.replace(model={"spilling": {"from": f"{HERE}:spilling"}}))


def test_a_try_out_fails_with_any_other_problem(digits):
    world, _ = digits
    recipe = prepared(*SMALL, "optimizer=sgd", "optimizer.sgd.lr=1e30")[1]
    with pytest.raises(NonFinite, match=r"is (nan|inf)") as caught:
        tried(world, recipe)
    assert (classify(caught.value).reason, classify(caught.value).slot) == ("nonfinite", "")


@pytest.mark.parametrize("where", [SMALL, (f"data={HERE}:Rows", f"model={HERE}:Lit", "device=auto", "batches.size=16")])
def test_a_try_out_is_one_epoch_of_two_batches_and_measures(where):
    world, recipe = prepared(*where)
    regularizer = {"stepwise": {"from": f"{HERE}:stepwise"}}
    COUNTED.clear()
    reports = []
    found = tried(world, recipe.replace(regularizer=regularizer), lambda epoch, metrics: reports.append(epoch) or False)
    assert reports == [1] and COUNTED == [1, 2]
    assert 0 <= found.metrics["val_accuracy"] <= 1


def test_a_try_out_measures_two_batches_of_the_test_part(tmp_path, capsys):
    world, recipe = prepared(*SMALL)
    assert {"test_accuracy", "test_loss", "size_mb"} <= tried(world, recipe).tested.keys()
    world, recipe = prepared(f"data={HERE}:Opened", f"model={HERE}:Forward", "device=auto", "batches.size=16")
    found = tried(world, recipe).tested
    assert {"test/acc", "eval_acc"} <= found.keys() and "val/acc" not in found
    world, recipe = prepared(f"data={HERE}:Rows", "model=mlp", "device=auto")
    assert tried(world, recipe).tested == {} and "Traceback" not in capsys.readouterr().err


def test_a_test_part_that_cannot_be_measured_fails_no_try_out(capsys):
    world, recipe = prepared(f"data={HERE}:Untestable", "model=mlp", "device=auto")
    found = tried(world, recipe)
    assert found.tested == {} and found.metrics["val_accuracy"] >= 0
    assert "FileNotFoundError: no test.csv" in capsys.readouterr().err


def test_a_try_out_of_grouped_examples_resamples_the_groups_that_it_has(tmp_path):
    rows = "\n".join(f"{i % 40},{i % 7},{i % 2}" for i in range(400))
    (tmp_path / "rows.csv").write_text(f"who,x,y\n{rows}\n")
    data = ("data=csv", f"data.csv.path={tmp_path / 'rows.csv'}", "data.csv.target=y", "split.group=who")
    world, recipe = prepared(*data, "model=linear", "device=auto", "batches.size=4")
    assert len(world.task.groups) > 8
    found = tried(world, recipe)
    assert 0 <= found.tested["test_accuracy"] <= 1


def test_a_try_out_takes_up_trained_weights_to_try_a_compression(kept):
    world, recipe = kept
    trained(world, recipe, keep=True)
    half = recipe.replace(compression={"half": {"use": True, "dtype": "bfloat16"}})
    found = tried(world, half, lambda *_: pytest.fail("nothing is trained"), key="0-half", weights="0")
    assert found.metrics["size_mb"] == found.metrics["uncompressed_size_mb"] / 2 and found.epochs == 0
    assert found.tested["size_mb"] == found.metrics["size_mb"] and not world.store.has_weights("0-half")


def test_a_graph_is_written_of_a_folder_of_the_store(kept):
    world, recipe = kept
    with pytest.raises(FileNotFoundError, match=str(world.store.root / "best")):
        run(world, Graph(key="export", recipe=recipe, folder="best").json(), going)


def test_the_packages_whose_code_decides_a_score_are_recorded():
    extras = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    computing = [package for extra in ("images", "timm", "torchvision", "optimizers", "onnx", "compress") for package in extras[extra]]
    assert {re.split("[>=<]", package)[0] for package in computing} <= {*RECORDED}
