"""The LightningModule that applies a recipe, against Lightning's own loop and against a stranger's module as it is."""

import copy
import re
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace

import lightning.pytorch as L
import pytest
import torch
from lightning.pytorch.callbacks import EMAWeightAveraging, ModelCheckpoint
from lightning.pytorch.loggers.logger import DummyLogger
from safetensors.torch import load_file
from torch import nn
from torch.nn.functional import cross_entropy
from torch.optim import SGD, Adam, Optimizer
from torch.optim.lr_scheduler import OneCycleLR, ReduceLROnPlateau, StepLR
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from autoopt.data.batches import Batches
from autoopt.data.examples import Examples
from autoopt.data.loaders import seed_all
from autoopt.data.make_task import make_task
from autoopt.data.task import Task
from autoopt.errors import BadInput, TechniqueError
from autoopt.module.activations import activation_sites
from autoopt.module.applied import applied_to
from autoopt.module.augmenting import augment
from autoopt.module.build import apply_to, prepare_model
from autoopt.module.chosen import Chosen
from autoopt.module.embedded import reads_codes
from autoopt.module.groups import own_optimizers, parameter_groups, scale_steps
from autoopt.module.net import pair
from autoopt.module.tuned import Tuned
from autoopt.orders import Measure, Train, TryOut
from autoopt.plugins.regularizer.gradient_clip import gradient_clip
from autoopt.plugins.regularizer.l1 import l1
from autoopt.plugins.schedule.cosine import cosine
from autoopt.recipe import Recipe
from autoopt.slots import SLOTS
from autoopt.store import Store
from autoopt.trial.run import run
from autoopt.trial.world import World

SEED, SIZE, EPOCHS, STEPS = 7, 16, 3, 4  # 50 training examples: three batches of 16 and one of 2

SEEN: dict[str, list] = defaultdict(list)
"""What the techniques and modules of this file were called with."""


@pytest.fixture(autouse=True)
def nothing_is_seen_before():
    SEEN.clear()


def blobs(count: int = 80, columns: int = 4) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    targets = torch.arange(count) % 3
    return torch.randn(count, columns, generator=generator) + targets[:, None].float(), targets


STORE = Store(".")
"""Nothing is kept in it."""


@pytest.fixture(scope="module")
def task() -> Task:
    inputs, targets = blobs()
    splits = dict(zip(("train", "validation", "test"), torch.arange(80).split([50, 15, 15]), strict=True))
    return make_task(Examples(inputs, targets, "classification", ("a", "b", "c"), splits), {"normalise": True})


def here(name: str, **values) -> dict:
    """A technique of this file, as a recipe says it."""
    return {name: {"from": f"{__name__}:{name}", **values}}


def recipe(model: dict, epochs: int = EPOCHS, size: int | None = SIZE, **slots) -> Recipe:
    chosen = {"loss": {"cross_entropy": {}}, "optimizer": {"sgd": {}}, "schedule": {"constant": {}}, "device": {"cpu": {}}} | slots
    tree = {slot: chosen.get(slot, {}) for slot in SLOTS} | {"model": model}
    return Recipe({**tree, "batches": {"size": size}, "study": {"epochs": epochs}})


KEEP = {slot: {"keep": {}} for slot in ("activation", "initializer", "loss", "optimizer", "schedule")}


@pytest.fixture
def trained(tmp_path):
    """Train a recipe as a trial does: its weights, what it reported, what a spy saw."""

    def go(world: World, said: Recipe, objective: str | None = None, seed: int = SEED):
        reports = []
        regularizers = {**said.tree["regularizer"], **here("spy")}
        goal = {"objective": objective, "direction": "maximize" if objective else None}
        order = Train(key="0", recipe=said.replace(regularizer=regularizers), seed=seed, keep=True, **goal)
        store = Store(tmp_path)
        outcome = run(replace(world, store=store), order.json(), lambda epoch, metrics: reports.append(metrics) or False)
        return load_file(store.weights("0")), reports, {**SEEN["end"][-1], "outcome": outcome}

    return go


def world_of(task: Task) -> World:
    return World(task, task.example(), STORE)


def same(ours: dict, theirs: dict, prefix: str = "") -> bool:
    return {k.removeprefix(prefix) for k in ours} == theirs.keys() and all(
        torch.equal(theirs[k.removeprefix(prefix)], ours[k]) for k in ours
    )


# ---------------------------------------------------------------------------------------------- techniques that recipes below name


def network(task: Task) -> nn.Module:
    return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, task.outputs))


class Spy(L.Callback):
    def on_train_end(self, trainer, pl_module):
        seen = {"step": trainer.global_step, "module": pl_module, "callbacks": trainer.callbacks, "optimizers": trainer.optimizers}
        SEEN["end"].append(seen)


def spy() -> L.Callback:
    return Spy()


def counted(class_counts: torch.Tensor) -> Callable:
    SEEN["counts"].append(class_counts.tolist())
    return cross_entropy


class SAM(Optimizer):
    """Calls its closure twice (Foret et al. 2021)."""

    def __init__(self, params, lr):
        super().__init__(params, {"lr": lr})
        self.base = SGD(self.param_groups, lr=lr)

    @torch.no_grad()
    def step(self, closure):
        with torch.enable_grad():
            loss = closure()
        found = [p for group in self.param_groups for p in group["params"]]
        norm = torch.stack([p.grad.norm() for p in found]).norm() + 1e-12
        moves = [p.grad * (0.05 / norm) for p in found]
        torch._foreach_add_(found, moves)
        with torch.enable_grad():
            closure()
        torch._foreach_sub_(found, moves)
        self.base.step()
        return loss


def sam(params) -> Optimizer:
    return SAM(params, 0.1)


class Plateau(ReduceLROnPlateau):
    def step(self, metrics, epoch=None):
        SEEN["plateau"].append(float(metrics))
        super().step(metrics)


def plateau(optimizer) -> ReduceLROnPlateau:
    return Plateau(optimizer, factor=0.1, patience=0, threshold=10.0)


class EveryBatch(L.Callback):
    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        SEEN["steps"].append(trainer.global_step)


def every_batch() -> L.Callback:
    return EveryBatch()


class EveryGradient(L.Callback):
    def on_before_zero_grad(self, trainer, pl_module, optimizer):
        SEEN["hooks"].append(trainer.global_step)


def every_gradient() -> L.Callback:
    return EveryGradient()


def ema() -> L.Callback:
    return EMAWeightAveraging(decay=0.8)


class TwoFaced(SGD):
    """Evaluates other weights than it trains, as a schedule-free optimizer does."""

    def __init__(self, params):
        super().__init__(params, lr=0.1)
        self.shift = 0.0

    def train(self):
        self.show(0.0)

    def eval(self):
        self.show(0.5)

    @torch.no_grad()
    def show(self, shift):
        for group in self.param_groups:
            for p in group["params"]:
                p.add_(shift - self.shift)
        self.shift = shift


def two_faced(params) -> Optimizer:
    return TwoFaced(params)


