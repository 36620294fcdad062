"""A training that is cut between any two batches, and goes on from its checkpoint, ends as if it had not been cut."""

import errno
import json
import resource
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import lightning.pytorch as L
import numpy as np
import pytest
import torch
from lightning.pytorch.callbacks import BaseFinetuning, Callback, ModelCheckpoint
from safetensors.torch import load_file
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, TensorDataset
from torchmetrics.classification import MulticlassAccuracy

from autoopt.config import compose
from autoopt.errors import Preempted, StoreFault
from autoopt.orders import Outcome, Train
from autoopt.plugins.regularizer.swa import swa
from autoopt.recipe import Recipe
from autoopt.space import Space
from autoopt.store import SUMS, Reached, Store
from autoopt.study.baseline import untouched
from autoopt.technique import available
from autoopt.trial.checkpoints import Checkpoints
from autoopt.trial.encoding import NotPlain, read_plain, to_plain, write_plain
from autoopt.trial.keeper import Keeper
from autoopt.trial.run import prepare, run
from autoopt.trial.state import of_callback, plain_attributes, put_attributes, put_callback, put_files
from autoopt.trial.world import World

HERE = __name__
COSTS = ("seconds", "samples_per_second", "peak_memory_mb", "peak_gpu_memory_mb")
DIGITS = ("data=digits", "data.digits.train=150", "device=auto", "study.epochs=4", "batches.size=16", "model.mlp.width=16")


class Data(L.LightningDataModule):
    """Batches in random order, with noise that the loader's own process draws, and masks that a generator of the sampler draws."""

    def __init__(self):
        super().__init__()
        self.batch_size = 16

    def rows(self, seed: int) -> TensorDataset:
        generator = torch.Generator().manual_seed(seed)
        targets = torch.arange(70) % 3
        return TensorDataset(torch.randn(70, 4, generator=generator) + targets[:, None], targets)

    def train_dataloader(self):
        return DataLoader(self.rows(0), self.batch_size, shuffle=True, collate_fn=noisy)

    def val_dataloader(self):
        return DataLoader(self.rows(1), 64)


class OwnGenerator(Data):
    def train_dataloader(self):
        return DataLoader(self.rows(0), self.batch_size, shuffle=True, generator=torch.Generator().manual_seed(5))


def noisy(rows: list) -> tuple[torch.Tensor, torch.Tensor]:
    inputs, targets = (torch.stack(part) for part in zip(*rows, strict=True))
    return inputs + 0.1 * torch.randn_like(inputs) + 0.1 * np.random.rand(), targets


class Lit(L.LightningModule):
    """Counts, collects, logs and draws on its own."""

    def __init__(self, plateau: bool = False):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.2), nn.Linear(8, 3))
        self.accuracy = MulticlassAccuracy(3)
        self.plateau, self.steps, self.seen = plateau, 0, []
        self.draws, self.generator = np.random.default_rng(3), torch.Generator().manual_seed(4)

    def forward(self, x):
        return self.net(x)

    def training_step(self, batch, _):
        outputs = self(batch[0])
        loss = cross_entropy(outputs, batch[1]) * (1 + 0.1 * self.draws.random() + 0.01 * self.steps)
        loss = loss + 0.01 * torch.rand((), generator=self.generator) * self.net[0].weight.norm()
        self.steps += 1
        self.seen.append(loss.detach())
        self.accuracy(outputs, batch[1])
        self.log("train_loss", loss, on_epoch=True)
        self.log("train_accuracy", self.accuracy, on_epoch=True, on_step=False)
        return loss

    def on_train_epoch_end(self):
        self.log("seen", torch.stack(self.seen).mean())
        self.seen = []

    def validation_step(self, batch, _):
        self.log("val_loss", cross_entropy(self(batch[0]), batch[1]))

    def configure_optimizers(self):
        optimizer = torch.optim.AdamW(self.parameters(), lr=0.02)
        if self.plateau:
            schedule = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=0, factor=0.5)
            return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "monitor": "train_loss"}}
        return [optimizer], [{"scheduler": torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.05, 1000), "interval": "step"}]


class ByHand(Lit):
    """Sums gradients up over two batches, and steps two optimizers by hand."""

    def __init__(self):
        super().__init__()
        self.automatic_optimization = False

    def training_step(self, batch, number):
        self.manual_backward(super().training_step(batch, number))
        if number % 2:
            for optimizer in self.optimizers():
                optimizer.step()
                optimizer.zero_grad()

    def configure_optimizers(self):
        return [torch.optim.SGD(self.net[0].parameters(), lr=0.1, momentum=0.9), torch.optim.Adam(self.net[4].parameters(), lr=0.05)], []


