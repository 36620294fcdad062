"""Every stage is tried before the search: what later stages do with a trained module, and what is found out by that."""

import copy
import json
from dataclasses import replace
from pathlib import Path

import lightning.pytorch as L
import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, TensorDataset

from autoopt.config import compose
from autoopt.deployment.load import trained as loaded_model
from autoopt.errors import NonFinite, TechniqueError
from autoopt.goal import Objective
from autoopt.module.chosen import Chosen
from autoopt.orders import Compress, Contrast, Measure, Order, Outcome, Train, TryOut
from autoopt.recipe import Recipe
from autoopt.space import Space
from autoopt.trial.fitting import fit
from autoopt.trial.kinds import differ_by_a_factor
from autoopt.trial.run import prepare, run
from autoopt.trial.training import set_up
from autoopt.trial.world import World

HERE = __name__


class Data(L.LightningDataModule):
    classes = 3

    def rows(self, seed: int) -> DataLoader:
        generator = torch.Generator().manual_seed(seed)
        targets = torch.arange(60) % 3
        return DataLoader(TensorDataset(torch.randn(60, 4, generator=generator) + targets[:, None], targets), 16)

    def train_dataloader(self):
        return self.rows(0)

    def val_dataloader(self):
        return self.rows(1)

    def test_dataloader(self):
        return self.rows(2)


class TidyData(Data):
    """Drops its data at the end of each stage, as Lightning's documentation says."""

    def setup(self, stage):
        self.seeds = {"train": 0, "val": 1, "test": 2}

    def teardown(self, stage):
        self.seeds = None

    def train_dataloader(self):
        return self.rows(self.seeds["train"])

    def val_dataloader(self):
        return self.rows(self.seeds["val"])

    def test_dataloader(self):
        return self.rows(self.seeds["test"])


class NotValidated(Data):
    def val_dataloader(self):
        return []


class TwoLoaders(Data):
    def val_dataloader(self):
        return [self.rows(1), self.rows(3)]


class Lit(L.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = nn.Linear(4, 3)

    def forward(self, x):
        return self.net(x)

    def training_step(self, batch, _):
        loss = cross_entropy(self(batch[0]), batch[1])
        self.log("train/loss", loss)
        return loss

    def validation_step(self, batch, _, dataloader_idx=0):
        self.log("val_loss", cross_entropy(self(batch[0]), batch[1]))

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


class OnStep(Lit):
    def validation_step(self, batch, _):
        self.log("val_loss", cross_entropy(self(batch[0]), batch[1]), on_step=True)


class OnStepAlone(Lit):
    def validation_step(self, batch, _):
        self.log("val_acc", 0.5, on_step=True, on_epoch=False)
        self.log("val_loss", cross_entropy(self(batch[0]), batch[1]))


class Unlogged(Lit):
    def validation_step(self, batch, _):
        self.log("val_loss", cross_entropy(self(batch[0]), batch[1]), logger=False)


class Weighted(Lit):
    """Arguments that change its loss, its outputs, its layers and nothing that is measured."""

    def __init__(self, weight: float = 1.0, slope: float = 1.0, bias: bool = True, lr: float = 0.1):
        super().__init__()
        self.weight, self.slope, self.lr = weight, slope, lr
        self.net = nn.Linear(4, 3, bias=bias)

    def forward(self, x):
        return self.slope * self.net(x)

    def validation_step(self, batch, _):
        loss = cross_entropy(self(batch[0]), batch[1])
        self.log_dict({"val_loss": self.weight * loss, "val_plain": loss})

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=self.lr)


class Aside(Weighted):
    """Computes without `forward`."""

    forward = L.LightningModule.forward

    def training_step(self, batch, _):
        return cross_entropy(Weighted.forward(self, batch[0]), batch[1])

    def validation_step(self, batch, _):
        self.log("val_loss", cross_entropy(Weighted.forward(self, batch[0]), batch[1]))


class Double(Lit):
    """With a buffer as numpy gives it."""

    def __init__(self):
        super().__init__()
        self.register_buffer("mean", torch.zeros(4, dtype=torch.float64))


class Silent(Lit):
    """Logs nothing, as in the days when a step returned what was to be logged."""

    validation_step = L.LightningModule.validation_step

    def training_step(self, batch, batch_idx):
        return {"loss": self(batch[0]).sum() * 0 + batch_idx, "log": {"loss": 1.0}}