def tenfold(inputs: torch.Tensor) -> torch.Tensor:
    return inputs * 0 + 10


class FlatNet(nn.Module):
    """Of images; keeps what it is trained on."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(48, 3)

    def forward(self, inputs):
        if self.training:
            SEEN["inputs"].append(inputs)
        return self.layer(inputs.flatten(1))


class FlatLit(L.LightningModule):
    def __init__(self):
        super().__init__()
        self.network = FlatNet()

    def training_step(self, batch, _):
        return cross_entropy(self.network(batch[0]), batch[1])

    def configure_optimizers(self):
        return SGD(self.parameters(), 0.01)


def darker(images: torch.Tensor) -> torch.Tensor:
    SEEN["pixels"].append(images)
    return images / 2


def mixture(inputs: torch.Tensor, targets: torch.Tensor) -> tuple:
    return inputs, torch.tensor([0.2, 0.8, 0.0]).expand(len(targets), 3)


def forgetful(inputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return inputs


def drop(model) -> None:
    model.add_module("dropped", nn.Dropout())


# ------------------------------------------------------------------------------------------------- our loop against Lightning's


class Reference(L.LightningModule):
    """What `Net` must equal: automatic optimization, one batch a `training_step`."""

    def __init__(self, model, configure):
        super().__init__()
        self.model, self.configure, self.losses = model, configure, []

    def training_step(self, batch, _):
        loss = cross_entropy(self.model(batch[0]).float(), batch[1])
        self.losses.append(loss.detach())
        return loss

    def validation_step(self, batch, _):
        self.log("val_loss", cross_entropy(self.model(batch[0]).float(), batch[1]))

    def configure_optimizers(self):
        parameters = list(self.model.parameters())
        rest = {"params": [p for p in parameters if p.ndim == 1], "weight_decay": 0.0}
        return self.configure([{"params": [p for p in parameters if p.ndim > 1]}, rest])


def lightnings(task: Task, configure, callbacks=(), precision="32-true"):
    seed_all(SEED)
    module = Reference(network(task), configure)
    trainer = plain_trainer(callbacks=list(callbacks), precision=precision)
    trainer.fit(module, Batches(*task.parts["train"], SIZE, SEED), Batches(*task.parts["validation"], 1024))
    return module, trainer


def plain_trainer(**arguments) -> L.Trainer:
    quiet = dict.fromkeys(("enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False)
    common = {"max_epochs": EPOCHS, "accelerator": "cpu", "devices": 1, "num_sanity_val_steps": 0, "log_every_n_steps": 1}
    return L.Trainer(logger=DummyLogger(), **common, **quiet, **arguments)


def sgd(params):
    return SGD(params, lr=0.1, weight_decay=5e-4, fused=True)


def by_step(params):
    optimizer = sgd(params)
    return [optimizer], [{"scheduler": cosine(optimizer, EPOCHS * STEPS), "interval": "step"}]


def by_epoch(params):
    optimizer = sgd(params)
    return {"optimizer": optimizer, "lr_scheduler": {"scheduler": plateau(optimizer), "monitor": "val_loss"}}


CASES = {
    "plain": ({}, sgd, [], {}),
    "l1 and clipping": (
        {"regularizer": {"gradient_clip": {"norm": 0.1}, "l1": {"strength": 0.01}}},
        sgd,
        [l1(strength=0.01), gradient_clip(norm=0.1)],
        {},
    ),
    "two closures": ({"optimizer": here("sam")}, lambda params: SAM(params, 0.1), [], {}),
    "schedule": ({"schedule": {"cosine": {}}}, by_step, [], {}),
    "plateau": ({"schedule": here("plateau")}, by_epoch, [], {}),
    "bf16": ({"device": {"cpu": {"precision": "bf16-mixed"}}}, sgd, [], {"precision": "bf16-mixed"}),
    "averaged": ({"regularizer": here("ema")}, sgd, [EMAWeightAveraging(decay=0.8)], {}),
}


@pytest.mark.parametrize(("slots", "configure", "callbacks", "arguments"), CASES.values(), ids=CASES)
def test_many_steps_at_once_equal_lightnings_own_loop(trained, task, slots, configure, callbacks, arguments):
    theirs, trainer = lightnings(task, configure, copy.deepcopy(callbacks), **arguments)
    told = SEEN.pop("plateau", [])
    ours, reports, spied = trained(world_of(task), recipe(here("network"), **slots), "val_loss")
    assert same(ours, theirs.model.state_dict(), "model.")
    assert spied["step"] == trainer.global_step == EPOCHS * STEPS
    assert pytest.approx(SEEN["plateau"]) == told
    first_calls = theirs.losses[:: 2 if "optimizer" in slots else 1]
    means = [torch.stack(first_calls[e * STEPS : (e + 1) * STEPS]).mean().item() for e in range(EPOCHS)]
    assert [r["train_loss"] for r in reports] == pytest.approx(means)


def test_the_reference_would_notice_another_rate(task):
    one, _ = lightnings(task, sgd)
    other, _ = lightnings(task, lambda params: SGD(params, lr=0.101, weight_decay=5e-4))
    assert not same(one.model.state_dict(), other.model.state_dict())


def test_a_callback_that_follows_batches_sees_each_of_them(trained, task):
    ours, reports, _ = trained(world_of(task), recipe(here("network"), regularizer=here("every_batch")))
    assert SEEN["steps"] == [*range(1, EPOCHS * STEPS + 1)]
    chunked, expected, _ = trained(world_of(task), recipe(here("network")))
    assert same(ours, chunked)
    assert [r["train_loss"] for r in reports] == pytest.approx([r["train_loss"] for r in expected])


def test_the_hook_before_gradients_are_cleared_is_called_at_every_step(trained, task):
    trained(world_of(task), recipe(here("network"), regularizer=here("every_gradient")))
    assert SEEN["hooks"] == [*range(EPOCHS * STEPS)]


def test_a_plateau_without_an_objective_follows_the_validation_loss(trained, task):
    _, reports, _ = trained(world_of(task), recipe(here("network"), schedule=here("plateau")))
    assert SEEN["plateau"] == [r["val_loss"] for r in reports]
    assert [r["lr"] for r in reports] == pytest.approx([0.1, 0.01, 0.001])


@pytest.mark.parametrize("model", ["network", "Stranger"])
def test_the_weights_that_an_optimizer_evaluates_are_the_ones_kept(trained, task, model):
    shown, reports, spied = trained(world_of(task), recipe(here(model), optimizer=here("two_faced")), "val_loss")
    spied["optimizers"][0].train()
    name = next(k for k in shown if k.endswith("bias"))
    torch.testing.assert_close(shown[name], spied["module"].state_dict()[name] + 0.5)
    assert spied["outcome"]["metrics"]["val_loss"] == reports[-1]["val_loss"]


@pytest.mark.parametrize(("sampler", "counts"), [(None, [40, 10]), ("balanced", [25, 25])])
def test_a_loss_that_weighs_classes_gets_the_counts_that_the_sampler_draws(trained, sampler, counts):
    """It would make up for the rarity of a class a second time."""
    inputs, targets = torch.randn(80, 4), (torch.arange(80) % 5 == 0).long()
    splits = dict(zip(("train", "validation", "test"), torch.arange(80).split([50, 15, 15]), strict=True))
    imbalanced = make_task(Examples(inputs, targets, "classification", ("a", "b"), splits), {"normalise": True})
    said = recipe(here("network"), epochs=1, loss=here("counted"))
    trained(world_of(imbalanced), Recipe({**said.tree, "batches": {"size": SIZE, "sampler": sampler}}))
    assert SEEN["counts"] == [counts]


def test_mixed_batches_are_augmented_step_by_step(trained, task):
    plain, _, _ = trained(world_of(task), recipe(here("network")))
    mixed, reports, _ = trained(world_of(task), recipe(here("network"), augmentation=here("tenfold")))
    assert not same(plain, mixed)
    raw, fed = task.parts["train"][0].mean(0), mixed["model.1.running_mean"]
    layer = nn.Linear(4, 8)
    layer.load_state_dict({"weight": mixed["model.0.weight"], "bias": mixed["model.0.bias"]})
    assert (layer(torch.full((1, 4), 10.0)) - fed).abs().mean() < (layer(raw[None]) - fed).abs().mean()
    assert len(reports) == EPOCHS


# ----------------------------------------------------------------------------------------------------------- a stranger's module


FORMS = {
    "optimizer": lambda m: Adam(m.parameters(), lr=0.01),
    "list": lambda m: [Adam(m.parameters(), lr=0.01)],
    "lists": lambda m: ([o := SGD(m.parameters(), lr=0.1)], [StepLR(o, 1, 0.5)]),
    "list of a dictionary": lambda m: ([o := SGD(m.parameters(), lr=0.1)], [{"scheduler": StepLR(o, 2, 0.5), "interval": "step"}]),
    "dictionary": lambda m: {"optimizer": (o := SGD(m.parameters(), lr=0.1)), "lr_scheduler": StepLR(o, 1, 0.5)},
    "every step": lambda m: {
        "optimizer": (o := SGD(m.parameters(), lr=0.1)),
        "lr_scheduler": {"scheduler": OneCycleLR(o, 0.2, total_steps=int(m.trainer.estimated_stepping_batches)), "interval": "step"},
    },
    "plateau": lambda m: {
        "optimizer": (o := SGD(m.parameters(), lr=0.1)),
        "lr_scheduler": {"scheduler": ReduceLROnPlateau(o, patience=0, threshold=10), "monitor": "val_loss"},
    },
    "plateau beside": lambda m: {
        "optimizer": (o := SGD(m.parameters(), lr=0.1)),
        "lr_scheduler": ReduceLROnPlateau(o, patience=0, threshold=10),
        "monitor": "val_loss",
    },
    "none": lambda m: None,
}


class Stranger(L.LightningModule):
    """Written by somebody who has never heard of us."""

    def __init__(self, form: str = "optimizer", width: int = 8):
        super().__init__()
        self.save_hyperparameters()
        self.net = nn.Sequential(nn.Linear(4, width), nn.BatchNorm1d(width), nn.ReLU(), nn.Dropout(0.2), nn.Linear(width, 3))
        self.started = 0

    def forward(self, x):
        return self.net(x)

    def on_after_batch_transfer(self, batch, dataloader_idx):
        SEEN["train" if self.trainer.training else "validation"].append(batch[0].clone())
        return [batch[0] * 2, *batch[1:]]

    def on_train_epoch_start(self):
        self.started += 1

    def training_step(self, batch, batch_idx):
        x, y = batch
        SEEN["targets"].append(y)
        loss = cross_entropy(self(x), y)
        self.log("train_loss", loss, on_step=False, on_epoch=True)
        self.logger.experiment.add_scalar("loss", loss, self.global_step)
        return loss

    def validation_step(self, batch, batch_idx):
        x, y = batch
        self.log_dict({"val_loss": cross_entropy(self(x), y), "val/acc": (self(x).argmax(1) == y).float().mean()})

    def configure_optimizers(self):
        return FORMS[self.hparams.form](self)


class HeadOnly(Stranger):
    def configure_optimizers(self):
        return Adam(list(self.parameters())[-1:])


class Unfreezing(Stranger):
    """Trains its head alone in the first epoch."""

    def on_train_epoch_start(self):
        self.net[0].requires_grad_(self.current_epoch > 0)

    def configure_optimizers(self):
        self.net[0].requires_grad_(False)
        return SGD(self.parameters(), 0.1)


class Data(L.LightningDataModule):
    def __init__(self, count: int = 66):
        super().__init__()
        self.batch_size, self.count = SIZE, count

    def setup(self, stage):
        inputs, targets = blobs(self.count)
        self.sets = {"fit": TensorDataset(inputs[:-15], targets[:-15]), "val": TensorDataset(inputs[-15:], targets[-15:])}

    def train_dataloader(self):
        return DataLoader(self.sets["fit"], self.batch_size, shuffle=True)

    def val_dataloader(self):
        return DataLoader(self.sets["val"], self.batch_size)


@pytest.fixture
def strangers() -> World:
    return World(make_task(Data(), {}, scan=False), None, STORE)


@pytest.mark.parametrize("form", FORMS)
def test_a_module_that_keeps_all_of_its_own_trains_as_without_us(trained, strangers, form):
    ours, reports, spied = trained(strangers, recipe(here("Stranger", form=form), size=None, **KEEP), "val/acc")
    seed_all(SEED)
    theirs = Stranger(form)
    trainer = plain_trainer()
    trainer.fit(theirs, datamodule=Data())
    assert same(ours, theirs.state_dict())
    assert spied["step"] == trainer.global_step
    assert reports[-1].keys() == {"train_loss", "val_loss", "val/acc", "lr"}
    assert reports[-1]["val/acc"] == trainer.callback_metrics["val/acc"]


def test_a_module_keeps_its_class_hyperparameters_and_hooks(trained, strangers):
    _, _, spied = trained(strangers, recipe(here("Stranger", width=5), size=None, **KEEP))
    module = spied["module"]
    assert isinstance(module, Stranger) and isinstance(module, Tuned) and type(module).__name__ == "Stranger"
    assert module.hparams == {"form": "optimizer", "width": 5}
    assert module.started == EPOCHS


def test_a_recipe_can_be_put_on_a_module_twice(task):
    module = Stranger()
    for name in ("sgd", "adam"):
        tuned = apply_to(module, Chosen(recipe(here("Stranger"), optimizer={name: {}})), None)
        assert tuned is module and isinstance(module, Stranger)
        assert [t.name for t, _ in applied_to(module).chosen.of("optimizer")] == [name]


@pytest.mark.parametrize("form", [form for form in FORMS if form != "none"])
def test_a_module_keeps_its_optimizer_under_another_schedule(trained, strangers, form):
    said = recipe(here("Stranger", form=form), size=None, **{**KEEP, "schedule": {"step": {"factor": 0.5, "drops": 2}}})
    _, reports, spied = trained(strangers, said)
    (optimizer,) = spied["optimizers"]
    assert isinstance(optimizer, Adam if form in ("optimizer", "list") else SGD)
    start = optimizer.param_groups[0]["initial_lr"]
    assert [r["lr"] / start for r in reports] == pytest.approx([0.5, 0.25, 0.25])  # after 4, 8 and 12 steps


def test_an_optimizer_that_does_not_exist_cannot_be_kept(trained, strangers):
    said = recipe(here("Stranger", form="none"), size=None, **{**KEEP, "schedule": {"cosine": {}}})
    with pytest.raises(TechniqueError, match="optimizer/keep: returned NoneType, expected Optimizer"):
        trained(strangers, said)


def test_a_recipe_gives_a_module_its_optimizer_schedule_weights_activations_and_regularizers(trained, strangers):
    said = recipe(
        here("Stranger", form="lists"),
        size=None,
        activation={"elu": {}},
        initializer={"he_normal": {}},
        regularizer={"l1": {}, "gradient_clip": {}},
        optimizer={"adamw": {"lr": 1e-30, "weight_decay": 0.1}},
        schedule={"cosine": {"warmup": 0.0}},
    )
    weights, reports, spied = trained(strangers, said)
    decayed, rest = spied["optimizers"][0].param_groups
    assert type(spied["optimizers"][0]).__name__ == "AdamW"
    assert (decayed["weight_decay"], rest["weight_decay"]) == (0.1, 0.0)
    assert all(p.ndim > 1 for p in decayed["params"]) and all(p.ndim == 1 for p in rest["params"])
    assert len(decayed["params"]) + len(rest["params"]) == len(list(spied["module"].parameters()))
    assert reports[-1]["lr"] == pytest.approx(0.0, abs=1e-40) and reports[0]["lr"] == pytest.approx(0.75e-30)
    assert isinstance(spied["module"].net[2], nn.ELU)
    assert [type(c).__name__ for c in spied["callbacks"]] == ["Penalty", "Spy", "GradientClip", "Reporter", "WhenAsked"]
    seed_all(SEED)
    stranger = Stranger()
    nn.init.kaiming_normal_(stranger.net[0].weight)
    torch.testing.assert_close(weights["net.0.weight"], stranger.net[0].weight.detach())  # at so small a rate they stay


def test_plateau_schedule_of_a_recipe_follows_what_a_module_logs(trained, strangers):
    _, reports, _ = trained(strangers, recipe(here("Stranger"), size=None, schedule=here("plateau")), "val/acc")
    assert SEEN["plateau"] == [r["val/acc"] for r in reports]


def test_augmentation_comes_before_the_modules_own_hook_and_never_in_validation(trained, strangers):
    trained(strangers, recipe(here("Stranger"), size=None, augmentation=here("tenfold")))
    assert len(SEEN["train"]) == EPOCHS * STEPS and len(SEEN["validation"]) == EPOCHS
    assert all((batch == 10).all() for batch in SEEN["train"])
    assert not any((batch == 10).any() for batch in SEEN["validation"])


def test_a_mixed_target_is_drawn_from_its_mixture(trained):
    world = World(make_task(Data(3015), {}, scan=False), None, STORE)
    trained(world, recipe(here("Stranger"), size=1000, epochs=1, augmentation=here("mixture")))
    drawn = torch.cat(SEEN["targets"])
    assert drawn.dtype == torch.int64 and len(drawn) == 3000
    shares = drawn.bincount(minlength=3) / len(drawn)
    assert shares[2] == 0 and abs(shares[0] - 0.2) < 3 * (0.2 * 0.8 / 3000) ** 0.5


class Mapped(Data):
    """Gives dictionaries, which are not ours to change."""

    def setup(self, stage):
        super().setup(stage)
        self.sets = {part: [{"x": x, "y": y} for x, y in rows] for part, rows in self.sets.items()}


class OfMappings(L.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = nn.Linear(4, 3)

    def training_step(self, batch, _):
        return cross_entropy(self.net(batch["x"]), batch["y"])

    def validation_step(self, batch, _):
        self.log("val_loss", cross_entropy(self.net(batch["x"]), batch["y"]))

    def configure_optimizers(self):
        return SGD(self.parameters(), lr=0.1)


def test_batches_that_are_mappings_are_left_alone(trained):
    weights = []
    for augmentation in ({}, here("tenfold")):
        world = World(make_task(Mapped(), {}, scan=False), None, STORE)
        weights.append(trained(world, recipe(here("OfMappings"), size=None, augmentation=augmentation, **KEEP))[0])
    assert same(*weights)


class Scenes(Data):
    """Images whose masks can be told from them, in batches of several forms."""

    def __init__(self, form: str = "pair"):
        super().__init__()
        self.form = form

    def setup(self, stage):
        images = torch.rand(48, 1, 8, 8, generator=torch.Generator().manual_seed(0))
        images[..., :4] *= 0.3
        masks, labels = (images[:, 0] * 3).long(), torch.arange(48) % 3
        rows = {
            "pair": zip(images, masks, strict=True),
            "real": zip(images, masks[:, None].float(), strict=True),
            "three": zip(images, labels, masks, strict=True),
            "mask": ({"image": x, "mask": y} for x, y in zip(images, masks, strict=True)),
            "label": ({"image": x, "label": y} for x, y in zip(images, labels, strict=True)),
        }[self.form]
        self.sets = {"fit": list(rows), "val": list(zip(images, masks, strict=True))}


class OfScenes(L.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = nn.Conv2d(1, 3, 1)

    def training_step(self, batch, _):
        SEEN["scenes"].append(batch)
        return self.net(batch["image"] if isinstance(batch, dict) else batch[0]).square().mean()

    def validation_step(self, batch, _):
        self.log("val_loss", self.net(batch[0]).square().mean())

    def configure_optimizers(self):
        return SGD(self.parameters(), lr=0.1)


def scenes(trained, form, **augmentation):
    world = World(make_task(Scenes(form), {}, scan=False), None, STORE)
    trained(world, recipe(here("OfScenes"), size=None, epochs=1, augmentation=augmentation, **KEEP))
    return SEEN["scenes"]


@pytest.mark.parametrize("form", ["pair", "real", "mask", "three"])
def test_masks_are_moved_as_their_images_are(trained, form):
    dark = []
    for batch in scenes(trained, form, flip={"direction": "both"}, translate={"shift": 0.25}):
        images, masks = (batch["image"], batch["mask"]) if form == "mask" else (batch[0], batch[-1])
        assert torch.equal((images[:, 0] * 3).long(), masks.reshape(-1, 8, 8).long())
        assert masks.dtype == (torch.float32 if form == "real" else torch.int64)
        dark += images[..., :4].mean((1, 2, 3)).tolist()
    assert min(dark) < 0.2 and max(dark) > 0.3, "none were flipped"


def test_masks_stay_where_only_colours_change(trained):
    for images, masks in scenes(trained, "pair", color_jitter={"brightness": 0.8}):
        assert (masks[..., :4] == 0).all() and not torch.equal((images[:, 0] * 3).long(), masks)


def test_images_of_a_mapping_are_augmented(trained):
    seen = scenes(trained, "label", translate={"shift": 0.25})
    assert any((batch["image"] == 0).any() for batch in seen) and all(batch["label"].dtype == torch.int64 for batch in seen)


class Once(L.LightningDataModule):
    """A single batch."""

    def __init__(self, *tensors: torch.Tensor):
        super().__init__()
        self.tensors = tensors

    def train_dataloader(self):
        return DataLoader(TensorDataset(*self.tensors), 8)


@pytest.mark.parametrize(
    ("targets", "names", "said"),
    [
        (torch.zeros(8, 6, 6).long(), {"images", "targets"}, "the targets are masks, which are not mixed"),
        (torch.rand(8, 2, 12, 12), {"planes", "images", "targets"}, r"hold \(8, 2, 12, 12\) beside the images, which would not be moved"),
        (torch.eye(8).long(), {"targets"}, r"the targets are \(8, 8\) integers, not one class for each example"),
        (torch.arange(8), set(), ""),
    ],
)
def test_what_would_not_fit_the_targets_is_not_offered(targets, names, said):
    found = make_task(Once(torch.rand(8, 3, 6, 6), targets), {}, scan=False).unoffered
    assert found.keys() == names and (not names or re.search(said, found["targets"]))


def test_what_lies_beside_inputs_and_targets_would_not_be_mixed_with_them():
    found = make_task(Once(torch.rand(8, 3, 6, 6), torch.arange(8), torch.arange(8)), {}, scan=False).unoffered
    assert found == {"targets": "the batches hold more than inputs and targets, which would not be mixed with them"}


def test_batches_of_integers_are_not_augmented():
    found = make_task(Once(torch.zeros(8, 3, 6, 6, dtype=torch.uint8), torch.arange(8)), {}, scan=False).unoffered
    assert found.keys() == {"planes", "inputs"} and "torch.uint8, not floating-point numbers" in found["planes"]


def test_a_network_takes_class_indices_in_every_form_and_no_masks():
    inputs = torch.rand(6, 3)
    classes = torch.arange(6) % 3
    for targets in (classes.int(), classes[:, None], torch.eye(3)[classes], torch.eye(3)[classes].long(), classes.to(torch.uint8)):
        task = make_task(Once(inputs, targets), {}, scan=True)
        assert (task.kind, task.outputs, task.class_counts.tolist()) == ("classification", 3, [2, 2, 2])
        assert torch.equal(pair((inputs, targets), task.kind)[1], classes)
    assert make_task(Once(inputs, torch.eye(4)[classes]), {}, scan=True).class_counts.tolist() == [2, 2, 2, 0]
    for masks in (torch.zeros(8, 6, 6).long(), torch.rand(8, 6, 6)):
        with pytest.raises(BadInput, match=r"targets have the shape \(N, 6, 6\); expected .*; masks need a LightningModule"):
            make_task(Once(torch.rand(8, 3, 6, 6), masks), {}, scan=True)
    assert pair((inputs, torch.arange(6).double()), "regression")[1].shape == (6, 1)


class ByHand(L.LightningModule):
    """Steps two optimizers itself."""

    def __init__(self):
        super().__init__()
        self.automatic_optimization = False
        self.one, self.other = nn.Linear(4, 3), nn.Linear(3, 3)

    def training_step(self, batch, _):
        loss = cross_entropy(self.other(self.one(batch[0])), batch[1])
        for optimizer in self.optimizers():
            optimizer.zero_grad()
        self.manual_backward(loss)
        for optimizer in self.optimizers():
            optimizer.step()

    def configure_optimizers(self):
        return SGD(self.one.parameters(), lr=0.1), Adam(self.other.parameters())


def test_a_module_that_steps_two_optimizers_by_hand_keeps_them(trained):
    ours, _, spied = trained(World(make_task(Data(), {}, scan=False), None, STORE), recipe(here("ByHand"), size=None, **KEEP))
    seed_all(SEED)
    theirs = ByHand()
    plain_trainer().fit(theirs, datamodule=Data())
    assert same(ours, theirs.state_dict())
    assert (spied["outcome"]["manual"], spied["outcome"]["optimizers"]) == (True, 2)


@pytest.mark.parametrize("slot", ["optimizer", "schedule"])
def test_of_several_optimizers_none_is_replaced(trained, slot):
    """Another one would train the parameters of the first alone."""
    replaced = {**KEEP, "optimizer": {"sgd": {}}, "schedule": {"constant": {}}} if slot == "optimizer" else {**KEEP, slot: {"cosine": {}}}
    with pytest.raises(TechniqueError, match=rf"^{slot}/\w+: the module has 2 optimizers, so it keeps its own \({slot}=keep\)$"):
        trained(World(make_task(Data(), {}, scan=False), None, STORE), recipe(here("ByHand"), size=None, **replaced))


class Unoptimized(HeadOnly):
    """Its optimizer needs what is not installed."""

    def configure_optimizers(self):
        raise RuntimeError("apex is needed")


FAILED = r"the module's own configure_optimizers raised RuntimeError: apex is needed"


def test_an_authors_optimizer_that_cannot_be_made_is_noted_and_replaced(strangers):
    replaced = {**KEEP, "optimizer": {"sgd": {}}, "schedule": {"constant": {}}}
    order = TryOut(key="preflight/0", recipe=recipe(here("Unoptimized"), size=None, **replaced))
    outcome = run(strangers, order.json(), lambda *_: False)
    assert outcome["notes"] == [
        "the module's own configure_optimizers raised RuntimeError: apex is needed; other optimizers train all "
        "parameters alike, not in its groups"
    ]


class Forgotten(HeadOnly):
    def configure_optimizers(self):
        SGD(self.parameters(), lr=0.1)


def test_a_module_that_returns_no_optimizer_is_told_that_nothing_is_trained(strangers):
    for replaced, notes in {
        "keep": ["the module's own configure_optimizers returns no optimizer, so that nothing is trained"],
        "sgd": [],
    }.items():
        slots = {**KEEP, "optimizer": {replaced: {}}, "schedule": {"keep" if notes else "constant": {}}}
        order = TryOut(key="preflight/0", recipe=recipe(here("Forgotten"), size=None, **slots))
        assert run(strangers, order.json(), lambda *_: False)["notes"] == notes


def test_an_authors_optimizer_that_cannot_be_made_cannot_be_kept(trained, strangers):
    with pytest.raises(TechniqueError, match=rf"^optimizer/keep: {FAILED}$"):
        trained(strangers, recipe(here("Unoptimized"), size=None, **KEEP))


@pytest.mark.parametrize("form", [lambda a, b: [a, b], lambda a, b: ([a, b], []), lambda a, b: ({"optimizer": a}, {"optimizer": b})])
def test_optimizers_are_found_in_every_form_that_lightning_takes(form):
    one, other = (SGD([nn.Parameter(torch.ones(1))], lr=0.1) for _ in range(2))
    assert own_optimizers(form(one, other)) == [one, other]
    assert own_optimizers(one) == own_optimizers({"optimizer": one}) == own_optimizers(([one], ["a schedule"])) == [one]
    assert own_optimizers(None) == own_optimizers([]) == []


# ---------------------------------------------------------------------------------------------------------------- small pieces


def swapped(model: nn.Module) -> nn.Module:
    prepare_model(Chosen(recipe({}, activation={"elu": {}})), model, None)
    return model


def test_a_shared_activation_is_swapped_wherever_it_stands():
    shared = nn.ReLU()
    model = swapped(nn.Sequential(nn.Linear(4, 4), shared, nn.Sequential(nn.Linear(4, 4), shared), nn.Linear(4, 2)))
    assert isinstance(model[1], nn.ELU) and isinstance(model[2][1], nn.ELU) and model[1] is not model[2][1]


def test_a_frozen_part_keeps_the_activations_that_it_was_trained_with():
    teacher = nn.Sequential(nn.Linear(4, 4), nn.Sequential(nn.ReLU()), nn.Linear(4, 2)).requires_grad_(False)
    student = nn.Sequential(nn.Linear(4, 4).requires_grad_(False), nn.ReLU(), nn.Linear(4, 2))
    swapped(nn.ModuleDict({"teacher": teacher, "student": student}))
    assert isinstance(teacher[1][0], nn.ReLU) and isinstance(student[1], nn.ELU)


def test_what_ends_the_model_stays():
    model = swapped(nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Sequential(nn.Linear(4, 2), nn.Tanh())))
    assert isinstance(model[1], nn.ELU) and isinstance(model[2][1], nn.Tanh)


def test_a_shared_activation_stays_only_where_it_ends_the_model():
    shared = nn.Tanh()
    model = swapped(nn.Sequential(nn.Linear(4, 4), shared, nn.Linear(4, 2), shared))
    assert isinstance(model[1], nn.ELU) and model[3] is shared


class Flat(nn.Module):
    """Layers in the order in which people write them down, which is not the one in which they act."""

    def __init__(self, **layers: nn.Module):
        super().__init__()
        for name, layer in layers.items():
            self.add_module(name, layer)


def test_one_activation_between_all_layers_is_no_output_though_written_last():
    assert isinstance(swapped(Flat(one=nn.Linear(4, 4), two=nn.Linear(4, 2), act=nn.ReLU())).act, nn.ELU)


@pytest.mark.parametrize("last", [nn.CrossEntropyLoss(), nn.Dropout(), nn.Flatten()])
def test_losses_and_what_learns_nothing_do_not_end_a_model(last):
    model = swapped(Flat(net=nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2), nn.Tanh()), last=last))
    assert isinstance(model.net[1], nn.ELU) and isinstance(model.net[3], nn.Tanh)


def test_an_output_that_stands_beside_other_activations_stays():
    model = swapped(Flat(one=nn.Linear(4, 4), act=nn.ReLU(), two=nn.Linear(4, 2), out=nn.Tanh()))
    assert isinstance(model.act, nn.ELU) and isinstance(model.out, nn.Tanh)


class Late(Flat):
    """The activations are written after the layers between which they act, beside one that gives the outputs."""

    def forward(self, inputs):
        hidden = self.two(self.inner(nn.functional.linear(self.act(self.one(inputs)), self.two.weight)))
        return self.out(hidden)


@pytest.mark.parametrize("order", [("out", "act", "inner"), ("inner", "out", "act"), ("act", "inner", "out")])
def test_what_acts_between_layers_is_swapped_whatever_was_written_last(order):
    layers = {"one": nn.Linear(4, 4), "two": nn.Linear(4, 4)} | {name: nn.Tanh() for name in order}
    model = Late(**layers).train()
    prepare_model(Chosen(recipe({}, activation={"elu": {}})), model, None, Task("classification", (4,), 4))
    assert isinstance(model.act, nn.ELU) and isinstance(model.inner, nn.ELU) and isinstance(model.out, nn.Tanh)
    assert model.training and all(p.grad is None and p.requires_grad for p in model.parameters())


def test_a_shared_activation_stays_where_it_gives_the_outputs():
    shared = nn.Tanh()
    model = nn.Sequential(nn.Linear(4, 4), shared, nn.Sequential(nn.Linear(4, 4), shared), nn.Linear(4, 2), shared)
    for parameter in model[3].parameters():
        parameter.requires_grad = False  # a frozen layer is one, too
    sites = activation_sites(model, torch.rand(2, 4))
    assert sites == [(model, "1"), (model[2], "1")] and model[1] is shared and not shared._forward_hooks


def test_inputs_that_do_not_pass_leave_the_order_in_which_a_model_is_written():
    model = nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 4), nn.Tanh())
    assert activation_sites(model, torch.rand(2, 5)) == activation_sites(model) == [(model, "1")]
    model.forward = torch.no_grad()(model.forward)
    assert activation_sites(model, torch.rand(2, 4)) == [(model, "1")], "nothing shows what its outputs are made of"


def test_no_activation_is_no_site():
    assert activation_sites(nn.Linear(2, 2)) == []


def test_biases_and_norms_are_not_decayed_and_frozen_weights_not_trained():
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(8, 3))
    model[3].weight.requires_grad_(False)
    matrices, rest = parameter_groups(model)
    assert [id(p) for p in matrices["params"]] == [id(model[0].weight)] and "weight_decay" not in matrices
    assert rest["weight_decay"] == 0.0
    assert [id(p) for p in rest["params"]] == [id(p) for p in (model[0].bias, model[1].weight, model[1].bias, model[3].bias)]
    for norm in (nn.BatchNorm2d(2), nn.LayerNorm((8, 4))):
        (rest,) = parameter_groups(norm)
        assert rest["weight_decay"] == 0.0 and len(rest["params"]) == 2


def test_a_model_is_as_it_was_after_a_pass_that_only_looks():
    model = nn.Sequential(nn.Embedding(5, 4), nn.Dropout().eval())
    with pytest.raises(RuntimeError):
        reads_codes(model, torch.rand(2, 3))  # no indices
    assert [module.training for module in model] == [True, False] and not model[0]._forward_pre_hooks


class Vision(nn.Module):
    """With parameters of its own, of which it names some, as timm's models do."""

    def __init__(self):
        super().__init__()
        shapes = {
            "pos_embed": (1, 5, 4),
            "cls_token": (1, 1, 4),
            "layer_scale": (4, 1, 1),
            "gamma_1": (1, 4),
            "relative_position_bias_table": (9, 2),
        }
        shapes |= {"positional_embedding": (5, 4), "mixer": (4, 4), "gate_up_proj": (2, 4, 4), "sigma": (4, 2), "table": (4, 2)}
        for name, shape in shapes.items():
            self.register_parameter(name, nn.Parameter(torch.zeros(shape)))
        self.words, self.attention, self.memory = nn.Embedding(5, 4), nn.MultiheadAttention(4, 2, add_bias_kv=True), nn.LSTM(4, 4)
        self.embed = nn.ModuleList([nn.Linear(4, 4)])

    def no_weight_decay(self):
        return {"sigma", "*.nothing", "tab*"}