class Jitter(Callback):
    """Changes what it counts into the weights, and so shows a count that was lost."""

    def __init__(self):
        self.batches, self.shadow = 0, {}

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.batches += 1
        self.shadow["last"] = pl_module.net[0].bias.detach().clone()
        with torch.no_grad():
            pl_module.net[0].bias.add_(0.001 * self.batches)


def counting() -> list[Callback]:
    return [Jitter(), ModelCheckpoint(monitor="val_loss")]


class Unfreeze(BaseFinetuning):
    """Trains the first layers from the second epoch on, in a group that it adds to the optimizer."""

    def freeze_before_training(self, pl_module):
        self.freeze(pl_module.net[:2])

    def finetune_function(self, pl_module, epoch, optimizer):
        if epoch == 1:
            self.unfreeze_and_add_param_group(pl_module.net[:2], optimizer, lr=0.01)


AUTHORS = ("study.epochs=4", "device=auto", "optimizer=keep", "schedule=keep", "activation=keep", "initializer=keep", "regularizer=none")
RECIPES = {
    "a network": (*DIGITS, "augmentation=[translate,mixup]", "regularizer=[dropout,gradient_noise,gradient_clip]", "schedule=one_cycle"),
    "accumulated": (*DIGITS, "batches.accumulate=3", "schedule=cosine"),
    "by batch, accumulated": (*DIGITS, "batches.accumulate=3", "regularizer=[ema]"),
    "ema": (*DIGITS, "regularizer=[ema,dropout]", "augmentation=[translate]"),
    "swa": (*DIGITS, "regularizer=[swa,dropout]", "regularizer.swa.start=0.5"),
    "early stopping": (*DIGITS, "regularizer=[early_stopping]", "regularizer.early_stopping.patience=0.3", "optimizer.adamw.lr=0.3"),
    "best epoch": (*DIGITS, "study.value=best", "optimizer.adamw.lr=0.1"),
    "plateau": (*DIGITS, "schedule=plateau", "optimizer.adamw.lr=0.1"),
    "batch norms": (*DIGITS[:-1], "model=cnn", "model.cnn.width=4", "optimizer=schedule_free_adamw", "regularizer=none"),
    "half precision": (*DIGITS, "device=cpu", "device.cpu.precision=bf16-mixed"),
    **({"a scaler": (*DIGITS, "device=cuda", "device.cuda.precision=16-mixed")} if torch.cuda.is_available() else {}),
    "balanced": (*DIGITS, "batches.sampler=balanced"),
    "a data module": (f"data={HERE}:Data", "model=mlp", "study.epochs=4", "device=auto", "regularizer=[dropout]"),
    "an author's": (f"data={HERE}:Data", f"model={HERE}:Lit", *AUTHORS),
    "an author's, replaced": (f"data={HERE}:Data", f"model={HERE}:Lit", "study.epochs=4", "device=auto", "regularizer=[swa]"),
    "an author's plateau": (f"data={HERE}:OwnGenerator", f"model={HERE}:Lit", "model.Lit.plateau=true", *AUTHORS),
    "an author's loop": (f"data={HERE}:Data", f"model={HERE}:ByHand", *AUTHORS),
    "an author's Trainer": (
        f"data={HERE}:Data", f"model={HERE}:Lit", *AUTHORS, f"trainer.callbacks={HERE}:counting",
        "trainer.accumulate_grad_batches=2", "trainer.val_check_interval=2", "trainer.gradient_clip_val=0.5",
    ),
    "an author's, unfrozen later": (
        f"data={HERE}:Data", f"model={HERE}:Lit", "study.epochs=4", "device=auto", "optimizer=asgd", "schedule=cosine",
        "regularizer=none", f"trainer.callbacks={HERE}:Unfreeze",
    ),
    "an author's, on our data": ("data=wine", f"model={HERE}:OnWine", "batches.size=16", *AUTHORS),
}  # fmt: skip


class OnWine(Lit):
    def __init__(self):
        super().__init__()
        self.net[0] = nn.Linear(13, 8)


