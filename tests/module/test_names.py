"""Every name on a user's LightningModule is its author's: what autoopt keeps on it takes one private name, for as long as it trains."""

import copy
import io
import os
import pickle
from abc import ABC, abstractmethod
from functools import partial
from typing import ClassVar

import lightning.pytorch as L
import pytest
import torch
from lightning.pytorch.loggers.logger import DummyLogger
from safetensors.torch import load_file
from torch import nn
from torch.nn.functional import cross_entropy
from torch.optim import SGD
from torch.optim.lr_scheduler import LRScheduler
from torch.utils.data import DataLoader, TensorDataset

import autoopt
from autoopt.data.loaders import seed_all
from autoopt.data.make_task import make_task
from autoopt.deployment.load import trained
from autoopt.errors import TechniqueError
from autoopt.module.applied import HELD, applied_to
from autoopt.module.build import apply_to, as_written
from autoopt.module.chosen import Chosen
from autoopt.module.tuned import Tuned
from autoopt.orders import Train
from autoopt.recipe import Recipe
from autoopt.slots import SLOTS
from autoopt.store import Store
from autoopt.trial.run import run
from autoopt.trial.world import World

NAMES = ("chosen", "objective", "direction", "times", "total_steps", "keep", "kept", "deployed", "steps_per_epoch", "passed", "applied")
"""Names that autoopt has once taken for itself, or has for what it keeps now."""
SEED, EPOCHS, FACTOR = 3, 2, 3.0


class Plain(L.LightningModule):
    """Written by somebody who has never heard of autoopt."""

    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3))

    def forward(self, inputs):
        return self.net(inputs)

    def training_step(self, batch, _):
        return self.factor() * cross_entropy(self(batch[0]), batch[1])

    def validation_step(self, batch, _):
        self.log("val_loss", self.factor() * cross_entropy(self(batch[0]), batch[1]))

    def configure_optimizers(self):
        return SGD(self.parameters(), lr=0.1)

    def factor(self):
        return 1.0


START = Plain().state_dict()


class Rows(L.LightningDataModule):
    def rows(self, seed: int, shuffle: bool = False) -> DataLoader:
        targets = torch.arange(48) % 3
        inputs = torch.randn(48, 4, generator=torch.Generator().manual_seed(seed)) + targets[:, None]
        return DataLoader(TensorDataset(inputs, targets), 16, shuffle=shuffle)

    def train_dataloader(self):
        return self.rows(0, shuffle=True)

    def val_dataloader(self):
        return self.rows(1)

    def test_dataloader(self):
        return self.rows(2)


class Times(nn.Module):
    def forward(self):
        return FACTOR


def in_init(name: str, value: object, kind: type = Plain) -> type:
    def __init__(self):
        kind.__init__(self)
        setattr(self, name, value)

    return type("Mine", (kind,), {"__init__": __init__})


def hyperparameter(name: str) -> type:
    def __init__(self):
        Plain.__init__(self)
        self.save_hyperparameters({name: FACTOR})

    return type("Mine", (Plain,), {"__init__": __init__, name: property(lambda self: self.hparams[name])})


FORMS = {
    "attribute": lambda name: in_init(name, FACTOR),
    "function": lambda name: in_init(name, lambda: FACTOR),
    "module": lambda name: in_init(name, Times()),
    "of the class": lambda name: type("Mine", (Plain,), {name: FACTOR}),
    "method": lambda name: type("Mine", (Plain,), {name: lambda self: FACTOR}),
    "property": lambda name: type("Mine", (Plain,), {name: property(lambda self: FACTOR)}),
    "slot": lambda name: in_init(name, FACTOR, type("Slotted", (Plain,), {"__slots__": (name,)})),
    "hyperparameter": hyperparameter,
}


def mine(name: str = "", form: str = "attribute") -> Plain:
    """A module of which everything hangs on an attribute of that name."""

    def factor(self):
        value = getattr(self, name)
        return value() if callable(value) else value

    kind = FORMS[form](name)
    kind.factor = factor
    return kind()


def every_name() -> Plain:
    kind = Plain
    for name in NAMES:
        kind = in_init(name, FACTOR, kind)
    kind.factor = lambda self: sum(getattr(self, name) for name in NAMES) / len(NAMES)
    return kind()


