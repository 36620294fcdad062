"""The author's own Trainer: its arguments and its callbacks are part of trial 0, as they are part of the author's training."""

from dataclasses import replace
from pathlib import Path

import lightning.pytorch as L
import pytest
import torch
from lightning.pytorch.callbacks import (
    Callback,
    EarlyStopping,
    EMAWeightAveraging,
    LearningRateMonitor,
    ModelCheckpoint,
    ModelSummary,
    StochasticWeightAveraging,
    TQDMProgressBar,
)  # fmt: skip
from safetensors.torch import load_file
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, TensorDataset

from autoopt import api
from autoopt.config import compose
from autoopt.data.loaders import seed_all
from autoopt.errors import BadInput, TechniqueError
from autoopt.orders import Measure, Outcome, Train, TryOut
from autoopt.recipe import Recipe
from autoopt.space import Space
from autoopt.study.baseline import untouched
from autoopt.trial import fitting
from autoopt.trial.run import prepare, run

HERE = __name__
EPOCHS, SEED = 6, 7
KEEP = ("schedule=keep", "regularizer=none")
SEEN: dict[str, int] = {}


class Data(L.LightningDataModule):
    """Validation of a shift of its own, so that the best epoch is not the last."""

    def rows(self, seed: int, shuffle: bool = False) -> DataLoader:
        generator = torch.Generator().manual_seed(seed)
        targets = torch.arange(60) % 3
        return DataLoader(TensorDataset(torch.randn(60, 4, generator=generator) + targets[:, None], targets), 16, shuffle=shuffle)

    def train_dataloader(self):
        return self.rows(0, shuffle=True)

    def val_dataloader(self):
        return self.rows(1)

    def test_dataloader(self):
        return self.rows(2)


class Lit(L.LightningModule):
    """Its rate is so large that its gradients need to be clipped, and that it gets worse again."""

    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Dropout(0.2), nn.Linear(8, 3))

    def forward(self, x):
        return self.net(x)

    def training_step(self, batch, _):
        loss = cross_entropy(self(batch[0]), batch[1])
        self.log("train_loss", loss)
        return 30 * loss

    def validation_step(self, batch, _):
        SEEN["validated"] = SEEN.get("validated", 0) + 1
        self.log("val_loss", cross_entropy(self(batch[0]), batch[1]))

    def configure_optimizers(self):
        optimizer = torch.optim.SGD(self.parameters(), lr=0.2, momentum=0.9)
        return [optimizer], [torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, EPOCHS)]


class WithCallbacks(Lit):
    def configure_callbacks(self):
        return best_epoch()


class Exchange(Callback):
    """Validates the mean of the weights, as many authors write it: outside of a training there is none."""

    mean: list[torch.Tensor]

    def on_fit_start(self, trainer, pl_module):
        self.mean = [p.detach().clone() for p in pl_module.parameters()]

    def on_train_batch_end(self, trainer, pl_module, *_):
        torch._foreach_lerp_(self.mean, [p.detach() for p in pl_module.parameters()], 0.1)

    def on_validation_start(self, trainer, pl_module):
        self.held = [p.detach().clone() for p in pl_module.parameters()]
        self.show(pl_module, self.mean)

    def on_validation_end(self, trainer, pl_module):
        self.show(pl_module, self.held)

    def show(self, pl_module, weights):
        for parameter, weight in zip(pl_module.parameters(), weights, strict=True):
            parameter.data.copy_(weight)


class Careful(Exchange):
    mean = ()

    def show(self, pl_module, weights):
        super().show(pl_module, weights or list(pl_module.parameters()))


class WithExchange(Lit):
    def configure_callbacks(self):
        return Exchange()


class WithOneExchange(Lit):
    """Gives the same callback each time."""

    def __init__(self):
        super().__init__()
        self.exchange = Exchange()

    def configure_callbacks(self):
        return [self.exchange]


