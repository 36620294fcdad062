"""What every trial shares: the techniques are imported and looked at, the data loaded."""

import hashlib
import json
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import lightning.pytorch as L
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from autoopt.api import compose_tree
from autoopt.commands.plan import data_lines
from autoopt.config import compose
from autoopt.data.examples import Examples
from autoopt.data.scale import Scale
from autoopt.data.task import Task
from autoopt.domain import Acts
from autoopt.errors import BadInput
from autoopt.slots import SLOTS
from autoopt.space import Pin
from autoopt.technique import LIVE, catalogue, find
from autoopt.trial.facts import chance_level
from autoopt.trial.imports import check_arguments
from autoopt.trial.world import prepare

HERE = __name__
OFFERED = SLOTS["augmentation"].offers


@pytest.fixture(autouse=True)
def nothing_is_left_behind():
    yield
    if LIVE:  # else nothing found depends on it, and to read all signatures anew takes a tenth of a second
        LIVE.clear()
        find.cache_clear()


@pytest.fixture
def site(tmp_path, monkeypatch) -> Path:
    """A folder on the path, as pip would fill it, with a plugin that needs a package that is not there."""
    info = tmp_path / "broken_plugins-1.2.dist-info"
    info.mkdir()
    requires = 'Provides-Extra: fast\nRequires-Dist: absent-package>=2; extra == "fast"\n'
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: broken-plugins\nVersion: 1.2\n{requires}")
    (info / "entry_points.txt").write_text("[autoopt.optimizer]\nbroken = broken_plugins:broken\n")
    (tmp_path / "broken_plugins.py").write_text("import absent_package\n\n\ndef broken(params):\n    pass\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    catalogue.cache_clear()
    yield tmp_path
    catalogue.cache_clear()


def facts_of(*overrides: str) -> dict:
    return prepare({"tree": compose(overrides), "store": "."})[1]


# ------------------------------------------------------------------------------------------------------- things to name by import path


class Bag(L.LightningDataModule):
    """Twenty examples of two classes, three numbers each."""

    def train_dataloader(self):
        return DataLoader(TensorDataset(torch.rand(20, 3), torch.arange(20) % 2), 5)

    def val_dataloader(self):
        return self.train_dataloader()


class Unvalidated(L.LightningDataModule):
    def train_dataloader(self):
        return Bag().train_dataloader()


class Changing(Bag):
    def on_after_batch_transfer(self, batch, dataloader_idx):
        return batch


class Normalised(L.LightningDataModule):
    """Images as most data modules give them, of mean 0."""

    def train_dataloader(self):
        return DataLoader(TensorDataset(torch.randn(20, 3, 4, 4), torch.arange(20) % 2), 5)

    val_dataloader = train_dataloader


class Images(L.LightningDataModule):
    def train_dataloader(self):
        return DataLoader(TensorDataset(torch.rand(20, 3, 4, 4), torch.arange(20) % 2), 5)


class ScaledImages(Images):
    def on_before_batch_transfer(self, batch, dataloader_idx):
        return (batch[0] - 0.5) / 0.25, batch[1]


class Mapped(Bag):
    def train_dataloader(self):
        return [{"x": x, "y": y} for x, y in super().train_dataloader()]


class Lit(L.LightningModule):
    def __init__(self, hidden: int = 3):
        super().__init__()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters())


class Scales(Lit):
    on_before_batch_transfer = ScaledImages.on_before_batch_transfer


class Unconfigured(Lit):
    configure_optimizers = L.LightningModule.configure_optimizers


BUILT: list[str] = []


def told_to_be_lightning() -> L.LightningModule:
    BUILT.append("in this process")
    return Lit()


def told_but_unconfigured() -> L.LightningModule:
    return Unconfigured()


def told_but_broken() -> L.LightningModule:
    raise ValueError("no such size")


def told_but_ending() -> L.LightningModule:
    os._exit(1)


FUNCTIONS = ("told_to_be_lightning", "told_but_unconfigured", "told_but_broken", "told_but_ending")


class Network(nn.Module):
    pass


class Other:
    """Nothing of ours."""


def network() -> nn.Module:
    return Network()