def test_positions_tokens_scales_and_what_the_module_names_are_not_decayed():
    model = nn.ModuleDict({"backbone": Vision(), "scale": nn.Linear(4, 1)})
    names = {p: name.removeprefix("backbone.") for name, p in model.named_parameters()}
    decayed, _ = parameter_groups(model)
    matrices = ["words.weight", "attention.in_proj_weight", "attention.out_proj.weight", "memory.weight_ih_l0", "memory.weight_hh_l0"]
    assert [names[p] for p in decayed["params"]] == ["mixer", "gate_up_proj", *matrices, "embed.0.weight", "scale.weight"]
    own, _ = parameter_groups(model, Adam(model.parameters()))
    assert own["params"] == decayed["params"]


def test_geometry_acts_before_mixing_and_classes_become_probabilities_once():
    chosen = Chosen(recipe({}, augmentation={"mixup": {"alpha": 1.0}, **here("tenfold")}))
    assert [t.name for t, _ in chosen.of("augmentation")] == ["tenfold", "mixup"]
    inputs, targets = augment(chosen, *blobs(6), 3)
    assert (inputs == 10).all()
    torch.testing.assert_close(targets.sum(1), torch.ones(6))
    values = torch.rand(6, 2)
    assert augment(Chosen(recipe({}, augmentation=here("mixture"))), blobs(6)[0], values, 3)[1].shape == (6, 3)