class ByHand(Silent):
    automatic_optimization = False

    def training_step(self, batch, _):
        pass


class NoValidation(Lit):
    validation_step = L.LightningModule.validation_step


class InConfigureModel(Lit):
    def __init__(self):
        L.LightningModule.__init__(self)
        self.net = None

    def configure_model(self):
        self.net = self.net or nn.Linear(4, 3)


class AnewInConfigureModel(InConfigureModel):
    def configure_model(self):
        self.net = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 3))


class AnewByTrainer(InConfigureModel):
    def configure_model(self):
        self.net = nn.Linear(4, self.trainer.datamodule.classes)


class InSetup(Lit):
    """Anew at each call, as in Lightning's documentation."""

    def __init__(self):
        L.LightningModule.__init__(self)

    def setup(self, stage):
        self.net = nn.Linear(4, 3)


class Tidy(Lit):
    """Drops at the end of each stage what it has made for it."""

    def setup(self, stage):
        self.weights = torch.ones(3)

    def teardown(self, stage):
        del self.weights

    def validation_step(self, batch, _):
        self.log("val_loss", cross_entropy(self(batch[0]), batch[1], self.weights))


class NoCallbacks(Lit):
    def configure_callbacks(self):
        """Nothing, which Lightning takes for no callbacks."""


class InFit(Lit):
    def on_fit_start(self):
        self.weights = torch.tensor([1.0, 2.0, 3.0], device=self.device)

    def validation_step(self, batch, _):
        self.log("val_loss", cross_entropy(self(batch[0]), batch[1], self.weights))


class Partial(Lit):
    """Its frozen part is not in its checkpoints, as that of a pretrained network, which the constructor loads."""

    def __init__(self):
        super().__init__()
        self.frozen = nn.Linear(4, 4).requires_grad_(False)
        nn.init.eye_(self.frozen.weight)
        nn.init.zeros_(self.frozen.bias)
        self.strict_loading = False

    def state_dict(self, *args, **kwargs):
        return {name: value for name, value in super().state_dict(*args, **kwargs).items() if "frozen" not in name}

    def forward(self, x):
        return self.net(self.frozen(x))


class Buffered(Lit):
    """A buffer that training makes, and one that it resizes."""

    def __init__(self):
        super().__init__()
        self.register_buffer("mean", None)
        self.register_buffer("scale", torch.ones(1))

    def training_step(self, batch, _):
        self.mean, self.scale = batch[0].mean(0), torch.full((4,), 2.0, device=self.device)
        return super().training_step(batch, _)

    def forward(self, x):
        return self.net(x * self.scale if self.mean is None else (x - self.mean) * self.scale)


class Forgetful(Lit):
    """What training leaves outside of its state."""

    offset = 0.0

    def training_step(self, batch, _):
        self.offset = 10 * torch.ones(3, device=self.device)
        return super().training_step(batch, _)

    def forward(self, x):
        return super().forward(x).softmax(1) + self.offset


class Lacking(Forgetful):
    def forward(self, x):
        return self.net(x)

    def validation_step(self, batch, _):
        self.log("val_loss", self.offset.sum())


class Untold(Lit):
    """Weights that are no numbers by the end, and no loss that tells."""

    def on_train_epoch_end(self):
        if self.trainer.current_epoch == self.trainer.max_epochs - 1:
            self.net.weight.data.fill_(float("nan"))

    def validation_step(self, batch, _):
        self.log("val_acc", (self(batch[0]).argmax(1) == batch[1]).float().mean())


class NanLoss(Lit):
    def validation_step(self, batch, _):
        self.log_dict({"val_acc": 0.5, "val/aux_loss": float("nan")})


class NanOutputs(Lit):
    def training_step(self, batch, _):
        return cross_entropy(self.net(batch[0]), batch[1])

    def forward(self, x):
        return self.net(x) / 0 * 0

    def validation_step(self, batch, _):
        self.log("val_acc", (self(batch[0]).argmax(1) == batch[1]).float().mean())


class Beside(Lit):
    """Writes beside its logs."""

    def on_validation_epoch_end(self):
        for folder in (self.logger.log_dir, self.logger.save_dir, self.trainer.default_root_dir):
            (Path(folder) / "pictures").mkdir(parents=True, exist_ok=True)