def examples() -> Examples:
    return Examples(torch.rand(20, 3), torch.arange(20) % 2, "classification")


def number() -> int:
    return 3


def unsaid():
    return Network()


MADE = Network()


def failing() -> Examples:
    raise ValueError("the disk\n  is on fire")


def asserting() -> Examples:
    raise AssertionError


def refusing() -> Examples:
    raise BadInput("data.refusing: say more")


def late(model) -> Annotated[L.Callback, Acts(order="late")]:
    return L.Callback()


def squared(task) -> Callable[[Tensor, Tensor], Tensor]:
    return nn.MSELoss()


def geometric(inputs: Tensor) -> tuple[Tensor, ...]:
    return (inputs,)


def nothing(model) -> None:
    pass


# ----------------------------------------------------------------------------------------------------------------------- techniques


def test_a_selected_technique_that_is_broken_is_named_with_its_distribution_and_the_extra(site):
    said = (
        r"optimizer/broken cannot be loaded: ModuleNotFoundError: No module named 'absent_package' "
        r"\(from broken-plugins 1\.2; pip install 'broken-plugins\[fast\]'\)"
    )
    with pytest.raises(BadInput, match=said):
        facts_of("data=digits", "optimizer=adam,broken")


def test_a_broken_technique_that_is_not_selected_disturbs_nobody(site):
    assert facts_of("data=digits", "optimizer=adam")["kind"] == "classification"


@pytest.mark.parametrize(
    ("slot", "name", "said"),
    [
        ("model", "number", r"is a function that returns int; expected a subclass of torch\.nn\.Module, or a function annotated"),
        ("model", "Other", r"is a class; expected a subclass of torch\.nn\.Module, or a function annotated to return one"),
        ("model", "MADE", r"is an object of class Network; expected a subclass of torch\.nn\.Module"),
        ("model", "unsaid", r"is a function that does not say what it returns; expected a subclass of torch\.nn\.Module"),
        (
            "data",
            "Network",
            r"is a class; expected a subclass of autoopt\.data\.examples\.Examples or lightning\.pytorch\.LightningDataModule",
        ),
        (
            "data",
            "number",
            r"is a function that returns int; .* or torch\.utils\.data\.DataLoader or tuple\[DataLoader, DataLoader\] \(training,",
        ),
        ("optimizer", "Other", r"is a class; expected a subclass of torch\.optim\.Optimizer"),
        ("regularizer", "number", r"is a function that returns int; expected a subclass of lightning\.pytorch\.Callback or None"),
        ("initializer", "network", r"is a function that returns Module; expected a subclass of None"),
    ],
)
def test_an_import_path_of_the_wrong_kind_is_refused(slot, name, said):
    data = [] if slot == "data" else ["data=digits"]
    with pytest.raises(BadInput, match=f"{slot}={HERE}:{name} {said}"):
        facts_of(*data, f"{slot}={HERE}:{name}")


def test_all_problems_are_said_at_once(site):
    with pytest.raises(BadInput) as caught:
        facts_of("data=digits", "optimizer=broken", f"model=mlp,{HERE}:Other", f"loss={HERE}:number")
    assert [problem.split()[0] for problem in caught.value.problems] == [f"model={HERE}:Other", f"loss={HERE}:number", "optimizer/broken"]


@pytest.mark.parametrize(
    "said",
    [
        f"regularizer={HERE}:late",
        f"loss={HERE}:squared",
        f"augmentation={HERE}:geometric",
        f"initializer={HERE}:nothing",
        "loss=torch.nn:NLLLoss",
    ],
)
def test_an_import_path_of_the_right_kind_is_taken(said):
    assert facts_of("data=digits", said)["kind"] == "classification"


# ----------------------------------------------------------------------------------------------------------------------------- data


def test_data_that_cannot_be_loaded_is_bad_input():
    with pytest.raises(BadInput, match=r"^data=failing: ValueError: the disk is on fire \(test_world.py, line \d+\)$"):
        facts_of(f"data={HERE}:failing")
    with pytest.raises(BadInput, match=r"^data=asserting: AssertionError: raise AssertionError \(test_world.py, line \d+\)"):
        facts_of(f"data={HERE}:asserting")
    with pytest.raises(BadInput, match=r"^data\.refusing: say more$"):
        facts_of(f"data={HERE}:refusing")