class Renewing(Exchange):
    """Sets weights of its own after the last validation."""

    def on_train_end(self, trainer, pl_module):
        self.show(pl_module, [torch.full_like(mean, 0.25) for mean in self.mean])


class WithAveraging(Lit):
    def configure_callbacks(self):
        return averaging()


class ReadsCheckpoint(Lit):
    def on_train_start(self):
        assert self.trainer.checkpoint_callback.best_model_path == ""

    def on_fit_end(self):
        path = self.trainer.checkpoint_callback.best_model_path
        SEEN["stored"] = torch.load(path, weights_only=True) | {"path": Path(path)}


class ByHand(Lit):
    def __init__(self):
        super().__init__()
        self.automatic_optimization = False


def callbacks() -> list[Callback]:
    return [EarlyStopping("val_loss", patience=2), LearningRateMonitor(), ModelSummary(), TQDMProgressBar()]


def best_epoch() -> list[Callback]:
    return [ModelCheckpoint(dirpath="never_made", monitor="val_loss"), ModelCheckpoint(dirpath="never_made", save_last=True)]


def averaging() -> Callback:
    return EMAWeightAveraging(decay=0.5)


def averaging_at_the_end() -> Callback:
    return StochasticWeightAveraging(swa_lrs=0.2, swa_epoch_start=0.5)


def unmonitored() -> ModelCheckpoint:
    return ModelCheckpoint(every_n_epochs=2)


def misspelt() -> ModelCheckpoint:
    return ModelCheckpoint(monitor="val_los")


LISTED = [EarlyStopping("val_loss", patience=1)]


def wrong() -> list:
    return [3]


NUMBER = 3


def told_as_a_network() -> nn.Module:
    return Lit()


class Bench:
    """Orders for trial 0 of a search, carried out as a trial does."""

    def __init__(self, path, monkeypatch):
        self.path = path
        monkeypatch.chdir(path)
        SEEN.clear()

    def tree(self, *overrides: str) -> dict:
        model = () if any(o.startswith("model=") for o in overrides) else (f"model={HERE}:Lit",)
        return compose([f"data={HERE}:Data", *model, f"study.epochs={EPOCHS}", *overrides])

    def recipe(self, *overrides: str) -> Recipe:
        tree = self.tree(*overrides)
        return untouched(tree, {}) or Space.of(tree).without_compression().baseline()

    def run(self, order) -> Outcome:
        world, _ = prepare({"tree": self.tree(), "store": str(self.path)})
        return Outcome(**run(world, order.json(), lambda epoch, metrics: False))

    def train(self, *overrides: str, **said) -> Outcome:
        return self.run(Train(key="0", recipe=self.recipe(*overrides), seed=SEED, keep=True, objective="val_loss", **said))

    def weights(self) -> dict[str, torch.Tensor]:
        return load_file(self.path / "trials" / "0" / "model.safetensors")


@pytest.fixture
def bench(tmp_path, monkeypatch) -> Bench:
    return Bench(tmp_path, monkeypatch)


def by_hand(module: L.LightningModule, **arguments) -> tuple[L.Trainer, dict[str, torch.Tensor]]:
    """The weights of the author's own script."""
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "accelerator": "auto"}
    arguments = {"enable_checkpointing": False, "max_epochs": EPOCHS} | arguments
    trainer = L.Trainer(**quiet, **arguments)
    trainer.fit(module, datamodule=Data())
    return trainer, module.state_dict()


def seeded(kind: type[L.LightningModule] = Lit) -> L.LightningModule:
    seed_all(SEED)
    return kind()


def same(ours: dict, theirs: dict) -> bool:
    return ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name].cpu()) for name in ours)