def prepared(folder: Path, *overrides: str) -> tuple[World, Recipe]:
    tree = compose(overrides)
    world, facts = prepare({"tree": tree, "store": str(folder)})
    baseline = untouched(tree, facts["absent"]) if facts["lightning"] and "optimizer=keep" in overrides else None
    return world, baseline or Space.of(tree).fitting(facts["absent"]).baseline()


def trained(world: World, recipe: Recipe, folder: Path, seed: int = 1, continues: str = "", **said) -> tuple[Outcome, dict]:
    """The outcome in a folder, and what was reported."""
    order = Train(key="7", recipe=recipe, seed=seed, objective="val_loss", direction="minimize", keep=True, continues=continues)
    told: dict[int, dict] = {}
    data = run(replace(world, store=Store(folder), **said), json.loads(json.dumps(order.json())), lambda e, m: told.update({e: m}) or False)
    return Outcome.read(json.loads(json.dumps(data))), told


def result(outcome: Outcome, told: dict, folder: Path) -> dict:
    """All that has to be equal."""
    weights = load_file(Store(folder).weights("7"))
    metrics = {name: value for name, value in outcome.metrics.items() if name not in COSTS}
    return {"metrics": metrics, "epochs": outcome.epochs, "told": told, "weights": {k: v.numpy().tobytes() for k, v in weights.items()}}


@pytest.fixture
def cuts(monkeypatch) -> Iterator[list[int]]:
    """Cut a training when it was asked so often whether a checkpoint is due, which is before each batch; the numbers are used up."""
    places: list[int] = []

    def asked(keeper: Keeper) -> bool:
        if places:
            places[0] -= 1
        if places and not places[0]:
            places.pop(0)
            keeper.notice = signal.SIGTERM
        return keeper.notice is not None

    monkeypatch.setattr(Keeper, "asked", property(asked))
    yield places


def cut_and_resumed(world: World, recipe: Recipe, folder: Path, cuts: list[int], at: list[int]) -> dict:
    """The result of a training that is cut again and again, each time after so many further batches."""
    cuts[:] = at
    for _ in at:
        left = len(cuts)
        with pytest.raises(Preempted, match="told to end by SIGTERM; a checkpoint is kept after"):
            trained(world, recipe, folder)
        assert len(cuts) == left - 1
    return result(*trained(world, recipe, folder), folder)


@pytest.mark.slow
@pytest.mark.parametrize("name", RECIPES)
def test_a_training_that_goes_on_is_bit_equal_to_one_that_was_not_cut(name, tmp_path, cuts):
    world, recipe = prepared(tmp_path / "world", *RECIPES[name])
    uncut = result(*trained(world, recipe, tmp_path / "uncut"), tmp_path / "uncut")
    assert cut_and_resumed(world, recipe, tmp_path / "cut", cuts, [3, 1, 4, 2, 5]) == uncut


@pytest.mark.parametrize("slot, name", [(slot, name) for slot in ("optimizer", "schedule") for name in available(slot) if name != "keep"])
def test_every_optimizer_and_schedule_goes_on(slot, name, tmp_path, cuts):
    world, recipe = prepared(tmp_path / "world", *DIGITS, f"{slot}={name}", "regularizer=[dropout]")
    uncut = result(*trained(world, recipe, tmp_path / "uncut"), tmp_path / "uncut")
    assert cut_and_resumed(world, recipe, tmp_path / "cut", cuts, [4, 9]) == uncut


@pytest.mark.slow
@pytest.mark.parametrize("name", ["a network", "ema", "swa", "best epoch", "an author's", "an author's plateau", "an author's Trainer"])
def test_a_trial_that_was_stopped_at_two_rungs_goes_on_under_other_numbers(name, tmp_path):
    world, recipe = prepared(tmp_path / "world", *RECIPES[name])
    uncut = result(*trained(world, recipe, tmp_path / "uncut"), tmp_path / "uncut")
    store = Store(tmp_path / "cut")
    order = Train(key="3", recipe=recipe, seed=1, objective="val_loss", direction="minimize")
    keeping = replace(world, store=store, keeps_rungs=True)
    run(keeping, replace(order, key="2").json(), lambda epoch, metrics: epoch == 1)
    stopped = run(keeping, replace(order, continues="2").json(), lambda epoch, metrics: epoch == 2)
    assert stopped["stopped"] and stopped["epochs"] == 2
    assert store.checkpoints("3") == [Reached(1, 2, 0)]
    assert result(*trained(world, recipe, store.root, continues="3"), store.root) == uncut
    run(replace(world, store=Store(tmp_path / "unkept")), order.json(), lambda epoch, metrics: epoch == 2)
    assert Store(tmp_path / "unkept").checkpoints("3") == [], "without executor.keep=rung"