KEEP = {slot: {"keep": {}} for slot in ("activation", "initializer", "loss", "optimizer", "schedule")} | {"device": {"cpu": {}}}


def recipe(model: str, *, slots: dict | None = None, **values) -> Recipe:
    tree = {slot: {**KEEP, **(slots or {})}.get(slot, {}) for slot in SLOTS} | {"model": {model: {"from": f"{__name__}:{model}", **values}}}
    return Recipe({**tree, "batches": {"size": None}, "study": {"epochs": EPOCHS}})


def put_on(module: L.LightningModule, **slots) -> Tuned:
    return apply_to(module, Chosen(recipe("Plain", slots=slots)), None)


def fit(module: L.LightningModule) -> L.LightningModule:
    """Train it by Lightning alone."""
    quiet = dict.fromkeys(("enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False)
    trainer = L.Trainer(max_epochs=EPOCHS, accelerator="cpu", num_sanity_val_steps=0, log_every_n_steps=1, logger=DummyLogger(), **quiet)
    trainer.fit(module, datamodule=Rows())
    return module


def same(first: dict, second: dict) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)


ALL = bool(os.environ.get("AUTOOPT_TEST_ALL"))
CELLS = [(name, form) for i, name in enumerate(NAMES) for j, form in enumerate(FORMS) if ALL or i % len(FORMS) == j]
"""Every name and every form; with AUTOOPT_TEST_ALL=1, each name in each form."""


@pytest.mark.parametrize(("name", "form"), CELLS)
def test_a_module_trains_and_is_loaded_as_without_us_whatever_it_calls_its_own(tmp_path, name, form):
    said, store = recipe("mine", name=name, form=form), Store(tmp_path)
    task = make_task(Rows(), {}, scan=False)
    run(World(task, None, store), Train(key="0", recipe=said, seed=SEED, keep=True).json(), lambda *_: False)
    seed_all(SEED)
    theirs = fit(mine(name, form))
    assert same(load_file(store.weights("0")), theirs.state_dict())
    loaded = trained(Chosen(said), task, store.weights("0"))
    assert same(loaded.state_dict(), theirs.state_dict()) and loaded.factor() == FACTOR and not isinstance(loaded, Tuned)


def test_what_these_modules_learn_hangs_on_the_name():
    module = mine("direction")
    module.direction = 1.0
    first = [fit_from(each).state_dict() for each in (mine("direction"), module)]
    assert not same(*first)


def fit_from(module: L.LightningModule) -> L.LightningModule:
    module.load_state_dict(START)
    torch.manual_seed(SEED)
    return fit(module)


@pytest.mark.slow
@pytest.mark.usefixtures("forks")
@pytest.mark.parametrize("compression", ["none", "[half]"])
def test_a_module_with_all_of_the_names_comes_back_from_load(tmp_path, compression):
    said = [
        f"data={__name__}:Rows",
        f"model={__name__}:every_name",
        f"compression={compression}",
        f"study.epochs={EPOCHS}",
        f"root={tmp_path}",
    ]
    made = autoopt.train([*said, "device=cpu", "tracking.enabled=false"], quiet=True)
    loaded = autoopt.load(made.path).model
    (own,) = [module for module in loaded.modules() if isinstance(module, Plain)]
    assert {name: getattr(own, name) for name in NAMES} == dict.fromkeys(NAMES, FACTOR)
    assert not any(isinstance(module, Tuned) or HELD in vars(module) for module in loaded.modules())
    batches = Rows().test_dataloader()
    loss = sum(FACTOR * cross_entropy(loaded(inputs).float(), targets).item() for inputs, targets in batches) / len(batches)
    assert loss == pytest.approx(made.metrics["test_loss"], rel=1e-2 if compression == "[half]" else 1e-5)


def test_a_recipe_is_put_on_a_module_of_ones_own_script_beside_its_names():
    tuned = recipe("Plain", slots={"optimizer": {"adamw": {}}, "schedule": {"cosine": {}}})
    module, callbacks, _ = autoopt.apply(tuned, every_name(), trust=[f"{__name__}:Plain"])
    fit(module)
    assert callbacks == [] and type(module.trainer.optimizers[0]).__name__ == "AdamW"
    assert {name: getattr(module, name) for name in NAMES} == dict.fromkeys(NAMES, FACTOR)


# ------------------------------------------------------------------------------------------------------------- what is put on a module


def test_the_class_in_front_adds_no_name():
    assert {name for name in dir(Tuned) if not name.startswith("__")} <= set(dir(L.LightningModule))


def test_an_object_gets_one_private_name_that_no_state_of_it_shows():
    module = Plain()
    before, state = set(vars(module)), set(module.state_dict())
    put_on(module)
    assert set(vars(module)) - before == {HELD} and HELD.startswith("_")
    assert set(module.state_dict()) == state and HELD not in repr(module)


def test_a_module_goes_by_its_own_class():
    theirs, ours = Plain(), put_on(Plain())
    assert repr(ours) == repr(theirs) and ours._get_name() == "Plain"
    for name in ("__name__", "__qualname__", "__module__", "__doc__"):
        assert getattr(type(ours), name) == getattr(type(theirs), name)
    assert as_written(ours) is ours and type(ours) is Plain and vars(ours).keys() == vars(theirs).keys()


@pytest.mark.parametrize(
    "made", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m)), lambda m: torch_saved(m)], ids=["copy", "pickle", "save"]
)
def test_a_copy_trains_by_the_same_recipe_and_by_itself(made):
    module = put_on(every_name(), optimizer={"adamw": {}}) if made is copy.deepcopy else put_on(Plain(), optimizer={"adamw": {}})
    other = made(module)
    assert type(other) is type(module) and applied_to(other) is not applied_to(module)
    fit(other)
    assert type(other.trainer.optimizers[0]).__name__ == "AdamW" and same(module.state_dict(), made(module).state_dict())
    assert not same(other.state_dict(), module.state_dict())