@pytest.mark.parametrize("model", ["FlatNet", "FlatLit"])
def test_augmentations_see_pixels_though_the_images_are_scaled(trained, model):
    inputs = torch.rand(40, 3, 4, 4, generator=torch.Generator().manual_seed(0)) * torch.tensor([10, 100, 250]).view(3, 1, 1)
    task = make_task(
        Examples(inputs, torch.arange(40) % 3, "classification"),
        {"validation": 0.2, "test": 0.2, "seed": 0, "stratify": True, "normalise": True},
    )
    said = recipe(here(model), augmentation=here("darker"), **(KEEP if model == "FlatLit" else {}))
    trained(World(task, task.example(), STORE), said)
    pixels, network = torch.cat(SEEN["pixels"]), torch.cat(SEEN["inputs"])
    assert pixels.min() >= 0 and pixels.max() <= 1 and pixels.dtype == network.dtype == torch.float32
    for step, (given, seen) in enumerate(zip(SEEN["pixels"], SEEN["inputs"], strict=True)):
        torch.testing.assert_close(seen, task.inputs.apply(given / 2 * 255), atol=1e-5, rtol=1e-5, msg=str(step))


def test_an_augmentation_that_returns_too_little_is_named():
    chosen = Chosen(recipe({}, augmentation=here("forgetful")))
    with pytest.raises(TechniqueError, match="augmentation/forgetful: returned 1 instead of 2 tensors: inputs, targets"):
        augment(chosen, *blobs(6), 3)


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("CUDA out of memory. Tried to allocate 16384.00 GiB.")])
def test_no_technique_is_to_blame_for_a_lack_of_memory(monkeypatch, error):
    def full(*_: object) -> None:
        raise error

    monkeypatch.setattr("autoopt.module.chosen.build", full)
    with pytest.raises(type(error)) as raised:
        augment(Chosen(recipe({}, augmentation=here("tenfold"))), *blobs(6), 3)
    assert raised.value is error