@pytest.mark.slow
def test_the_folds_that_are_done_are_not_trained_again(tmp_path, cuts):
    world, recipe = prepared(tmp_path / "world", *DIGITS, "split.folds=3", "regularizer=[ema]")
    uncut = result(*trained(world, recipe, tmp_path / "uncut"), tmp_path / "uncut")
    assert cut_and_resumed(world, recipe, tmp_path / "cut", cuts, [20, 100]) == uncut
    assert Store(tmp_path / "cut").checkpoints("7")[0].fold == 2


@pytest.fixture
def network(tmp_path) -> tuple[World, Recipe]:
    return prepared(tmp_path / "world", *DIGITS, "regularizer=[ema]")


def every_batch(keeper: Keeper) -> bool:
    return True


class Died(Exception):
    pass


def broken_at(epoch: int):
    """A report that ends the trial after an epoch."""

    def report(number: int, metrics: dict) -> bool:
        if number == epoch:
            raise Died
        return False

    return report


@pytest.mark.slow
def test_the_last_two_are_kept_and_a_trial_that_is_done_before_the_first_writes_none(network, tmp_path, monkeypatch):
    world, recipe = network
    store = Store(tmp_path / "cut")
    trained(world, recipe, store.root)
    assert store.checkpoints("7") == []
    monkeypatch.setattr(Keeper, "asked", property(every_batch))
    trained(world, recipe, store.root)
    assert store.checkpoints("7") == [Reached(1, 3, 9), Reached(1, 3, 8)]
    store.forget_checkpoints("7")
    trained(world, recipe, store.root, checkpoint=None)
    assert not (store.weights("7").parent / "resume").exists()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["a network", "ema"])
def test_a_network_keeps_no_batch_in_a_checkpoint(name, tmp_path, monkeypatch):
    """Neither between two steps of a whole epoch nor between two batches."""
    monkeypatch.setattr(Keeper, "asked", property(every_batch))
    world, recipe = prepared(tmp_path / "world", *RECIPES[name])
    store = Store(tmp_path / "kept")
    trained(world, recipe, store.root)
    for reached in store.checkpoints("7"):
        folder = store.weights("7").parent
        net, *_ = read_plain(folder / "resume" / str(reached), folder)["state"]["objects"]
        assert net["plain"]["inputs"] == [] and len(net["plain"]["losses"])


DAMAGES = {
    "cut": lambda folder: (folder / "tensors.safetensors").write_bytes((folder / "tensors.safetensors").read_bytes()[:-5]),
    "changed": lambda folder: (folder / "state.json").write_text((folder / "state.json").read_text().replace("1", "2", 1)),
    "gone": lambda folder: (folder / "tensors.safetensors").unlink(),
    "without digests": lambda folder: (folder / SUMS).unlink(),
    "unreadable": lambda folder: ((folder / "state.json").unlink(), (folder / "state.json").mkdir()),
    "empty": lambda folder: [path.unlink() for path in folder.iterdir()],
}


@pytest.mark.slow
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_checkpoint_is_passed_over_for_the_one_before(damage, network, tmp_path, monkeypatch, capfd):
    world, recipe = network
    uncut = result(*trained(world, recipe, tmp_path / "uncut"), tmp_path / "uncut")
    monkeypatch.setattr(Keeper, "asked", property(every_batch))
    store = Store(tmp_path / "cut")
    order = Train(key="7", recipe=recipe, seed=1, objective="val_loss", direction="minimize", keep=True)
    with pytest.raises(Died):
        run(replace(world, store=store), order.json(), broken_at(3))
    last, before = store.checkpoints("7")
    DAMAGES[damage](store.weights("7").parent / "resume" / str(last))
    capfd.readouterr()
    assert result(*trained(world, recipe, store.root), store.root) == uncut
    said = capfd.readouterr().out
    assert "a checkpoint is passed over: StoreFault: the checkpoint" in said
    assert f"goes on from its checkpoint after {before.epoch} epochs and {before.batch} batches" in said