@pytest.mark.parametrize(
    ("arguments", "own_callbacks"),
    [
        ({}, None),
        ({"gradient_clip_val": 5}, "callbacks"),
        ({"gradient_clip_val": 0.5, "gradient_clip_algorithm": "value"}, None),
        ({"accumulate_grad_batches": 3}, "LISTED"),
        ({"limit_train_batches": 2, "limit_val_batches": 0.5, "num_sanity_val_steps": 2}, "callbacks"),
        ({"val_check_interval": 2}, "callbacks"),
        ({"check_val_every_n_epoch": 2, "min_epochs": 5}, "LISTED"),
        ({"overfit_batches": 2, "detect_anomaly": True}, None),
        ({"precision": "bf16-mixed", "deterministic": True}, None),
    ],
)
def test_trial_0_is_bit_equal_to_the_authors_own_script(bench, arguments, own_callbacks):
    said = [f"trainer.{name}={str(value).lower()}" for name, value in arguments.items()]
    outcome = bench.train(*said, *([] if own_callbacks is None else [f"trainer.callbacks={HERE}:{own_callbacks}"]))
    patience = {"callbacks": 2, "LISTED": 1, None: EPOCHS}[own_callbacks]
    trainer, theirs = by_hand(seeded(), callbacks=[EarlyStopping("val_loss", patience=patience)], **arguments)
    torch.use_deterministic_algorithms(False)
    assert same(bench.weights(), theirs)
    assert outcome.epochs == trainer.current_epoch


def test_without_the_arguments_the_weights_are_others(bench):
    bench.train("trainer.gradient_clip_val=5")
    assert not same(bench.weights(), by_hand(seeded())[1])


@pytest.mark.slow
@pytest.mark.parametrize("said", [(f"trainer.callbacks={HERE}:best_epoch",), (f"model={HERE}:WithCallbacks",)])
def test_the_weights_of_the_best_epoch_are_taken_and_measured_where_the_author_says_so(bench, said):
    outcome = bench.train(*said)
    checkpoint = ModelCheckpoint(dirpath=bench.path / "theirs", monitor="val_loss")
    trainer, last = by_hand(seeded(), callbacks=[checkpoint], enable_checkpointing=True)
    best = torch.load(checkpoint.best_model_path, weights_only=True)
    assert best["epoch"] < EPOCHS - 1, "the best epoch is the last: nothing is tested"
    assert same(bench.weights(), best["state_dict"]) and not same(bench.weights(), last)
    assert outcome.metrics["val_loss"] == pytest.approx(float(checkpoint.best_model_score))
    assert outcome.metrics["val_loss"] < float(trainer.callback_metrics["val_loss"])
    assert outcome.epochs == EPOCHS


@pytest.mark.parametrize("said", [("regularizer=[ema]",), (f"trainer.callbacks={HERE}:averaging",)])
def test_of_averaged_weights_those_of_the_best_epoch_are_stored_and_measured(bench, said):
    callbacks = " ".join([f"trainer.callbacks={HERE}:best_epoch", *(line.partition("=")[2] for line in said if "callbacks" in line)])
    more = [line for line in said if "callbacks" not in line]
    tree = bench.tree("optimizer=keep", "schedule=keep", "regularizer=none", *more, callbacks)
    order = Train(key="0", recipe=Space.of(tree).baseline(), seed=SEED, keep=True, objective="val_loss")
    outcome = bench.run(order)
    module = Lit()
    module.load_state_dict(bench.weights())
    (stored,) = by_hand_validated(module)
    assert outcome.metrics["val_loss"] == pytest.approx(stored["val_loss"], rel=1e-6)


@pytest.mark.parametrize("order", [Train, TryOut])
def test_checkpoints_are_written_into_the_trials_folder_and_deleted(bench, order, monkeypatch):
    written = []
    taken = fitting.take_up_best
    monkeypatch.setattr(fitting, "take_up_best", lambda *given: written.extend(bench.path.rglob("*.ckpt")) or taken(*given))
    bench.run(order(key="0", recipe=bench.recipe(f"trainer.callbacks={HERE}:best_epoch"), objective="val_loss"))
    assert written and {path.parent for path in written} == {bench.path / "trials" / "0" / "checkpoints"}
    assert not [*bench.path.rglob("*.ckpt")] and not (bench.path / "never_made").exists()