def test_parameters_of_another_scale_are_groups_of_their_own_the_largest_first():
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4), nn.LayerNorm(4), nn.Linear(4, 2))
    for p in model[0].parameters():
        p.lr_scale = 0.25
    model[1].weight.lr_scale = 0.5
    found = parameter_groups(model)
    assert [(g["lr_scale"], g.get("weight_decay"), len(g["params"])) for g in found] == [
        (1.0, None, 1), (0.5, None, 1), (0.25, None, 1), (1.0, 0.0, 4), (0.25, 0.0, 1)
    ]  # fmt: skip


def scaled(model, *, by: float) -> None:
    next(model.parameters()).lr_scale = by


@pytest.mark.parametrize("model", ["network", "Stranger"])
def test_marked_parameters_learn_at_their_share_of_every_rate(trained, task, model):
    said = recipe(here(model), initializer=here("scaled", by=0.5), optimizer={"sgd": {"lr": 0.1}}, schedule={"cosine": {"warmup": 0.0}})
    _, reports, spied = trained(world_of(task), said)
    one, half, rest = spied["optimizers"][0].param_groups
    assert [g["initial_lr"] for g in (one, half, rest)] == pytest.approx([0.1, 0.05, 0.1])
    assert len(half["params"]) == 1
    assert reports[0]["lr"] == pytest.approx(0.075)  # the whole rate, after a third of the cosine
    whole, _, _ = trained(world_of(task), said.replace(initializer={"keep": {}}))
    assert not same(whole, spied["module"].state_dict())