class WritesOnce(Lit):
    """Makes a folder when its training begins, as if nothing had been written there before."""

    def on_train_start(self):
        (Path(self.trainer.default_root_dir) / "snapshots").mkdir()


class LateLayers(Lit):
    """Makes layers out of the training data when it makes its optimizer."""

    def configure_optimizers(self):
        self.head = nn.Linear(len(self.trainer.datamodule.train_dataloader()), 3)
        return super().configure_optimizers()


class AtEpochEnd(Lit):
    """Logs a metric of the training at the end of each epoch, which is after the validation and after the callbacks."""

    validation_step = L.LightningModule.validation_step

    def on_train_epoch_end(self):
        self.log("train_acc", 0.1 * (self.current_epoch + 1))


class Noisy(Lit):
    """Draws noise into a buffer that is not stored, in every pass."""

    def __init__(self):
        super().__init__()
        self.register_buffer("noise", torch.zeros(3), persistent=False)

    def forward(self, x):
        return self.net(x) + self.noise.normal_()

    def validation_step(self, batch, _):
        super().validation_step(batch, _)
        self.log("val_noise", self.noise.sum())


class Wrong(nn.Module):
    """Its hidden attribute is not stored."""

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model, self._hidden = model, torch.ones(3)

    def forward(self, x):
        return self.model(x) + getattr(self, "_hidden", 0.0)


def wrong(model: nn.Module) -> nn.Module:
    return Wrong(copy.deepcopy(model))


RECIPE = ("device=auto", "study.epochs=2", "optimizer=keep", "schedule=keep", "loss=keep", "regularizer=none", "augmentation=none")


def prepared(model: str, root, *overrides: str, data: str = f"{HERE}:Data") -> tuple[World, Recipe]:
    tree = compose([*RECIPE, f"data={data}", f"model={HERE}:{model}", *overrides])
    world, facts = prepare({"tree": tree, "store": str(root)})
    return world, Space.of(tree).fitting(facts["absent"]).baseline()


def carried_out(world: World, recipe: Recipe, kind: type[Order], **said) -> Outcome:
    order = kind(**{"key": "0", "recipe": recipe, "objective": "val_loss", **said})
    return Outcome(**json.loads(json.dumps(run(world, order.json(), lambda *_: False))))


def tried(model: str, root, *overrides: str, **said) -> Outcome:
    return carried_out(*prepared(model, root, *overrides), TryOut, **said)


@pytest.mark.parametrize(
    "model",
    [
        *("Lit", "OnStep", "Unlogged", "InConfigureModel", "AnewInConfigureModel", "InSetup", "Tidy", "NoCallbacks", "InFit"),
        *("Buffered", "Double", "Partial"),
    ],
)
@pytest.mark.parametrize("regularizer", ["none", "[ema]", "[swa]"])
def test_what_is_measured_from_stored_weights_is_what_training_measured(tmp_path, model, regularizer):
    if regularizer == "[ema]" and model in ("InSetup", "Buffered"):
        pytest.skip("Lightning's mean cannot be taken of layers that are not there when a fit begins")
    world, recipe = prepared(model, tmp_path, f"regularizer={regularizer}")
    out = carried_out(world, recipe, TryOut)
    assert "test_loss" in out.tested and out.untested == ""
    first = carried_out(world, recipe, Train, keep=True).metrics
    again = carried_out(world, recipe, Measure, weights="0", part="validation").metrics
    assert again["val_loss"] == pytest.approx(first["val_loss"], rel=1e-5)
    assert "test_loss" in carried_out(world, recipe, Measure, weights="0").metrics
    whole = loaded_model(Chosen(recipe), world.task, world.store.weights("0"))
    assert whole(torch.rand(5, 4)).shape == (5, 3)


def test_without_a_batch_of_validation_there_is_the_training(tmp_path):
    world, recipe = prepared("Lit", tmp_path, data=f"{HERE}:NotValidated")
    out = carried_out(world, recipe, TryOut)
    assert "train_loss" in out.metrics and "val_loss" not in out.metrics


def test_layers_that_only_a_trainer_can_make_are_made_once(tmp_path):
    world, recipe = prepared("AnewByTrainer", tmp_path)
    first = carried_out(world, recipe, Train, keep=True).metrics
    assert carried_out(world, recipe, Measure, weights="0", part="validation").metrics["val_loss"] == pytest.approx(first["val_loss"])