def test_the_facts_are_json_and_say_what_the_task_is():
    facts = facts_of("data=diabetes")
    assert json.loads(json.dumps(facts))["sizes"] == {"train": 265, "validation": 88, "test": 89}
    assert (facts["kind"], facts["input_shape"], facts["outputs"], facts["lightning"]) == ("regression", (10,), 1, False)
    assert len(facts["inputs"]["mean"]) == 10 and len(facts["targets"]["deviation"]) == 1


def test_what_cannot_be_offered_has_its_reason():
    table = facts_of("data=diabetes")["absent"]
    assert table["augmentation"] == dict.fromkeys(("planes", "images", "pixels"), "the inputs are no images but 10 numbers")
    assert table["loss"]["class_counts"] == "the targets are no classes"
    assert table["optimizer"] == {"own": "a plain network has none of its own"} == table["schedule"]
    images = facts_of("data=digits")["absent"]
    assert images["augmentation"] == {} and "class_counts" not in images["loss"]


def test_a_lightning_module_keeps_its_own():
    facts = facts_of(f"data={HERE}:Bag", f"model={HERE}:Lit")
    assert facts["lightning"] and facts["absent"]["optimizer"] == {} == facts["absent"]["schedule"]
    assert "training_step" in facts["absent"]["loss"]["task"]
    absent = facts_of(f"data={HERE}:Bag", f"model={HERE}:Unconfigured")["absent"]
    assert absent["optimizer"] == absent["schedule"] == {"own": "Unconfigured has no configure_optimizers"}


def test_a_function_that_tells_a_base_class_is_called_to_know_whether_it_configures_an_optimizer(capfd):
    absent, states = {}, []
    for name in ("Lit", *FUNCTIONS):
        absent[name] = facts_of(f"data={HERE}:Bag", f"model={HERE}:{name}")["absent"]["optimizer"]
        states.append(torch.get_rng_state())
    assert all(torch.equal(state, states[0]) for state in states), "the call leaves the random numbers as they were"
    assert absent["told_to_be_lightning"] == {} and not BUILT, "trials are forked from this process"
    said = capfd.readouterr().out
    unknown = "it is not known whether it configures an optimizer, since it cannot be built"
    assert f"model/told_but_broken: {unknown}: ValueError: no such size" in said
    assert f"model/told_but_ending: {unknown}: its process ended" in said
    for name in FUNCTIONS[1:]:
        assert absent[name] == {"own": f"{name} has no configure_optimizers"}


def test_batches_that_cannot_be_augmented_are_not_offered():
    mapped = facts_of(f"data={HERE}:Mapped", f"model={HERE}:Lit")["absent"]["augmentation"]
    assert mapped == dict.fromkeys(OFFERED, "the data module's batches are not tensors (inputs, targets)")
    changing = facts_of(f"data={HERE}:Changing", f"model={HERE}:Lit")["absent"]["augmentation"]
    assert "in its on_after_batch_transfer" in changing["inputs"]


@pytest.mark.parametrize(("data", "model", "who"), [("Images", "Scales", "Scales"), ("ScaledImages", "Lit", "the data module")])
def test_images_that_are_changed_on_the_way_are_not_taken_to_be_as_the_loader_gives_them(data, model, who):
    found = facts_of(f"data={HERE}:{data}", f"model={HERE}:{model}")["absent"]["augmentation"]
    assert found == dict.fromkeys(("images", "pixels"), f"{who} may change the values of the images, in its on_before_batch_transfer")
    assert facts_of(f"data={HERE}:Images", f"model={HERE}:Lit")["absent"]["augmentation"] == {}


def test_a_network_needs_batches_of_tensors_and_something_to_be_judged_on():
    with pytest.raises(BadInput, match=r"batches are not tensors \(inputs, targets\); give a LightningModule that takes them"):
        facts_of(f"data={HERE}:Mapped")
    with pytest.raises(BadInput, match="data=Unvalidated: it has no val_dataloader, which a network is judged on"):
        facts_of(f"data={HERE}:Unvalidated")
    assert facts_of(f"data={HERE}:Unvalidated", f"model={HERE}:Lit")["lightning"]