def test_marked_parameters_learn_at_their_share_of_a_kept_optimizers_rate(trained, strangers):
    slots = {**KEEP, "initializer": here("scaled", by=0.5), "schedule": {"constant": {}}}
    _, _, spied = trained(strangers, recipe(here("Stranger", form="lists"), size=None, **slots))
    assert [g["lr"] for g in spied["optimizers"][0].param_groups] == [0.1]  # as its author and the schedule know it
    model = nn.Linear(2, 1)
    before = copy.deepcopy(model.state_dict())
    model.weight.lr_scale = 0.5
    optimizer = SGD(model.parameters(), 0.1)
    scale_steps(optimizer, model)
    model(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    torch.testing.assert_close(model.weight.detach(), before["weight"] - 0.05)
    torch.testing.assert_close(model.bias.detach(), before["bias"] - 0.1)


def still(model) -> None:
    model.other.weight.lr_scale = 0.0


def test_marked_parameters_learn_at_their_share_of_a_second_optimizers_rate(trained):
    world = World(make_task(Data(), {}, scan=False), None, STORE)
    ours, _, _ = trained(world, recipe(here("ByHand"), size=None, **{**KEEP, "initializer": here("still")}))
    seed_all(SEED)
    begun = ByHand().state_dict()
    assert [name for name in begun if torch.equal(ours[name], begun[name])] == ["other.weight"]


def test_what_the_author_leaves_out_stays_untrained_and_the_ratios_of_the_rates_stay():
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 2))
    own = Adam([{"params": model[1].parameters(), "lr": 1e-4}, {"params": model[2].parameters()}], 1e-3)
    OneCycleLR(own, [1e-4, 1e-3], total_steps=10)
    found = parameter_groups(model, own)
    assert [(g["lr_scale"], g.get("weight_decay")) for g in found] == [
        (1.0, None),
        (pytest.approx(0.1), None),
        (1.0, 0.0),
        (pytest.approx(0.1), 0.0),
    ]
    assert {id(p) for g in found for p in g["params"]} == {id(p) for p in [*model[1].parameters(), *model[2].parameters()]}