@pytest.mark.slow
def test_a_module_that_reads_the_path_of_the_last_checkpoint_finds_it(bench):
    bench.train(f"model={HERE}:ReadsCheckpoint")
    stored = SEEN["stored"]
    assert same(bench.weights(), stored["state_dict"]) and stored["optimizer_states"]
    assert stored["path"].parent == bench.path / "trials" / "0" / "checkpoints" and not stored["path"].exists()


def test_a_checkpoint_that_monitors_nothing_leaves_the_last_epoch(bench):
    bench.train(f"trainer.callbacks={HERE}:unmonitored")
    assert same(bench.weights(), by_hand(seeded())[1])


def test_a_callback_that_cannot_work_is_seen_in_the_try_out(bench):
    with pytest.raises(Exception, match="val_los"):
        bench.run(TryOut(key="0", recipe=bench.recipe(f"trainer.callbacks={HERE}:misspelt"), objective="val_loss"))


@pytest.mark.parametrize(
    ("said", "again"),
    [
        ("trainer.gradient_clip_val=5", 0),
        ("trainer.val_check_interval=3", 4),
        ("trainer.check_val_every_n_epoch=4", 4),
        (f"trainer.callbacks={HERE}:averaging", 0),
        (f"trainer.callbacks={HERE}:averaging_at_the_end", 4),
    ],
)
def test_what_the_last_validation_did_not_see_is_measured_again(bench, said, again):
    """Four batches of validation data: the six epochs' own ones, and those of the measurement."""
    own = 1 if said == "trainer.check_val_every_n_epoch=4" else 6
    outcome = bench.train(said)
    assert SEEN["validated"] == 4 * own + again
    module = Lit()
    module.load_state_dict(bench.weights())
    (measured,) = by_hand_validated(module)
    assert outcome.metrics["val_loss"] == pytest.approx(measured["val_loss"], rel=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("said", [f"trainer.callbacks={HERE}:Exchange", f"trainer.callbacks={HERE}:Careful", f"model={HERE}:WithExchange",
     f"model={HERE}:WithOneExchange"])  # fmt: skip
def test_weights_that_a_callback_exchanges_for_validations_are_the_result(bench, said):
    bench.run(TryOut(key="t", recipe=bench.recipe(said), objective="val_loss"))
    SEEN.clear()
    outcome = bench.train(said)
    assert SEEN["validated"] == 6 * 4, "they were validated"
    module = Lit()
    module.load_state_dict(bench.weights())
    (measured,) = by_hand_validated(module)
    assert outcome.metrics["val_loss"] == pytest.approx(measured["val_loss"], rel=1e-6)
    again = bench.run(Measure(key="m", recipe=bench.recipe(said), weights="0", part="validation", objective="val_loss"))
    assert again.metrics["val_loss"] == pytest.approx(measured["val_loss"], rel=1e-6)
    trainer, trained = by_hand(seeded(), callbacks=[Exchange()])
    assert trainer.callback_metrics["val_loss"].item() == pytest.approx(measured["val_loss"], rel=1e-6)
    assert not same(bench.weights(), trained)


@pytest.mark.parametrize("name", ["ema", "swa"])
@pytest.mark.parametrize(
    "own", [f"trainer.callbacks={HERE}:averaging", f"trainer.callbacks={HERE}:averaging_at_the_end", f"model={HERE}:WithAveraging"]
)
def test_a_second_mean_of_the_weights_is_refused(bench, name, own):
    """Each of the two took the mean of the other for the weights in training, which were lost at the first validation."""
    tree = bench.tree("optimizer=keep", "schedule=keep", f"regularizer=[{name}]", own)
    with pytest.raises(TechniqueError, match=rf"{name}: \w+Averaging of your own training puts a mean in place of the weights") as raised:
        bench.run(TryOut(key="0", recipe=Space.of(tree).baseline(), objective="val_loss"))
    assert raised.value.unavailable


def test_weights_that_are_set_after_the_last_validation_are_the_result(bench):
    outcome = bench.train(f"trainer.callbacks={HERE}:Renewing")
    assert all((weights == 0.25).all() for weights in bench.weights().values())
    module = Lit()
    module.load_state_dict(bench.weights())
    (measured,) = by_hand_validated(module)
    assert outcome.metrics["val_loss"] == pytest.approx(measured["val_loss"], rel=1e-6)


def test_epochs_after_the_last_validation_count(bench):
    """Of six epochs the fourth is validated, with the mean of the weights."""
    outcome = bench.train(f"trainer.callbacks={HERE}:Exchange", "trainer.check_val_every_n_epoch=4")
    _, trained = by_hand(seeded(), callbacks=[Exchange()], check_val_every_n_epoch=4)
    assert same(bench.weights(), trained)
    module = Lit()
    module.load_state_dict(bench.weights())
    (measured,) = by_hand_validated(module)
    assert outcome.metrics["val_loss"] == pytest.approx(measured["val_loss"], rel=1e-6)


def by_hand_validated(module: L.LightningModule, **arguments) -> list:
    trainer = L.Trainer(logger=False, enable_progress_bar=False, enable_model_summary=False, accelerator="auto", **arguments)
    return trainer.validate(module, datamodule=Data(), verbose=False)


@pytest.mark.parametrize(("said", "batches"), [((), 4), (("trainer.limit_val_batches=1",), 4), (("trainer.limit_test_batches=3",), 3)])
def test_the_test_part_has_a_limit_of_its_own(bench, said, batches):
    bench.train(*said)
    SEEN.clear()
    bench.run(Measure(key="t", recipe=bench.recipe(*said), weights="0", objective="val_loss"))
    assert SEEN["validated"] == batches


class OtherTest(Lit):
    """Tests in another way than it validates."""

    def test_step(self, batch, _):
        self.log("test_loss", 2 * cross_entropy(self(batch[0]), batch[1]))
        self.log("test_bias", self.net[0].bias.sum())


class WithoutObjective(OtherTest):
    def test_step(self, batch, _):
        self.log("rank", 7.0)


class ThroughValidation(Lit):
    """Its test goes through its validation, which logs under its own name, and then logs under that of the test."""

    def test_step(self, batch, number):
        self.log("test_loss", 2 * cross_entropy(self(batch[0]), batch[1]))
        self.validation_step(batch, number)


class Rescaled(Lit):
    """Its test part has targets of another scale, as its test alone knows; the loss is logged by its validation alone."""

    def validation_step(self, batch, number):
        super().validation_step(batch, number)
        self.log("val/error", self(batch[0]).square().mean())

    def test_step(self, batch, _):
        self.log("test/error", 4 * self(batch[0]).square().mean())


class MadeForTheTest(OtherTest):
    """Makes for its test what only that needs, and with it new layers at each call."""

    def setup(self, stage):
        self.net = nn.Sequential(nn.Linear(4, 3))
        if stage == "test":
            self.factor = nn.Parameter(torch.tensor(2.0), requires_grad=False)

    def test_step(self, batch, _):
        self.log("test_loss", self.factor * cross_entropy(self(batch[0]), batch[1]))


class FailingTest(Lit):
    def test_step(self, batch, _):
        self.log("test_loss", 2 * cross_entropy(self(batch[0]), batch[1]))
        self.outputs.append(batch)


class Adapts(Lit):
    """Its validation takes a step of gradient descent first, as those of meta-learning do."""

    def validation_step(self, batch, number):
        with torch.enable_grad():
            gradients = torch.autograd.grad(cross_entropy(self(batch[0]), batch[1]), list(self.parameters()))
            adapted = {name: p - 0.1 * g for (name, p), g in zip(self.named_parameters(), gradients, strict=True)}
            self.log("val_loss", cross_entropy(torch.func.functional_call(self, adapted, (batch[0],)), batch[1]).detach())


def by_hand_tested(module: L.LightningModule) -> dict:
    trainer = L.Trainer(logger=False, enable_progress_bar=False, enable_model_summary=False, accelerator="auto")
    (logged,) = trainer.test(module, datamodule=Data(), verbose=False)
    return logged


@pytest.mark.slow
@pytest.mark.parametrize("kind", [OtherTest, ThroughValidation])
def test_the_test_part_is_measured_by_the_authors_test(bench, kind):
    said = f"model={HERE}:{kind.__name__}"
    bench.train(said)
    SEEN.clear()
    measured = bench.run(Measure(key="t", recipe=bench.recipe(said), weights="0", objective="val_loss"))
    assert SEEN.get("validated", 0) == (0 if kind is OtherTest else 4), "and by it alone"
    module = kind()
    module.load_state_dict(bench.weights())
    theirs = by_hand_tested(module)
    assert measured.metrics["test_loss"] == pytest.approx(theirs["test_loss"], rel=1e-6)
    assert kind is not OtherTest or measured.metrics["test_bias"] == pytest.approx(theirs["test_bias"], rel=1e-6)
    assert len(measured.resamples) == 200 and measured.units == 4
    assert sum(measured.resamples) / 200 == pytest.approx(theirs["test_loss"], rel=0.1), "they are of the test steps"
    again = bench.run(Measure(key="m", recipe=bench.recipe(said), weights="0", part="validation", objective="val_loss"))
    (validated,) = by_hand_validated(module)
    assert again.metrics["val_loss"] == pytest.approx(validated["val_loss"], rel=1e-6)


@pytest.mark.slow
def test_what_a_setup_makes_for_the_test_is_there_and_the_trained_layers_stay(bench):
    said = f"model={HERE}:MadeForTheTest"
    bench.train(said)
    measured = bench.run(Measure(key="t", recipe=bench.recipe(said), weights="0", objective="val_loss"))
    trained = OtherTest()
    trained.net = nn.Sequential(nn.Linear(4, 3))
    trained.load_state_dict(bench.weights())
    assert measured.metrics["test_loss"] == pytest.approx(by_hand_tested(trained)["test_loss"], rel=1e-6)
    assert not measured.notes


def measured_by_validation(bench, name):
    """What a module and one without a test of its own measure on the test part, with the same weights; the objective is the same."""
    bench.train()
    plain, other = (
        bench.run(Measure(key=key, recipe=recipe, weights="0", objective="val_loss"))
        for key, recipe in {"t": bench.recipe(), "u": bench.recipe(f"model={HERE}:{name}")}.items()
    )
    assert other.metrics["test_loss"] == plain.metrics["test_loss"] and other.resamples == plain.resamples
    return plain, other


@pytest.mark.slow
def test_a_test_without_the_objective_adds_to_the_validation(bench):
    plain, other = measured_by_validation(bench, "WithoutObjective")
    assert other.metrics["rank"] == 7.0 and "rank" not in plain.metrics


@pytest.mark.slow
def test_where_the_authors_test_works_in_another_way_the_validation_does_not_measure_the_test_part(bench):
    said = f"model={HERE}:Rescaled"
    tried = bench.run(TryOut(key="v", recipe=bench.recipe(said), objective=None))
    assert "test_loss" not in tried.tested and {"val/error", "val_loss"} <= {*tried.validated}
    (note,) = tried.notes
    assert note.startswith("Rescaled is tested in another way than it is validated: test/error is ")
    assert note.endswith("; so test_loss, which its test does not log, cannot be measured on the test split")
    bench.train(said)
    module = Rescaled()
    module.load_state_dict(bench.weights())
    for objective, known in {"val_loss": {"test/error"}, "val/error": {"test/error"}}.items():
        measured = bench.run(Measure(key=objective[:5], recipe=bench.recipe(said), weights="0", objective=objective))
        assert {name for name in measured.metrics if name.startswith("test")} == known
        assert measured.metrics["test/error"] == pytest.approx(by_hand_tested(module)["test/error"], rel=1e-6)


@pytest.mark.slow
def test_where_the_authors_test_fails_the_validation_measures_the_test_part(bench):
    measured_by_validation(bench, "FailingTest")
    tried = bench.run(TryOut(key="v", recipe=bench.recipe(f"model={HERE}:FailingTest"), objective="val_loss"))
    assert tried.untested == "" and "test_loss" in tried.tested
    (note,) = tried.notes
    assert note.startswith("the test of FailingTest fails (AttributeError: ") and note.endswith("measured by its validation_step instead")


def test_a_validation_that_computes_gradients_in_a_training_computes_them_after_it(bench):
    said = f"model={HERE}:Adapts"
    bench.run(TryOut(key="0", recipe=bench.recipe(said), objective="val_loss"))
    trainer, _ = by_hand(seeded(Adapts))
    assert bench.train(said).metrics["val_loss"] == pytest.approx(float(trainer.callback_metrics["val_loss"]), rel=1e-6)
    assert "test_loss" in bench.run(Measure(key="t", recipe=bench.recipe(said), weights="0", objective="val_loss")).metrics


@pytest.mark.slow
def test_a_callback_that_exchanges_the_weights_for_a_test_takes_no_part(bench):
    """The weights that are measured are the result, which its mean would be exchanged with."""
    said = (f"model={HERE}:OtherTest", f"trainer.callbacks={HERE}:Zeroing")
    bench.train(*said)
    measured = bench.run(Measure(key="t", recipe=bench.recipe(*said), weights="0", objective="val_loss"))
    module = OtherTest()
    module.load_state_dict(bench.weights())
    assert measured.metrics["test_loss"] == pytest.approx(by_hand_tested(module)["test_loss"], rel=1e-6)


class Zeroing(Callback):
    def on_test_start(self, trainer, pl_module):
        for parameter in pl_module.parameters():
            parameter.data.zero_()


def test_a_try_out_is_short_whatever_the_author_says(bench):
    said = ("trainer.limit_train_batches=1.0", "trainer.limit_val_batches=1.0", "trainer.val_check_interval=3", "trainer.min_epochs=4")
    outcome = bench.run(TryOut(key="0", recipe=bench.recipe(*said, "trainer.check_val_every_n_epoch=3"), objective="val_loss"))
    assert outcome.epochs == 1 and outcome.validated == ["val_loss", "parameters", "size_mb"]
    assert SEEN["validated"] == 6  # two of the epoch, two as it was stored, two of the test part


def test_a_part_that_is_not_measured_is_not_measured_in_the_try_out(bench):
    outcome = bench.run(TryOut(key="0", recipe=bench.recipe("trainer.limit_val_batches=0"), objective=None))
    assert "val_loss" not in {*outcome.metrics, *outcome.validated}


def test_a_regularizer_knows_the_steps_of_limited_epochs(bench):
    recipe = bench.recipe("trainer.limit_train_batches=0.5", "trainer.accumulate_grad_batches=2")
    told = recipe.replace(regularizer={"counting": {"from": f"{HERE}:counting", "use": True}})
    bench.run(Train(key="0", recipe=told, objective="val_loss"))
    assert SEEN["steps"] == EPOCHS


def counting(model, total_steps) -> None:
    SEEN["steps"] = total_steps


@pytest.mark.parametrize(
    ("said", "message"),
    [
        (f"trainer.callbacks={HERE}:nobody", "nobody cannot be loaded: AttributeError"),
        (f"trainer.callbacks={HERE}:NUMBER", "NUMBER is 3; expected a list of callbacks"),
        ("model=mlp", "trainer.gradient_clip_val=5.0: a network without a training_step"),
        (f"model={HERE}:told_as_a_network", "; if told_as_a_network makes a LightningModule, let it say so: -> LightningModule$"),
    ],
)
def test_what_cannot_be_used_is_said_before_anything_starts(bench, said, message):
    with pytest.raises(BadInput, match=message):
        prepare({"tree": bench.tree(said, "trainer.gradient_clip_val=5"), "store": str(bench.path)})


def test_what_is_no_callback_is_named(bench):
    with pytest.raises(BadInput, match="wrong gives 3; expected callbacks of Lightning"):
        bench.train(f"trainer.callbacks={HERE}:wrong")


def test_a_function_that_makes_a_lightning_module_but_says_otherwise_is_told(bench):
    with pytest.raises(TechniqueError, match="says that it returns Module, but makes a LightningModule; let it say so: -> LightningModule"):
        bench.train(f"model={HERE}:told_as_a_network")


def test_several_callbacks_are_named_with_spaces(bench):
    outcome = bench.train(f'trainer.callbacks="{HERE}:LISTED {HERE}:best_epoch"')
    assert outcome.epochs < EPOCHS and LISTED[0].wait_count == 0, "the listed object itself was used"


def test_a_searched_argument_is_in_the_recipe_and_trial_0_has_its_first_value(bench):
    tree = bench.tree("trainer.gradient_clip_val=null,1,5", "trainer.accumulate_grad_batches=2", "trainer.limit_train_batches=0.5,1.0")
    space = Space.of(tree).without_compression()
    assert {d.path: d.options for d in space.domains() if d.path.startswith("trainer.")} == {
        "trainer.gradient_clip_val": (None, 1.0, 5.0),
        "trainer.limit_train_batches": (0.5, 1.0),
    }
    assert space.baseline().trainer == {"accumulate_grad_batches": 2, "limit_train_batches": 0.5}
    assert space.recipe({"trainer.gradient_clip_val": 5.0}).trainer["gradient_clip_val"] == 5.0
    adamw = bench.tree("trainer.gradient_clip_val=null,1,5", "optimizer=adamw")
    assert untouched(tree, {}) is None and untouched(adamw, {}).trainer == {}


@pytest.mark.parametrize("said", ["trainer.precision=32,16", "trainer.accumulate_grad_batches=1,2"])
def test_an_optimizer_that_needs_its_closure_gets_it(bench, said):
    space = Space.of(bench.tree("optimizer=sam,sgd", said)).without_compression().fitting({"optimizer": {}})
    (value,) = [space.with_option("optimizer", "sam").walk(lambda d: d.options[-1]).trainer[key] for key in (said[8:].partition("=")[0],)]
    assert value in ("32", 1)
    assert space.with_option("optimizer", "sgd").walk(lambda d: d.options[-1]).trainer != {} != value


def test_a_recipe_brings_its_trainer_into_ones_own_script(bench):
    said = bench.recipe("trainer.gradient_clip_val=5", f"trainer.callbacks={HERE}:best_epoch", "trainer.accumulate_grad_batches=2")
    _, given, arguments = api.apply(said, Lit())
    assert arguments["gradient_clip_val"] == 5.0 and arguments["accumulate_grad_batches"] == 2
    assert [type(c) for c in given] == [ModelCheckpoint, ModelCheckpoint] and "never_made" in given[0].dirpath


def test_older_recipes_say_nothing_to_the_trainer(bench):
    recipe = bench.recipe()
    older = Recipe({key: node for key, node in recipe.tree.items() if key != "trainer"})
    assert older.trainer == {} and replace(older).accumulate == 1 and older.flat() == recipe.flat()


@pytest.mark.parametrize("name", ["callbacks", "LISTED"])
def test_the_file_of_the_callbacks_is_part_of_the_users_code(bench, name):
    _, facts = prepare({"tree": bench.tree(f"trainer.callbacks={HERE}:{name}"), "store": str(bench.path)})
    assert facts["sources"][f"trainer.callbacks={HERE}:{name}"] == facts["sources"][f"model={HERE}:Lit"]
