"""Compression within a trial: what techniques are given, what is kept of their result, and modules of the user's own."""

import copy
import json

import lightning.pytorch as L
import pytest
import torch
from lightning.pytorch.callbacks import EarlyStopping
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader

from autoopt.config import compose
from autoopt.deployment.compress import deploy, deployed_network, structure_of
from autoopt.errors import TechniqueError
from autoopt.module.build import apply_to
from autoopt.module.chosen import Chosen
from autoopt.orders import Compress, Measure, Order, Outcome, Train, TryOut
from autoopt.recipe import Recipe
from autoopt.space import Space
from autoopt.store import Store
from autoopt.trial.fitting import fit
from autoopt.trial.run import prepare, run

HERE = __name__
SEEN: dict = {}
RECIPE = (
    *(
        "data=digits",
        "data.digits.train=200",
        "batches.size=64",
        "study.epochs=3",
        "optimizer=adamw",
        "optimizer.adamw.lr=0.01",
        "device=auto",
    ),
    *("schedule=constant", "regularizer=none", "augmentation=none", "initializer=keep"),
)


class Lit(L.LightningModule):
    """Convolutions, batch norm, steps and logging of its own."""

    def __init__(self, channels: int = 8):
        super().__init__()
        self.save_hyperparameters()
        self.net = nn.Sequential(nn.Conv2d(1, channels, 3), nn.BatchNorm2d(channels), nn.ReLU(), nn.Flatten(), nn.LazyLinear(10))
        self.net(torch.rand(2, 1, 8, 8))

    def forward(self, x):
        return self.net(x)

    def training_step(self, batch, _):
        loss = cross_entropy(self(batch[0]), batch[1])
        self.log("train/loss", loss)
        return loss

    def validation_step(self, batch, _):
        self.log("val_accuracy", (self(batch[0]).argmax(1) == batch[1]).float().mean())

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=0.01)


class Around(Lit):
    """Validated past its forward."""

    def validation_step(self, batch, _):
        self.log("val_accuracy", (self.net(batch[0]).argmax(1) == batch[1]).float().mean())


class Rounded(nn.Module):
    """Whatever is inside, in few digits."""

    def __init__(self, model: nn.Module, digits: int):
        super().__init__()
        self.model, self.digits = model, digits

    def forward(self, x):
        return self.model(x).round(decimals=self.digits)


def rounded(model: nn.Module, *, digits: int = 1) -> nn.Module:
    SEEN["given"] = model
    return Rounded(copy.deepcopy(model), digits)


def tuned(model: nn.Module, batches: list, finetune: object, *, epochs: int = 8) -> nn.Module:
    SEEN["batches"] = [len(x) for x, _ in batches]
    student = copy.deepcopy(model)
    weight = next(student.parameters())
    before = weight.detach().clone()
    next(iter(student.modules())).register_forward_pre_hook(lambda module, _: SEEN["modes"].append(module.training))
    SEEN["modes"] = []
    returned = finetune(student, epochs)
    SEEN["moved"], SEEN["returned"], SEEN["training"] = (weight - before).abs().max().item(), returned is student, student.training
    return returned


def gradual(model: nn.Module, finetune: object) -> nn.Module:
    SEEN["epochs"] = []
    return finetune(copy.deepcopy(model), 4, before_epoch=SEEN["epochs"].append)


def fading(model: nn.Module, finetune: object) -> nn.Module:
    """In steps; after the first one the network sees nothing of its inputs."""
    student = copy.deepcopy(model)
    student.register_buffer("step", torch.zeros(()))
    first = next(module for module in student.modules() if isinstance(module, nn.Conv2d))
    hook = first.register_forward_pre_hook(lambda _, given: (given[0] * (student.step == 0),))
    SEEN["epochs"] = []

    def fade(epoch: int) -> None:
        SEEN["epochs"].append(epoch)
        student.step.fill_(epoch)

    finetune(student, 4, before_epoch=fade)
    SEEN["last"] = student.step.item()
    hook.remove()
    del student.step
    return student