def test_the_world_has_the_task_and_an_example():
    world, _ = prepare({"tree": compose(["data=digits"]), "store": "."})
    assert [tuple(t.shape) for t in world.example] == [(64, 1, 8, 8), (64,)]
    assert prepare({"tree": compose([f"data={HERE}:Bag"]), "store": "."})[0].example is None


def test_examples_that_are_kept_on_disk_are_in_the_store(tmp_path, monkeypatch):
    kept = []
    monkeypatch.setattr("autoopt.trial.world.cached", lambda inputs, cache, folder: kept.append((cache, folder)) or inputs)
    tree = compose(["data=digits", "batches.cache=disk", f"root={tmp_path / 'elsewhere'}"])
    world, _ = prepare({"tree": tree, "store": str(tmp_path / "study")})
    assert kept == [("disk", world.store.root)] and world.store.root == tmp_path / "study"


def test_the_users_own_techniques_have_the_digits_of_their_files():
    digits = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()[:16]
    found = facts_of(f"data={HERE}:Bag", f"model={HERE}:Lit", "optimizer=keep,adamw")["sources"]
    assert found == {f"data={HERE}:Bag": digits, f"model={HERE}:Lit": digits}
    assert facts_of("data=digits", "model=mlp", f"metrics={HERE}:missed")["sources"] == {"metrics=missed": digits}
    tree = compose_tree([], lambda: Lit(2), lambda: examples())
    assert prepare({"tree": tree, "store": "."})[1]["sources"] == {}, "a script may change around them"


def missed(outputs: Tensor, targets: Tensor) -> float:
    return (outputs.argmax(1) != targets).float().mean().item()


# --------------------------------------------------------------------------------------------------------------------- from Python


@pytest.mark.parametrize(("made", "lightning"), [(lambda: Lit(2), True), (lambda: Network(), False), (lambda task: Network(), False)])
def test_what_a_function_from_python_makes_is_seen_without_an_annotation(made, lightning):
    assert prepare({"tree": compose_tree([], made, Bag), "store": "."})[1]["lightning"] is lightning


def test_two_functions_without_a_name_are_two(tmp_path):
    tree = compose_tree([], lambda: Lit(2), lambda: examples())
    _, facts = prepare({"tree": tree, "store": "."})
    assert facts["sizes"]["train"] == 12 and facts["lightning"]
    assert [*tree["model"], *tree["data"]] == ["model", "data"]


def test_images_outside_of_0_to_1_are_not_changed_as_images():
    absent = facts_of(f"data={HERE}:Normalised", "model=cnn")["absent"]["augmentation"]
    assert absent == dict.fromkeys(("images", "pixels"), "the data module's images have values outside of [0, 1]")


def rare(share: float) -> Callable[[], Examples]:
    """A table of 200 examples, so many of which are of the second class."""
    targets = (torch.arange(200) < 200 * share).long()
    return lambda: Examples(torch.randn(200, 3), targets, "classification", ("common", "rare"))


def facts_of_rare(share: float, *overrides: str) -> dict:
    return prepare({"tree": compose_tree([*overrides], lambda: Network(), rare(share)), "store": "."})[1]


def test_a_class_that_prevails_makes_balanced_accuracy_the_objective():
    facts = facts_of_rare(0.1)
    assert facts["objective"] == "val_balanced_accuracy"
    why = "90.0% of the training examples are of class 'common'"
    assert facts["notes"] == (f"{why}; the objective is val_balanced_accuracy, as accuracy would say little",)
    assert facts_of_rare(0.1, "objective=val_accuracy")["notes"] == (), "the user knows"
    even = facts_of_rare(0.25)
    assert (even["objective"], even["notes"]) == ("val_accuracy", ())
    assert facts_of("data=diabetes")["objective"] == "val_rmse"