def test_a_data_module_keeps_its_data_from_stage_to_stage(tmp_path):
    world, recipe = prepared("Lit", tmp_path, data=f"{HERE}:TidyData")
    out = carried_out(world, recipe, TryOut)
    assert "val_loss" in out.validated and "test_loss" in out.tested


def test_layers_that_a_module_makes_anew_have_the_activation_of_the_recipe(tmp_path):
    world, recipe = prepared("AnewInConfigureModel", tmp_path, "activation=gelu")
    training = set_up(world, Train(key="0", recipe=recipe, objective="val_loss"), lambda *_: False)
    fit(training.trainer, training.module, training.feed)
    assert isinstance(training.module.net[1], nn.GELU)


@pytest.mark.parametrize(("changed", "found"), [("weight=2", ["val_loss"]), ("slope=2", []), ("lr=1", [])])
def test_an_argument_that_changes_a_metric_of_the_same_outputs_is_found(tmp_path, changed, found):
    world, recipe = prepared("Weighted", tmp_path)
    _, other = prepared("Weighted", tmp_path, f"model.Weighted.{changed}")
    out = carried_out(world, recipe, Contrast, other=dict(other.tree))
    assert out.validated == found and out.scaled == (["lr"] if changed == "lr=1" else [])


@pytest.mark.parametrize(
    ("ones", "others", "differ"),
    [
        ([0.1, 0.02], [1.0, 0.2], True),
        ([0.1, 0.0], [0.3, 0.0], True),
        ([0.1, 0.02], [1.0, 0.02], False),
        ([0.1], [0.1], False),
        ([0.0], [0.1], False),
        ([0.1], [0.2, 0.2], False),
        ([], [], False),
    ],
)
def test_values_that_differ_by_one_factor(ones, others, differ):
    assert differ_by_a_factor(ones, others) is differ


def test_where_outputs_are_not_known_no_argument_is_blamed(tmp_path):
    world, recipe = prepared("Aside", tmp_path)
    _, other = prepared("Aside", tmp_path, "model.Aside.slope=2")
    assert carried_out(world, recipe, Contrast, other=dict(other.tree)).validated == []


def test_modules_of_other_layers_cannot_be_contrasted(tmp_path):
    world, recipe = prepared("Weighted", tmp_path)
    _, other = prepared("Weighted", tmp_path, "model.Weighted.bias=false")
    with pytest.raises(RuntimeError, match="Unexpected key"):
        carried_out(world, recipe, Contrast, other=dict(other.tree))


@pytest.mark.slow
def test_what_training_leaves_outside_of_the_state_is_told(tmp_path):
    with pytest.raises(TechniqueError, match=r"model/Forgetful: it gives other outputs when its stored .* \(register_buffer\)"):
        tried("Forgetful", tmp_path)
    with pytest.raises(TechniqueError, match="model/Lacking: AttributeError: 'float' object has no attribute 'sum'"):
        tried("Lacking", tmp_path)


def test_layers_that_only_a_training_makes_are_told_in_a_line(tmp_path):
    with pytest.raises(TechniqueError, match=r"Unexpected key.*; layers have to be made in its __init__, setup or configure_model$"):
        tried("LateLayers", tmp_path)


def test_every_training_begins_in_a_folder_without_what_an_earlier_one_wrote(tmp_path):
    world, recipe = prepared("WritesOnce", tmp_path)
    for kind in (TryOut, TryOut, Contrast, Train, Train):
        carried_out(world, recipe, kind, **({"other": recipe.tree} if kind is Contrast else {"keep": True} if kind is Train else {}))
    assert (tmp_path / "trials" / "0" / "snapshots").is_dir() and world.store.has_weights("0")
    assert "val_loss" in carried_out(world, recipe, Measure, key="0-test", weights="0", part="validation").metrics


def test_what_a_module_logs_at_the_end_of_an_epoch_is_of_that_epoch(tmp_path):
    world, recipe = prepared("AtEpochEnd", tmp_path)
    told = []
    order = Train(key="0", recipe=recipe, objective="train_acc", direction="maximize")
    run(world, order.json(), lambda epoch, metrics: told.append(metrics["train_acc"]))
    assert told == pytest.approx([0.1, 0.2])
    assert "train_acc" in carried_out(world, recipe, TryOut, objective="train_acc").metrics