@pytest.mark.parametrize("name", ["sgd", "momentum", "muon", "adamw"])
def test_a_replaced_optimizer_trains_what_a_hook_of_the_authors_unfreezes_later(trained, strangers, name):
    weights = {}
    for epochs in (1, 2):
        said = recipe(
            here("Unfreezing"), epochs, size=None, **{**KEEP, "optimizer": {name: {"weight_decay": 0.5}}, "schedule": {"constant": {}}}
        )
        weights[epochs], _, _ = trained(strangers, said)
    seed_all(SEED)
    begun = Unfreezing().state_dict()
    assert same({"net.0.weight": weights[1]["net.0.weight"]}, {"net.0.weight": begun["net.0.weight"]})
    assert not torch.equal(weights[2]["net.0.weight"], begun["net.0.weight"])


def test_groups_that_the_author_does_not_decay_are_not_decayed():
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 2))
    own = Adam([{"params": model[0].parameters(), "weight_decay": 0.0}, {"params": model[1].parameters()}], weight_decay=0.1)
    decayed, rest = parameter_groups(model, own)
    assert ("weight_decay" in decayed, rest["weight_decay"]) == (False, 0.0)
    assert [id(p) for p in decayed["params"]] == [id(p) for p in model[1].parameters()]


def test_a_replaced_optimizer_trains_the_parameters_of_the_authors(trained, strangers):
    _, _, spied = trained(
        strangers, recipe(here("HeadOnly"), size=None, **{**KEEP, "optimizer": {"sgd": {}}, "schedule": {"constant": {}}})
    )
    head = list(spied["module"].parameters())[-1]
    assert [[id(p) for p in g["params"]] for g in spied["optimizers"][0].param_groups] == [[id(head)]]