def test_an_objective_of_another_kind_of_task_says_how_it_is_got(tmp_path):
    """Ratings from 1 to 5 are classes, unless the user says otherwise."""
    (tmp_path / "t.csv").write_text("x,stars\n" + "".join(f"{n},{n % 5 + 1}\n" for n in range(60)))
    data = ("data=csv", f"data.csv.path={tmp_path / 't.csv'}", "data.csv.target=stars", "model=mlp", "objective=val_rmse")
    with pytest.raises(
        BadInput, match=r"=val_rmse is a metric of regression, but the task is classification; give data\.csv\.kind=regress"
    ):
        facts_of(*data)
    assert facts_of(*data, "data.csv.kind=regression")["kind"] == "regression"
    with pytest.raises(BadInput, match=r"objective=val_f1 is a metric of classification, but the task is regression$"):
        facts_of("data=diabetes", "model=mlp", "objective=val_f1")


def labelled() -> Examples:
    """A table of 60 examples with three labels, of which the last is rare."""
    labels = torch.stack([torch.arange(60) % step == 0 for step in (2, 3, 20)], 1)
    return Examples(torch.randn(60, 3), labels, "multilabel", ("even", "third", "rare"))


def test_labels_are_measured_by_f1_and_have_no_classes():
    facts = prepare({"tree": compose_tree([], lambda: Network(), labelled), "store": "."})[1]
    assert (facts["kind"], facts["outputs"], facts["objective"]) == ("multilabel", 3, "val_f1")
    assert facts["notes"][-1] == "the targets are 3 labels, any number of which an example has"
    assert facts["chance"].keys() >= {"val_f1", "val_exact_match", "val_loss"} and 0.5 < facts["chance"]["val_accuracy"] < 1
    assert facts["absent"]["loss"]["class_counts"] == "an example has several labels, not one class"
    with pytest.raises(BadInput, match=r"batches\.sampler=balanced: an example has several labels, not one class; leave batches\.sampler"):
        prepare({"tree": compose_tree(["batches.sampler=balanced"], lambda: Network(), labelled), "store": "."})


@pytest.mark.parametrize("scale", ["linear", "none,linear"])
def test_rates_are_scaled_with_a_batch_size_in_numbers_and_not_in_a_module_of_the_users(scale):
    assert facts_of("data=digits", "model=mlp", f"batches.scale_lr={scale}")["batch_size"] == 64
    with pytest.raises(BadInput, match=r"batches\.scale_lr=.*linear.*: LightningModule is a LightningModule, whose author"):
        facts_of("data=digits", "model=lightning.pytorch:LightningModule", f"batches.scale_lr={scale}")
    with pytest.raises(BadInput, match=r"batches\.scale_lr=.*linear.* needs batch sizes in numbers, not that of the data: give batches"):
        facts_of(f"data={HERE}:Bag", "model=mlp", f"batches.scale_lr={scale}")


def test_a_lightning_module_with_labels_logs_its_own_objective():
    assert prepare({"tree": compose_tree([], L.LightningModule, labelled), "store": "."})[1]["objective"] is None


def test_a_network_is_not_fed_around_the_hooks_of_a_data_module():
    with pytest.raises(BadInput, match="its on_after_batch_transfer is for a LightningModule; a network needs batches that are ready"):
        facts_of(f"data={HERE}:Changing", "model=mlp")


def test_data_that_is_drawn_is_drawn_alike_in_every_session():
    tree = {"tree": compose([f"data={HERE}:drawn", "model=mlp"]), "store": "."}
    worlds = [prepare(tree)[0] for _ in range(2)]
    assert torch.equal(worlds[0].task.parts["test"][0], worlds[1].task.parts["test"][0])


def drawn() -> Examples:
    return Examples(torch.rand(40, 3), torch.arange(40) % 2, "classification", ("a", "b"))


class Pinned(L.LightningDataModule):
    """It looks for a GPU in every hook."""

    def __init__(self):
        super().__init__()
        self.batch_size, self.seen = 8, [torch.cuda.is_available()]

    def setup(self, stage):
        self.seen.append(torch.cuda.is_available())

    def train_dataloader(self):
        self.seen.append(torch.cuda.is_available())
        return DataLoader(TensorDataset(torch.rand(40, 3), torch.arange(40) % 2), self.batch_size, shuffle=True, pin_memory=True)

    val_dataloader = test_dataloader = train_dataloader