@pytest.mark.slow
def test_without_an_intact_checkpoint_it_begins_again(network, tmp_path, monkeypatch, capfd):
    world, recipe = network
    uncut = result(*trained(world, recipe, tmp_path / "uncut"), tmp_path / "uncut")
    store = Store(tmp_path / "cut")
    monkeypatch.setattr(Keeper, "asked", property(every_batch))
    trained(world, recipe, store.root)
    for at in store.checkpoints("7"):
        DAMAGES["cut"](store.weights("7").parent / "resume" / str(at))
    assert result(*trained(world, recipe, store.root), store.root) == uncut
    assert capfd.readouterr().out.count("a checkpoint is passed over") == 2


@pytest.mark.slow
def test_a_checkpoint_of_another_seed_is_not_taken_up(network, tmp_path, monkeypatch, capfd):
    world, recipe = network
    monkeypatch.setattr(Keeper, "asked", property(every_batch))
    trained(world, recipe, tmp_path, seed=1)
    trained(world, recipe, tmp_path, seed=2)
    assert "StoreFault: the checkpoint 1-000003-000000009 is of another recipe or seed" in capfd.readouterr().out


@pytest.mark.slow
def test_a_full_disk_does_not_end_the_training(network, tmp_path, monkeypatch, capfd):
    world, recipe = network
    uncut = result(*trained(world, recipe, tmp_path / "uncut"), tmp_path / "uncut")
    monkeypatch.setattr(Keeper, "asked", property(every_batch))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(
        resource.RLIMIT_FSIZE, (2 * Store(tmp_path / "uncut").weights("7").stat().st_size, hard)
    )  # room for the weights alone
    try:
        assert result(*trained(world, recipe, tmp_path / "full"), tmp_path / "full") == uncut
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    said = capfd.readouterr().out
    assert "a checkpoint cannot be kept: " in said and "File too large" in said
    assert Store(tmp_path / "full").checkpoints("7") == []


class Holder(Callback):
    """Stores what is no plain data."""

    def state_dict(self):
        return {"own": Path("x")}


def test_what_would_take_pickle_is_not_stored_and_the_training_goes_on(tmp_path, monkeypatch, capfd):
    world, recipe = prepared(tmp_path, f"data={HERE}:Data", f"model={HERE}:Lit", *AUTHORS, f"trainer.callbacks={HERE}:Holder")
    monkeypatch.setattr(Keeper, "asked", property(lambda keeper: keeper.due < float("inf")))
    trained(world, recipe, tmp_path)
    said = capfd.readouterr().out
    assert "a checkpoint cannot be kept: NotPlain: state.state.callbacks[0].state.own is a PosixPath" in said
    assert said.count("cannot be kept") == 1, "it would be so at every batch"
    assert Store(tmp_path).checkpoints("7") == []


@pytest.mark.slow
def test_a_checkpoint_that_does_not_fit_is_deleted_and_the_machine_is_to_blame(network, tmp_path, monkeypatch):
    world, recipe = network
    monkeypatch.setattr(Keeper, "asked", property(every_batch))
    trained(world, recipe, tmp_path)
    read = Checkpoints.read

    def other(checkpoints: Checkpoints, key: str) -> None:
        read(checkpoints, key)
        checkpoints.state["weights"].popitem()

    monkeypatch.setattr(Checkpoints, "read", other)
    with pytest.raises(StoreFault, match="the checkpoint 1-000003-000000009 does not fit, and is deleted: ValueError: other weights"):
        trained(world, recipe, tmp_path)
    assert Store(tmp_path).checkpoints("7") == [Reached(1, 3, 8)]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (OSError(errno.ESTALE, "Stale file handle"), "the checkpoint 1-000003-000000009 cannot be taken up: OSError: .*Stale file handle"),
        (RuntimeError("write: No space left on device"), "cannot be taken up: RuntimeError"),
        (torch.OutOfMemoryError("CUDA out of memory"), "CUDA out of memory"),
    ],
)
def test_a_checkpoint_is_kept_where_the_machine_fails_while_it_is_taken_up(fault, said, network, tmp_path, monkeypatch):
    world, recipe = network
    monkeypatch.setattr(Keeper, "asked", property(every_batch))
    trained(world, recipe, tmp_path)

    def full(*_) -> None:
        raise fault

    monkeypatch.setattr("autoopt.trial.keeper.put_back", full)
    with pytest.raises(type(fault) if isinstance(fault, torch.OutOfMemoryError) else StoreFault, match=said):
        trained(world, recipe, tmp_path)
    assert Store(tmp_path).checkpoints("7") == [Reached(1, 3, 9), Reached(1, 3, 8)]