class Validation(L.Callback):
    """What a callback sees at the hooks around a validation."""

    def seen(self, hook, trainer):
        SEEN["validation hooks"].append((hook, dict(trainer.callback_metrics)))

    def on_validation_start(self, trainer, pl_module):
        self.seen("start", trainer)

    def on_validation_epoch_start(self, trainer, pl_module):
        self.seen("epoch start", trainer)

    def on_validation_epoch_end(self, trainer, pl_module):
        self.seen("epoch end", trainer)

    def on_validation_end(self, trainer, pl_module):
        self.seen("end", trainer)


def validation() -> L.Callback:
    return Validation()


@pytest.mark.parametrize("model", ["network", "Stranger"])
def test_callbacks_find_the_metrics_of_an_epoch_when_its_validation_ends(trained, task, model):
    _, reports, _ = trained(world_of(task), recipe(here(model), regularizer=here("validation")))
    assert [hook for hook, _ in SEEN["validation hooks"]] == ["start", "epoch start", "epoch end", "end"] * EPOCHS
    ends = [metrics for hook, metrics in SEEN["validation hooks"] if hook == "end"]
    assert [float(m["val_loss"]) for m in ends] == pytest.approx([r["val_loss"] for r in reports])


class Spared(L.Callback):
    pass


class Checkpointed(Stranger):
    def configure_callbacks(self):
        return [ModelCheckpoint(monitor="val/acc"), Spared()]


def test_a_module_brings_its_own_callbacks_and_its_checkpoints_are_the_trials(trained, strangers, tmp_path):
    _, _, spied = trained(strangers, recipe(here("Checkpointed"), size=None, **KEEP))
    kinds = [type(callback) for callback in spied["callbacks"]]
    assert Spared in kinds and ModelCheckpoint in kinds
    assert not [*tmp_path.rglob("*.ckpt")]


@pytest.mark.parametrize("optimizer", [{"adam": {}}, {"keep": {}}], ids=str)
def test_gradients_of_16_bits_are_unscaled_before_callbacks_see_them(trained, strangers, optimizer):
    """A fused optimizer would unscale them by itself, after a clipping callback."""
    _, _, spied = trained(strangers, recipe(here("Stranger"), size=None, **{**KEEP, "optimizer": optimizer}))
    assert [o._step_supports_amp_scaling for o in spied["optimizers"]] == [False]


class Unknown(IterableDataset):
    def __iter__(self):
        return iter([(torch.rand(4, 4), torch.arange(4) % 3)] * 3)


class Streamed(Data):
    def train_dataloader(self):
        return DataLoader(Unknown(), batch_size=None)


def test_a_loader_without_a_length_goes_with_what_does_not_ask_for_one(trained):
    world = World(make_task(Streamed(), {}, scan=False), None, STORE)
    trained(world, recipe(here("Stranger"), size=None, **KEEP))
    trained(world, recipe(here("Stranger"), size=None, **{**KEEP, "optimizer": {"adam": {}}, "schedule": {"constant": {}}}))
    with pytest.raises(TechniqueError, match=r"schedule/cosine: the training loader does not say how many batches it has") as caught:
        trained(world, recipe(here("Stranger"), size=None, **{**KEEP, "optimizer": {"adam": {}}, "schedule": {"cosine": {}}}))
    assert caught.value.unavailable
    with pytest.raises(TechniqueError, match=r"regularizer/counting: the training loader does not say how many batches it has") as caught:
        trained(world, recipe(here("Stranger"), size=None, **KEEP, regularizer=here("counting")))
    assert caught.value.unavailable


def counting(model, total_steps) -> None:
    pass


class Lifted(Data):
    """Its batches are made ready after they are on the device."""

    def on_after_batch_transfer(self, batch, dataloader_idx):
        return [batch[0] + 100, batch[1]]

    def test_dataloader(self):
        return self.val_dataloader()


class Mean(Stranger):
    def on_after_batch_transfer(self, batch, dataloader_idx):
        return batch

    def validation_step(self, batch, batch_idx):
        self.log("val_mean", batch[0].mean())


def test_the_hooks_of_a_data_module_act_on_the_test_part_too(tmp_path):
    world = World(make_task(Lifted(), {}, scan=False), None, Store(tmp_path))
    said = recipe(here("Mean"), size=None, **KEEP)
    trained = run(world, Train(key="0", recipe=said, keep=True).json(), lambda *_: False)["metrics"]
    tested = run(world, Measure(key="0-test", recipe=said, weights="0").json(), lambda *_: False)["metrics"]
    assert tested["test_mean"] == trained["val_mean"] > 90


@pytest.mark.parametrize("dtype", [torch.int32, torch.uint8, torch.bool])
def test_labels_of_any_whole_type_are_class_indices(dtype):
    inputs, targets = pair((torch.rand(4, 2), torch.tensor([0, 1, 1, 0]).to(dtype)), "classification")
    assert cross_entropy(inputs, targets) > 0 and pair((inputs, torch.rand(4)), "regression")[1].shape == (4, 1)