@pytest.mark.parametrize("visible", ["0", None])
def test_no_gpu_is_used_where_trials_are_forked_from(visible, monkeypatch):
    """As soon as a process uses CUDA, those that are forked from it cannot."""
    if visible is None:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    else:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    for module in (torch.cuda, torch.accelerator):
        monkeypatch.setattr(module, "is_available", lambda: os.environ.get("CUDA_VISIBLE_DEVICES") != "")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: int(torch.cuda.is_available()))
    monkeypatch.setattr(torch.cuda, "_lazy_init", lambda: pytest.fail("CUDA is used"))
    monkeypatch.setattr(torch.utils.data._utils.pin_memory, "pin_memory", lambda *_: pytest.fail("memory is pinned"))
    world, _ = prepare({"tree": compose([f"data={HERE}:Pinned", "model=mlp"]), "store": "."})
    assert os.environ.get("CUDA_VISIBLE_DEVICES") == visible
    assert len(world.task.datamodule.seen) > 3 and not any(world.task.datamodule.seen)


def test_how_a_table_is_read_is_told(tmp_path):
    (tmp_path / "t.csv").write_bytes("id;größe;y\n".encode("latin-1") + b"".join(b"%d;%d,5;%d\n" % (n, n % 9, n % 2) for n in range(60)))
    facts = facts_of("data=csv", f"data.csv.path={tmp_path / 't.csv'}", "data.csv.target=y", "model=linear")
    assert facts["notes"] == ("columns left out: 'id' (every value is different, an identifier)",)
    assert list(data_lines(json.loads(json.dumps(facts)))) == [
        "\ncolumns (cp1252, ';' between fields)",
        "  id     number       left out: every value is different, an identifier",
        "  größe  number       as it is (decimal ',')",
    ]


def test_many_columns_that_are_read_alike_stand_in_one_line():
    def told(count):
        columns = [{"name": f"x{n}", "type": "number", "treatment": "as it is"} for n in range(count)]
        columns.insert(5, {"name": "sex", "type": "category", "treatment": "a column for each of 2 levels"})
        return [*data_lines({"encoding": {"columns": columns, "source": ""}, "folds": 1})][1:]

    assert len(told(30)) == 31
    assert told(200) == [
        "  x0 … x4    number       as it is (5 columns)",
        "  sex        category     a column for each of 2 levels",
        "  x5 … x199  number       as it is (195 columns)",
    ]


class Tasked(L.LightningModule):
    def __init__(self, task):
        super().__init__()


def test_a_task_in_the_signature_of_a_lightning_module_is_its_authors():
    technique = find("model", f"{__name__}:Tasked")
    with pytest.raises(BadInput, match=r"model.Tasked.task is missing: say model.Tasked.task=…"):
        check_arguments(technique, {})
    check_arguments(technique, {"task": Pin("binary")})


def test_chance_is_the_score_of_a_constant_prediction():
    """Three of four examples are of class 0; the values have the mean 5 and the deviation 2."""
    classes = torch.tensor([0, 0, 0, 1]).repeat(50)
    parts = {part: (torch.rand(200, 2), classes) for part in ("train", "validation", "test")}
    found = chance_level(Task("classification", (2,), 2, parts=parts, class_counts=classes.bincount()))
    assert (found["val_accuracy"], found["val_balanced_accuracy"]) == (0.75, 0.5)
    assert found["val_loss"] == pytest.approx(-0.75 * math.log(0.75) - 0.25 * math.log(0.25), rel=1e-5)
    values = torch.tensor([3.0, 7.0]).repeat(100)[:, None]
    scale = Scale.of(values)
    parts = {part: (torch.rand(200, 2), scale.apply(values).float()) for part in ("train", "validation", "test")}
    found = chance_level(Task("regression", (2,), 1, parts=parts, targets=scale))
    assert found == pytest.approx({"val_rmse": 2.0, "val_mae": 2.0, "val_r2": 0.0, "val_loss": 1.0}, abs=0.02)
    assert chance_level(Task("unknown")) == {}