def taught(model: nn.Module, finetune: object, build: object, *, argument: str = "width") -> nn.Module:
    def loss(inputs: Tensor, outputs: Tensor, task_loss: Tensor) -> Tensor:
        SEEN.setdefault("losses", []).append((inputs.shape, outputs.shape, task_loss.item()))
        return (outputs - model(inputs).detach()).square().mean()

    student = build(**{argument: lambda width: width // 2})
    SEEN["scales"] = {p.lr_scale for p in student.parameters()}
    SEEN["sizes"] = [sum(p.numel() for p in m.parameters()) for m in (model, student)]
    return finetune(student, 2, loss)


class Frozen(Lit):
    """Its author holds the batch norm fixed."""

    def train(self, mode=True):
        super().train(mode)
        self.net[1].eval()
        return self


class Pair(Lit):
    """Its forward takes more than the inputs."""

    def forward(self, x, scale):
        return self.net(x) * scale

    def training_step(self, batch, _):
        return cross_entropy(self(batch[0], 1.0), batch[1])

    def validation_step(self, batch, _):
        self.log("val_accuracy", (self(batch[0], 1.0).argmax(1) == batch[1]).float().mean())


class Named(Lit):
    """Its batches are mappings."""

    def training_step(self, batch, index):
        return super().training_step((batch["image"], batch["label"]), index)

    def validation_step(self, batch, index):
        super().validation_step((batch["image"], batch["label"]), index)


class Mappings(L.LightningDataModule):
    def rows(self, seed):
        images = torch.rand(64, 1, 8, 8, generator=torch.Generator().manual_seed(seed))
        return DataLoader([{"image": image, "label": int(10 * image.mean())} for image in images], 16)  # type: ignore[arg-type]

    def train_dataloader(self):
        return self.rows(0)

    def val_dataloader(self):
        return self.rows(1)


def enlarged(model: nn.Module) -> nn.Module:
    """Three times the weights before each batch norm, which divides by their standard deviation."""
    larger = copy.deepcopy(model)
    for layer in larger.modules():
        if isinstance(layer, nn.Conv2d):
            layer.weight.data *= 3
            if layer.bias is not None:
                layer.bias.data *= 3
    SEEN["norms"] = [norm for norm in larger.modules() if isinstance(norm, nn.BatchNorm2d)]
    SEEN["trained"] = [norm.running_var.clone() for norm in SEEN["norms"]]
    return larger


class Hooked(nn.Module):
    def __init__(self, model):
        super().__init__()
        self.model, self.function = model, lambda x: x

    def forward(self, x):
        return self.function(self.model(x))


def unstorable(model: nn.Module) -> nn.Module:
    return Hooked(model)


@pytest.fixture(autouse=True)
def fresh():
    SEEN.clear()


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path)


@pytest.fixture(autouse=True)
def in_an_empty_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def trial(compression, model="cnn", kind: type[Order] = Train, root=".", recipe: Recipe | None = None, more=(), **order) -> Outcome:
    arguments = ("model.cnn.width=16", "model.cnn.depth=2", "model.cnn.convolution=full") if model == "cnn" else ()
    own = ("loss=cross_entropy",) if model == "cnn" else ("loss=keep",)
    compressions = f"[{','.join(compression)}]" if compression else "none"
    tree = compose([*RECIPE, f"model={model}", *arguments, *own, *more, f"compression={compressions}"])
    world, _ = prepare({"tree": tree, "store": str(root)})
    said = kind(**{"key": "0", "recipe": recipe or Space.of(tree).baseline(), "objective": "val_accuracy", **order})
    return Outcome(**run(world, said.json(), lambda *_: False))


@pytest.mark.slow
def test_a_network_in_16_bits_is_loaded_although_it_sums_in_another_order():
    """What is stored is laid out anew, and each layer rounds the sums of the one before it."""
    layout = ("device=cpu", "device.cpu.channels_last=true", "model.cnn.width=32", "model.cnn.depth=3")
    short = ("study.epochs=2", "optimizer.adamw.lr=0.001")
    assert trial(["half"], more=(*layout, *short), keep=True).metrics["val_accuracy"] > 0.1


@pytest.mark.slow
def test_both_what_was_trained_and_what_became_of_it_are_measured():
    metrics = trial([f"{HERE}:rounded"]).metrics
    plain = trial([]).metrics
    assert metrics["uncompressed_val_accuracy"] == plain["val_accuracy"] and metrics["uncompressed_val_loss"] == plain["val_loss"]
    assert metrics["val_loss"] != plain["val_loss"]
    assert metrics["uncompressed_size_mb"] == pytest.approx(metrics["size_mb"])
    assert "uncompressed_val_loss" not in plain


@pytest.mark.slow
def test_finetuning_trains_what_it_is_given_as_the_recipe_says():
    metrics = trial([f"{HERE}:tuned"], latency=True).metrics
    assert SEEN["batches"] == [64, 64, 64, 8]
    assert SEEN["modes"][:4] == [True] * 4, "it was measured before, in evaluation mode"
    assert SEEN["moved"] > 0.01 and SEEN["returned"] and not SEEN["training"]
    assert metrics["val_loss"] < metrics["uncompressed_val_loss"]


def patient_for_an_epoch():
    return EarlyStopping("val_accuracy", mode="max", patience=1)


BY_AUTOOPT = ("regularizer=[early_stopping]", "study.value=best")


@pytest.mark.parametrize(
    ("model", "ending"),
    [*(("cnn", e) for e in BY_AUTOOPT), *((f"{HERE}:Lit", e) for e in (*BY_AUTOOPT, f"trainer.callbacks={HERE}:patient_for_an_epoch"))],
)
def test_a_compression_in_steps_goes_to_its_last_epoch_although_the_first_is_best(model, ending):
    trial([f"{HERE}:fading"], model, more=(ending,), direction="maximize")
    assert SEEN["epochs"] == [0, 1, 2, 3] and SEEN["last"] == 3


LONGER = ("study.epochs=15",)


@pytest.mark.parametrize(("model", "metric"), [("cnn", "val_loss"), (f"{HERE}:Lit", "val_accuracy")])
def test_batch_norms_are_those_of_the_compressed_weights(model, metric):
    found = trial([f"{HERE}:enlarged"], model, more=LONGER).metrics
    sign = -1 if metric == "val_loss" else 1
    assert sign * found[metric] >= sign * found[f"uncompressed_{metric}"] - 0.05
    for norm, trained in zip(SEEN["norms"], SEEN["trained"], strict=True):
        assert norm.momentum == 0.1 and norm.running_var.mean() > 4 * trained.mean()


@pytest.mark.parametrize("name", ["half", f"{HERE}:enlarged"])
def test_batches_that_are_mappings_calibrate_as_pairs(name, monkeypatch):
    monkeypatch.setattr(f"{HERE}.RECIPE", tuple(line for line in RECIPE if not line.startswith(("data", "batches"))))
    for kind in (TryOut, Train):
        assert "uncompressed_val_accuracy" in trial([name], f"{HERE}:Named", kind, more=(f"data={HERE}:Mappings",)).metrics
    for norm, trained in zip(SEEN.get("norms", ()), SEEN.get("trained", ()), strict=True):
        assert not torch.equal(norm.running_var, trained), "the norms are renewed by these batches"


SHRUNK = {"low_rank": ("energy=0.8", "epochs=0"), "prune_magnitude": ("epochs=0",), "prune_structured": ("ratio=0.3", "epochs=0")}


@pytest.mark.slow
@pytest.mark.parametrize("name", [*SHRUNK, "weight_sharing"])
def test_each_compression_without_fine_tuning_gains_by_it(name, monkeypatch):
    values = (*LONGER, *(f"compression.{name}.{value}" for value in SHRUNK.get(name, ("clusters=4",))))
    renewed = trial([name], more=values).metrics["val_loss"]
    monkeypatch.setattr("autoopt.deployment.compress.renew_norms", lambda *_: None)
    assert renewed < trial([name], more=values).metrics["val_loss"]


@pytest.mark.slow
def test_batch_norms_stay_where_they_were_fine_tuned_or_their_author_fixed_them(monkeypatch, capsys):
    trial([f"{HERE}:enlarged"], f"{HERE}:Frozen")
    assert torch.equal(SEEN["norms"][0].running_var, SEEN["trained"][0])
    trial([f"{HERE}:enlarged"], f"{HERE}:Pair")
    assert torch.equal(SEEN["norms"][0].running_var, SEEN["trained"][0])
    assert "the batch norms of Pair keep their statistics: its forward raised TypeError" in capsys.readouterr().out
    monkeypatch.setattr("autoopt.deployment.compress.renew_norms", pytest.fail)
    trial([f"{HERE}:tuned"])


@pytest.mark.parametrize("model", ["cnn", f"{HERE}:Lit"])
def test_a_fine_tuning_in_steps_is_one_training(model, monkeypatch):
    trainers = []
    monkeypatch.setattr("autoopt.trial.fitting.fit", lambda *given, **how: trainers.append(given[0]) or fit(*given, **how))
    trial([f"{HERE}:gradual"], model)
    assert SEEN["epochs"] == [0, 1, 2, 3] and [t.max_epochs for t in trainers] == [4]


@pytest.mark.slow
def test_fine_tuning_leaves_what_was_frozen(store):
    first = trial([], root=store.root, keep=True)
    frozen = ("initializer=pretrained", f"initializer.pretrained.path={store.weights('0')}", "initializer.pretrained.freeze=true")
    trial(["low_rank"], root=store.root, key="1", keep=True, more=(*frozen, "compression.low_rank.energy=0.9"))
    before, after = load_file(store.weights("0")), load_file(store.weights("1"))
    first, second = (after[f"4.{part}.weight"].flatten(1) for part in (0, 1))
    found, trained = (second @ first).view_as(before["model.4.weight"]), before["model.4.weight"]
    left = torch.linalg.svdvals(trained.flatten(1))[len(first) :]
    torch.testing.assert_close((found - trained).norm(), left.norm(), rtol=1e-3, atol=1e-4)


def test_a_student_of_half_the_width_is_taught_by_a_loss_of_its_own():
    metrics = trial([f"{HERE}:taught"]).metrics
    assert SEEN["scales"] == {1.0}
    assert SEEN["sizes"][1] < SEEN["sizes"][0] / 2
    shapes = {(tuple(i), tuple(o)) for i, o, _ in SEEN["losses"]}
    assert ((64, 1, 8, 8), (64, 10)) in shapes and len(SEEN["losses"]) == 8  # 4 steps, 2 epochs
    assert all(loss > 0 for _, _, loss in SEEN["losses"])
    assert metrics["parameters"] == SEEN["sizes"][1] < metrics["uncompressed_parameters"]


def test_a_model_without_that_argument_cannot_be_built_smaller():
    with pytest.raises(TechniqueError, match="cnn has no argument 'hidden'; its arguments: width, depth, convolution") as caught:
        trial([f"{HERE}:taught"], recipe=with_argument("hidden"))
    assert caught.value.unavailable


def with_argument(name):
    tree = compose([*RECIPE, "model=cnn", "loss=cross_entropy", f"compression=[{HERE}:taught]", f"compression.taught.argument={name}"])
    return Space.of(tree).baseline()


def test_what_cannot_be_stored_is_refused():
    with pytest.raises(
        TechniqueError, match="compression/unstorable: a Hooked cannot be stored: its attribute 'function' is not a plain value"
    ):
        trial([f"{HERE}:unstorable"])


@pytest.mark.slow
def test_what_was_kept_is_measured_again_and_not_compressed_again(store):
    first = trial([f"{HERE}:tuned", f"{HERE}:rounded"], root=store.root, keep=True).metrics
    assert json.dumps(structure_of(store.weights("0"))).count("Rounded") == 1
    SEEN.clear()
    again = trial([f"{HERE}:tuned", f"{HERE}:rounded"], kind=Measure, root=store.root, weights="0", part="validation").metrics
    assert SEEN == {}, "no compression ran"
    assert again["val_loss"] == first["val_loss"] and again["size_mb"] == first["size_mb"]


@pytest.mark.slow
def test_trained_weights_are_taken_up_compressed_and_stored_under_another_key(store):
    plain = trial([], root=store.root, keep=True).metrics
    trained = store.weights("0").read_bytes()
    assert structure_of(store.weights("0")) is None
    found = trial([f"{HERE}:tuned", f"{HERE}:rounded"], kind=Compress, root=store.root, key="compress-1", weights="0").metrics
    assert found["uncompressed_val_loss"] == plain["val_loss"] and SEEN["moved"] > 0.01
    assert json.dumps(structure_of(store.weights("compress-1"))).count("Rounded") == 1
    assert store.weights("0").read_bytes() == trained


class TestModuleOfTheUsers:
    @pytest.mark.slow
    def test_the_compressed_network_answers_for_its_forward(self, store):
        found = trial([f"{HERE}:tuned", f"{HERE}:rounded"], f"{HERE}:Lit", root=store.root, keep=True, latency=True).metrics
        assert isinstance(SEEN["given"], Lit) and SEEN["moved"] > 0.01
        assert {"val_accuracy", "uncompressed_val_accuracy", "latency_ms", "uncompressed_latency_ms"} <= found.keys()
        kept = {"kind": Measure, "root": store.root, "weights": "0", "part": "validation"}
        again = trial([f"{HERE}:tuned", f"{HERE}:rounded"], f"{HERE}:Lit", **kept).metrics
        assert again["val_accuracy"] == found["val_accuracy"]

    def test_the_compressed_network_is_on_the_device_of_the_module(self):
        tree = compose([*RECIPE, f"model={HERE}:Lit", "loss=keep", "compression=none"])
        module = apply_to(Lit(), Chosen(Space.of(tree).baseline()), None)
        deploy(module, nn.Linear(4, 3))
        assert module(torch.ones(2, 4)).shape == (2, 3)
        module.to("meta")
        assert module(torch.ones(2, 4, device="meta")).is_meta and next(deployed_network(module).parameters()).is_meta

    def test_what_its_validation_does_not_go_through_cannot_be_compressed(self):
        with pytest.raises(TechniqueError, match="has no validation_step that calls its forward") as caught:
            trial([f"{HERE}:rounded"], f"{HERE}:Around")
        assert caught.value.unavailable

    def test_it_has_no_other_loss(self):
        with pytest.raises(TechniqueError, match="computes its loss in its own training_step") as caught:
            tree = compose(
                [*RECIPE, f"model={HERE}:Lit", "loss=keep", f"compression=[{HERE}:taught]", "compression.taught.argument=channels"]
            )
            world, _ = prepare({"tree": tree, "store": "."})
            run(world, Train(key="0", recipe=Space.of(tree).baseline()).json(), lambda *_: False)
        assert caught.value.unavailable
        assert SEEN["sizes"][1] < SEEN["sizes"][0]

    def test_a_try_out_says_so_too(self):
        with pytest.raises(TechniqueError, match="has no validation_step that calls its forward") as caught:
            trial([f"{HERE}:rounded"], f"{HERE}:Around", kind=TryOut)
        assert (caught.value.slot, caught.value.name, caught.value.unavailable) == ("compression", "rounded", True)


def test_a_try_out_compresses_after_two_batches():
    found = trial([f"{HERE}:tuned", f"{HERE}:rounded"], kind=TryOut)
    assert found.metrics["val_loss"] != found.metrics["uncompressed_val_loss"] and "test_loss" in found.tested
    assert SEEN["batches"] == [64, 64] and SEEN["moved"] > 0