@pytest.mark.slow
def test_a_checkpoint_that_torch_cannot_read_is_passed_over(network, tmp_path, monkeypatch, capfd):
    world, recipe = network
    monkeypatch.setattr(Keeper, "asked", property(every_batch))
    trained(world, recipe, tmp_path)

    def unreadable(*_) -> None:
        raise RuntimeError("no such device")

    monkeypatch.setattr("autoopt.trial.checkpoints.read_plain", unreadable)
    trained(world, recipe, tmp_path)
    assert "a checkpoint is passed over: RuntimeError: no such device" in capfd.readouterr().out


def test_what_was_on_an_accelerator_is_stored_for_any_machine_and_goes_to_the_device_of_the_training():
    owner, device = nn.Module(), torch.device("meta")
    owner.seen, owner.kept, owner.count = [torch.ones(2, device=device)], torch.ones(2), 3
    stored = plain_attributes(owner)
    assert stored["on_device"] == ["seen"]
    stored["plain"]["seen"] = [torch.ones(2)]  # as it is read, on the CPU
    put_attributes([stored], [owner], device)
    assert (owner.seen[0].device, owner.kept.device, owner.count) == (device, torch.device("cpu"), 3)
    assert to_plain(torch.ones(2, device=device), {}, "it") == {"tensor": ["0"]}, "it names no device"


def test_what_a_callback_gathered_on_an_accelerator_goes_there_again():
    model, device = nn.BatchNorm1d(2), torch.device("meta")
    average, again = swa(model), swa(model)
    average.passed.add([torch.ones(3, 2, device=device)])
    stored = of_callback(average, model)
    stored["state"]["inputs"] = [torch.ones(3, 2)]  # as it is read, on the CPU
    put_callback(again, stored, device)
    assert again.passed.inputs[0].is_meta


def test_a_file_beside_the_trials_folder_is_not_written(tmp_path):
    with pytest.raises(ValueError, match=r"the file \.\./x lies outside of"):
        put_files({"../x": {}}, tmp_path / "checkpoints")
    assert not (tmp_path / "x").exists()


VALUES = [None, True, 3, 2**80, -0.0, 1e-310, "é@", [1, (2, {3})], {1: {"a": (None,)}, (1, 2): []}]


@pytest.mark.parametrize("value", VALUES, ids=str)
def test_plain_data_are_read_as_they_were_written(value, tmp_path):
    write_plain(tmp_path, value, tmp_path)
    assert repr(read_plain(tmp_path, tmp_path)) == repr(value)


def test_tensors_and_arrays_are_read_as_they_were_written(tmp_path):
    whole = torch.randn(4, 6)
    values = [whole, whole[1:], whole.T, whole[0, 0], whole.bfloat16(), whole > 0, torch.empty(0), np.arange(5, dtype=np.uint32)]
    write_plain(tmp_path, [*values, float("nan"), float("-inf")], tmp_path)
    *read, nan, infinite = read_plain(tmp_path, tmp_path)
    for value, again in zip(values, read, strict=True):
        assert again.dtype == value.dtype and again.shape == value.shape and (again == value).all()
        assert isinstance(value, np.ndarray) or again.stride() == value.stride()
    assert nan != nan and infinite == -float("inf")


@pytest.mark.parametrize("value", [Path("x"), len, torch.eye(2).to_sparse(), np.array([None])], ids=lambda value: type(value).__name__)
def test_other_objects_are_refused(value, tmp_path):
    with pytest.raises(NotPlain, match=r"state\.a\[0\] is a"):
        write_plain(tmp_path, {"a": [value]}, tmp_path)


def test_a_folder_is_found_where_it_is_now(tmp_path):
    write_plain(tmp_path, f"{tmp_path}/checkpoints/x.ckpt", tmp_path)
    assert read_plain(tmp_path, Path("/elsewhere")) == "/elsewhere/checkpoints/x.ckpt"


def test_a_value_of_an_unknown_kind_is_told(tmp_path):
    write_plain(tmp_path, 1, tmp_path)
    (tmp_path / "state.json").write_text('{"call": ["os.system"]}')
    with pytest.raises(ValueError, match="a state has a value of the unknown kind 'call'"):
        read_plain(tmp_path, tmp_path)