def test_noise_that_is_not_stored_is_no_change_of_the_weights(tmp_path):
    """The last validation counts, as in the author's training, and no other one with other noise."""
    world, recipe = prepared("Noisy", tmp_path)
    told = []
    order = Train(key="0", recipe=recipe, objective="val_loss")
    outcome = run(world, order.json(), lambda epoch, metrics: told.append(metrics["val_noise"]))
    assert outcome["metrics"]["val_noise"] == told[-1]


@pytest.mark.slow
@pytest.mark.parametrize("accumulate", [1, 2])
def test_the_loss_that_a_module_returns_and_does_not_log_is_its_train_loss(tmp_path, accumulate):
    world, recipe = prepared("Silent", tmp_path, f"trainer.accumulate_grad_batches={accumulate}")
    found = carried_out(world, recipe, Train, objective="train_loss").metrics
    assert found["train_loss"] == pytest.approx((0 + 1 + 2 + 3) / 4), "the mean over the batches of the last epoch"
    assert "train_loss" not in tried("ByHand", tmp_path, objective="size_mb").metrics


@pytest.mark.slow
def test_a_test_part_that_the_module_cannot_measure_is_told(tmp_path):
    out = tried("NoValidation", tmp_path, objective="train/loss")
    assert (out.tested, out.untested) == ({}, "NoValidation has no validation_step") and "train/loss" in out.metrics
    assert Objective("train/loss", "minimize").judged_by(out.tested, out.validated) == "training"
    assert Objective("size_mb", "minimize").judged_by(out.tested, out.validated) == "validation"
    seen = tried("OnStep", tmp_path)
    parts = {name: Objective(name, "minimize").judged_by(seen.tested, seen.validated) for name in ("val_loss", "train/loss", "size_mb")}
    assert parts == {"val_loss": "test", "train/loss": "training", "size_mb": "test"}


@pytest.mark.slow
def test_a_metric_without_a_value_of_the_epoch_is_told(tmp_path):
    out = tried("OnStepAlone", tmp_path)
    assert out.notes == ["val_acc has no value of an epoch: your validation logs it with on_epoch=False"] and "val_acc" not in out.metrics
    assert tried("OnStep", tmp_path).notes == []
    assert tried("OnStep", tmp_path).by_step == ["train/loss"]


def test_validation_on_two_loaders_tells_no_test_loss_of_one(tmp_path):
    world, recipe = prepared("Lit", tmp_path, data=f"{HERE}:TwoLoaders")
    out = carried_out(world, recipe, TryOut, objective=None)
    assert {"val_loss/dataloader_idx_0", "val_loss/dataloader_idx_1"} <= out.metrics.keys() and "test_loss" in out.tested


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ("Untold", "the weights net.weight are not finite"),
        ("NanLoss", "val/aux_loss is nan"),
        ("NanOutputs", "the model's outputs are nan"),
    ],
)
@pytest.mark.parametrize("kind", [TryOut, Train])
def test_what_is_not_finite_ends_a_trial(tmp_path, model, said, kind):
    world, recipe = prepared(model, tmp_path)
    with pytest.raises(NonFinite, match=said):
        carried_out(world, recipe, kind, objective="val_acc", **({"keep": True} if kind is Train else {}))
    assert not world.store.has_weights("0")


def test_a_module_writes_beside_its_log(tmp_path):
    world, recipe = prepared("Beside", tmp_path)
    carried_out(world, recipe, Train, key="7")
    assert (tmp_path / "trials" / "7" / "pictures").is_dir()


@pytest.mark.slow
def test_a_compressed_network_that_is_restored_as_another_is_told_and_not_stored(tmp_path):
    compression = f"compression=[{HERE}:wrong]"
    with pytest.raises(TechniqueError, match="compression/wrong: it gives other outputs when its stored weights are loaded into a new one"):
        tried("Lit", tmp_path, compression)
    world, recipe = prepared("Lit", tmp_path, compression)
    plain = recipe.replace(compression={})
    carried_out(world, plain, Train, keep=True)
    with pytest.raises(TechniqueError, match="compression/wrong: it gives other outputs"):
        carried_out(world, recipe, Compress, key="compress-0", weights="0")
    assert not world.store.has_weights("compress-0")


def test_a_rehearsal_leaves_no_weights(tmp_path):
    world, recipe = prepared("Lit", tmp_path)
    carried_out(replace(world), recipe, TryOut)
    assert not list(tmp_path.rglob("*.safetensors"))