def torch_saved(module: L.LightningModule) -> L.LightningModule:
    file = io.BytesIO()
    torch.save(module, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


class Rebuilt(Plain):
    def __reduce__(self):
        return type(self), (), self.__dict__


def test_a_module_that_says_how_it_is_copied_is_copied_so():
    other = copy.deepcopy(put_on(Rebuilt()))
    assert isinstance(other, Tuned) and isinstance(other, Rebuilt)


class Registry(Plain):
    known: ClassVar[dict[str, type]] = {}

    def __init_subclass__(cls, *, key: str):
        cls.known[key] = cls


class Registered(Registry, key="a"):
    pass


class Abstract(Plain, ABC):
    @abstractmethod
    def factor(self): ...


class Concrete(Abstract):
    def factor(self):
        return 1.0


class Frozen(Plain):
    """Lets nothing be set on it."""

    def __setattr__(self, name, value):
        if self.__dict__.get("frozen") and not name.startswith("_"):
            raise AttributeError(name)
        super().__setattr__(name, value)

    def __init__(self):
        super().__init__()
        self.frozen = True


@pytest.mark.parametrize("kind", [Registered, Concrete, Frozen])
def test_a_class_of_any_making_takes_a_recipe(kind):
    module = put_on(kind(), optimizer={"adamw": {}})
    assert isinstance(module, kind) and isinstance(module, Tuned) and type(as_written(module)) is kind
    assert Registry.known == {"a": Registered}, "a registry does not hear of us"


@pytest.mark.parametrize("hook", ["configure_optimizers", "on_train_epoch_start"])
def test_a_hook_that_is_set_on_the_object_is_told(hook):
    module = Plain()
    setattr(module, hook, partial(SGD, module.parameters(), lr=0.1))
    with pytest.raises(TechniqueError, match=rf"model/Plain: sets self\.{hook}, which no recipe can change; write it as a method of Plain"):
        put_on(module)
    assert type(module) is Plain and HELD not in vars(module)


class Scaled(Plain):
    """Has a key in its groups by which autoopt's own groups are scaled."""

    def configure_optimizers(self):
        return SGD([{"params": self.parameters(), "lr_scale": 0.5}], lr=0.1)


def flat(optimizer) -> LRScheduler:
    return torch.optim.lr_scheduler.ConstantLR(optimizer, 1.0)


def test_an_optimizer_that_is_kept_keeps_its_rates_under_another_schedule():
    module = fit(put_on(Scaled(), schedule={"flat": {"from": f"{__name__}:flat"}}))
    assert [group["lr"] for group in module.trainer.optimizers[0].param_groups] == [0.1]
