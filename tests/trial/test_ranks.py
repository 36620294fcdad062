"""A trial on several devices: processes that train together by gloo, and end together."""

import gc
import os
import signal
import time
from pathlib import Path

import lightning.pytorch as L
import pytest
import torch
import torch.distributed as dist
from processes import alive
from safetensors.torch import load_file
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, TensorDataset

from autoopt.cli import main
from autoopt.config import compose
from autoopt.data.batches import Batches, PerBatch
from autoopt.data.feed import Feed
from autoopt.errors import BadInput, NonFinite, TechniqueError
from autoopt.orders import Measure, Outcome, Train, TryOut
from autoopt.plugins.device.parallel import together
from autoopt.process.endings import classify
from autoopt.recipe import Recipe
from autoopt.space import Space
from autoopt.trial.ranks import RankError, averaged, replica, same_buffers, spread
from autoopt.trial.run import prepare, run
from autoopt.trial.world import World

HERE = __name__
DDP = ("device.cpu.devices=2", "device.cpu.strategy=ddp")
PLAIN = (
    "data=digits", "data.digits.train=96", "device=cpu", "study.epochs=2", "batches.size=32", "loss=cross_entropy",
    "optimizer=nesterov", "optimizer.nesterov.lr=0.05", "schedule=constant", "initializer=keep", "augmentation=none", "regularizer=none",
)  # fmt: skip


def prepared(*overrides: str, root: Path | str = ".") -> tuple[World, Recipe]:
    tree = compose(overrides)
    world, facts = prepare({"tree": tree, "store": str(root)})
    return world, Space.of(tree).fitting(facts["absent"]).baseline()


def trained(tmp_path, *overrides: str, stop: bool = False) -> tuple[Outcome, dict[str, torch.Tensor], list]:
    """The outcome, the weights, and what was reported."""
    world, recipe = prepared(*overrides, root=tmp_path)
    reports: list = []
    order = Train(key="0", recipe=recipe, seed=1, objective="val_loss", keep=True)
    outcome = Outcome(**run(world, order.json(), lambda epoch, metrics: reports.append((epoch, metrics)) or stop))
    return outcome, {} if outcome.stopped else load_file(world.store.weights("0")), reports


def tried(*overrides: str) -> Outcome:
    world, recipe = prepared(*overrides)
    return Outcome(**run(world, TryOut(key="0", recipe=recipe, seed=1, objective="val_loss").json(), lambda *_: False))


def assert_close(some: dict[str, torch.Tensor], others: dict[str, torch.Tensor]) -> None:
    assert some.keys() == others.keys()
    for name, tensor in some.items():
        torch.testing.assert_close(tensor, others[name], rtol=1e-4, atol=1e-5)


# ---------------------------------------------------------------------------------------------- what recipes below name by import path


class Striped(L.LightningDataModule):
    def __init__(self, batch_size: int = 24):
        super().__init__()
        self.save_hyperparameters()

    def part(self) -> TensorDataset:
        generator = torch.Generator().manual_seed(0)
        targets = torch.arange(24) % 3
        return TensorDataset(torch.rand(24, 6, generator=generator) + nn.functional.one_hot(targets, 6), targets)

    def train_dataloader(self) -> DataLoader:
        return DataLoader(self.part(), self.hparams.batch_size, shuffle=True)

    def val_dataloader(self) -> DataLoader:
        return DataLoader(self.part(), self.hparams.batch_size)


class Lit(L.LightningModule):
    """Logs what differs from rank to rank."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(6, 3)

    def training_step(self, batch, _):
        self.log("seen", float(len(batch[0])))
        return cross_entropy(self.layer(batch[0]), batch[1])

    def validation_step(self, batch, _):
        self.log("val_loss", cross_entropy(self.layer(batch[0]), batch[1]))
        self.log("rank", float(self.global_rank))
        if self.global_rank == 1:
            self.log("of_rank_1", 7.0)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


class Drawn(Lit):
    """Logs a number that each rank draws, and one of its weights, each with its square, so that their variance over ranks shows."""

    def training_step(self, batch, index):
        drawn = torch.rand(())
        self.log_dict({"drawn": drawn, "drawn_squared": drawn**2})
        return super().training_step(batch, index)

    def validation_step(self, batch, index):
        super().validation_step(batch, index)
        weight = self.layer.weight[0, 0]
        self.log_dict({"weight": weight, "weight_squared": weight**2})


class Fragile(Lit):
    """Breaks on one rank alone, while the other waits for its gradients."""

    def training_step(self, batch, index):
        if self.global_rank == 1:
            raise RuntimeError("rank 1 has no more paper")
        return super().training_step(batch, index)


class Halves(nn.Module):
    """Trains on half a batch, and on nothing else."""

    def __init__(self, task):
        super().__init__()
        self.layer = nn.Linear(64, task.outputs)

    def forward(self, inputs):
        if self.training and len(inputs) != 16:
            raise ValueError(f"a batch of {len(inputs)}")
        return self.layer(inputs.flatten(1))


def cut_up(model, *, devices: int = 2, strategy: str = "fsdp") -> dict:
    """The strategies of GPUs, on CPU processes."""
    return {"accelerator": "cpu", "precision": "32-true", **together(model, devices, strategy, "none")}


# ---------------------------------------------------------------------------------------------- trials


@pytest.mark.slow
def test_two_processes_train_to_what_one_does(tmp_path):
    alone, expected, said = trained(tmp_path, *PLAIN)
    outcome, weights, reports = trained(tmp_path, *PLAIN, *DDP)
    assert_close(weights, expected)
    assert [epoch for epoch, _ in reports] == [1, 2]
    for (_, metrics), (_, others) in zip(reports, said, strict=True):
        assert metrics == pytest.approx(others, rel=1e-4)
    assert outcome.metrics["val_f1"] == pytest.approx(alone.metrics["val_f1"], rel=1e-4)
    assert outcome.epochs == 2 and not dist.is_initialized()


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["fsdp", "tensor"])
def test_a_model_that_is_cut_up_trains_to_what_a_whole_one_does(tmp_path, strategy):
    _, expected, _ = trained(tmp_path, *PLAIN)
    mine = f"device={HERE}:cut_up"
    outcome, weights, _ = trained(tmp_path, *PLAIN, mine, f"device.cut_up.strategy={strategy}")
    assert_close(weights, expected)
    assert outcome.metrics["parameters"] == sum(tensor.numel() for tensor in expected.values())


def test_a_stop_reaches_all(tmp_path):
    outcome, _, reports = trained(tmp_path, *PLAIN, *DDP, stop=True)
    assert (outcome.epochs, outcome.stopped, len(reports)) == (1, True, 1)


@pytest.mark.slow
def test_norm_layers_and_callbacks_of_every_batch(tmp_path):
    overrides = ("model=cnn", "model.cnn.width=4", "regularizer=[gradient_clip]", "augmentation=[translate]", "study.epochs=1")
    outcome, weights, reports = trained(tmp_path, *PLAIN, *overrides, *DDP)
    assert outcome.metrics["val_loss"] == pytest.approx(reports[-1][1]["val_loss"], rel=1e-5)
    assert all(torch.isfinite(tensor).all() for tensor in weights.values())


@pytest.mark.slow
def test_a_module_of_the_users_has_its_part_of_every_batch(tmp_path):
    mine = (f"data={HERE}:Striped", f"model={HERE}:Lit", "batches.size=24", "study.epochs=2", "device=cpu")
    _, expected, _ = trained(tmp_path, *mine)
    _, weights, reports = trained(tmp_path, *mine, *DDP)
    assert_close(weights, expected)  # one batch an epoch, so its order does not count
    metrics = reports[-1][1]
    assert (metrics["seen"], metrics["rank"], metrics["of_rank_1"]) == (12.0, 0.5, 7.0)


@pytest.mark.slow
def test_ranks_draw_for_themselves_but_for_noise_on_gradients_that_all_of_them_step_by(tmp_path):
    drawn = (f"data={HERE}:Striped", f"model={HERE}:Drawn", "batches.size=24", "study.epochs=2", "device=cpu")
    _, quiet, _ = trained(tmp_path, *drawn, *DDP)
    _, noisy, reports = trained(tmp_path, *drawn, *DDP, "regularizer=[gradient_noise]", "regularizer.gradient_noise.eta=0.5")
    metrics = reports[-1][1]
    assert metrics["drawn_squared"] - metrics["drawn"] ** 2 > 1e-4
    assert metrics["weight_squared"] == pytest.approx(metrics["weight"] ** 2, rel=1e-5)
    assert not torch.equal(quiet["layer.weight"], noisy["layer.weight"])


@pytest.fixture
def ended():
    """What a failure holds of its process group ends here: its threads are not in a fork, which dies if it has to end them."""
    yield
    gc.collect()


@pytest.mark.slow
@pytest.mark.usefixtures("ended")
def test_the_rank_that_fails_first_gives_the_reason(tmp_path):
    with pytest.raises(RankError, match=r"rank 1: .*rank 1 has no more paper") as caught:
        trained(tmp_path, f"data={HERE}:Striped", f"model={HERE}:Fragile", "batches.size=24", "device=cpu", *DDP)
    problem = classify(caught.value)
    assert (problem.reason, problem.slot, problem.name) == ("plugin", "model", "Fragile")


@pytest.mark.slow
@pytest.mark.usefixtures("ended")
def test_a_try_out_fails_with_what_a_technique_says_on_every_rank():
    with pytest.raises(RankError) as caught:
        tried(*PLAIN, *DDP, "device.cpu.hook=bf16")
    problem = classify(caught.value)
    assert (problem.slot, problem.unavailable) == ("device", True) and not problem.detail.startswith("rank")


@pytest.mark.slow
def test_each_process_takes_its_part_of_a_batch():
    with pytest.raises(TechniqueError, match="a batch of 32"):
        tried(*PLAIN, f"model={HERE}:Halves")
    found = tried(*PLAIN, f"model={HERE}:Halves", *DDP)
    assert found.metrics["val_loss"] > 0 and found.tested["test_loss"] > 0


@pytest.mark.slow
def test_trained_weights_are_measured_by_one_process(tmp_path, monkeypatch):
    outcome, _, _ = trained(tmp_path, *PLAIN, *DDP)
    monkeypatch.setattr("autoopt.trial.run.spread", None)
    world, recipe = prepared(*PLAIN, *DDP, root=tmp_path)
    order = Measure(key="0-again", recipe=recipe, objective="val_loss", weights="0", part="validation")
    again = Outcome(**run(world, order.json(), lambda *_: False))
    assert again.metrics["val_loss"] == pytest.approx(outcome.metrics["val_loss"], rel=1e-6)


@pytest.mark.slow
def test_the_command_trains_on_two_processes(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    code = main(["train", *PLAIN, *DDP, "device.cpu.precision=32-true", "study.epochs=1", "tracking.enabled=false"])
    assert code == 0 and "epochs_trained                 1" in capsys.readouterr().out
    assert list(tmp_path.glob("autoopt-runs/*/best/model.safetensors"))


# ---------------------------------------------------------------------------------------------- processes


def test_what_rank_0_reports_is_answered_here():
    answers: list = []

    def work(share, report):
        stops = [report(epoch, {"share": float(share[1])}) for epoch in (1, 2)] if share[0] == 0 else []
        return Outcome(resamples=[float(stop) for stop in stops]) if stops else None

    outcome = spread(3, work, lambda epoch, metrics: answers.append((epoch, metrics)) or epoch == 2)
    assert outcome == Outcome(resamples=[0.0, 1.0]) and answers == [(1, {"share": 3.0}), (2, {"share": 3.0})]


@pytest.mark.parametrize("rank", [0, 1])
def test_a_rank_that_raises_ends_all(rank):
    def work(share, report):
        if share[0] == rank:
            raise NonFinite("train_loss is nan")
        time.sleep(60)

    with pytest.raises(RankError, match=f"^nonfinite: {'rank 1: ' if rank else ''}train_loss is nan$") as caught:
        spread(2, work, lambda *_: False)
    assert caught.value.problem.reason == "nonfinite"


def test_a_rank_that_dies_ends_all():
    def work(share, report):
        if share[0] == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(60)

    with pytest.raises(RankError, match=r"rank 1: killed by signal 9 \(SIGKILL\)") as caught:
        spread(2, work, lambda *_: False)
    assert caught.value.problem.reason == "lost"


def test_a_rank_that_has_done_its_part_is_not_missed():
    def work(share, report):
        if share[0] == 0:
            time.sleep(0.3)
            return Outcome(units=7)

    assert spread(2, work, lambda *_: False).units == 7


def test_no_rank_outlives_its_trial(tmp_path):
    def work(share, report):
        (tmp_path / str(share[0])).write_text(str(os.getpid()))
        time.sleep(1000)

    if (trial := os.fork()) == 0:
        spread(2, work, lambda *_: False)
    while not all((tmp_path / name).exists() and (tmp_path / name).read_text() for name in "01"):
        time.sleep(0.01)
    os.kill(trial, signal.SIGKILL)
    os.waitpid(trial, 0)
    pids = [int((tmp_path / name).read_text()) for name in "01"]
    deadline = time.monotonic() + 60
    while any(alive(pid) for pid in pids) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not any(alive(pid) for pid in pids)


def listened_at(pid: int) -> set[str]:
    """The addresses, as the kernel writes them, on which a process listens."""
    held = {os.path.realpath(path).rpartition("/")[2] for path in Path(f"/proc/{pid}/fd").iterdir()}
    rows = [row.split() for kind in ("tcp", "tcp6") for row in Path(f"/proc/{pid}/net/{kind}").read_text().splitlines()[1:]]
    return {row[1].partition(":")[0] for row in rows if row[3] == "0A" and f"socket:[{row[9]}]" in held}


def test_ranks_listen_on_this_machine_alone():
    def meet(share, report):
        dist.init_process_group("gloo")
        dist.barrier()
        seen = [None, None]
        dist.all_gather_object(seen, sorted(listened_at(os.getpid())))
        dist.destroy_process_group()
        return Outcome(notes=[*seen[0], *seen[1], *listened_at(os.getppid())])

    loopback = "".join(f"{int(part):02X}" for part in reversed(["127", "0", "0", "1"]))
    assert set(spread(2, meet, lambda *_: False).notes) == {loopback}


def test_metrics_are_averaged_over_the_ranks_that_have_them():
    def work(share, report):
        dist.init_process_group("gloo", rank=share[0], world_size=share[1])
        mine = averaged({"loss": float(share[0]), **({"own": 5.0} if share[0] else {})})
        return None if share[0] else Outcome(metrics=mine)

    assert spread(2, work, lambda *_: False).metrics == {"loss": 0.5, "own": 5.0}


def test_buffers_become_those_of_rank_0(tmp_path):
    def work(share, report):
        dist.init_process_group("gloo", rank=share[0], world_size=share[1])
        norm = nn.BatchNorm1d(2)
        norm.running_mean.fill_(share[0] + 1.0)
        norm.num_batches_tracked.fill_(share[0] + 3)
        same_buffers(norm)
        torch.save(norm.state_dict(), tmp_path / str(share[0]))
        dist.barrier()
        return None if share[0] else Outcome()

    spread(2, work, lambda *_: False)
    of_rank_1 = torch.load(tmp_path / "1")
    assert of_rank_1["running_mean"].tolist() == [1.0, 1.0] and of_rank_1["num_batches_tracked"] == 3


@pytest.mark.parametrize(("tensor", "parts"), [(False, [(0, 4), (1, 4), (2, 4), (3, 4)]), (True, [(0, 1)] * 4)])
def test_ranks_that_have_one_replica_between_them_take_the_same_data(tensor, parts):
    strategy = together(nn.Linear(2, 2), 4, "tensor" if tensor else "fsdp", "none")["strategy"]
    assert [replica(strategy, (rank, 4)) for rank in range(4)] == parts
    assert replica("auto", (1, 2)) == (1, 2)


# ---------------------------------------------------------------------------------------------- batches


def test_the_parts_of_a_batch_are_equal_and_apart():
    inputs = torch.arange(23.0)[:, None]
    whole = [batch.flatten().tolist() for batch, _ in Batches(inputs, inputs, 8, seed=1)]
    parts = [[batch.flatten().tolist() for batch, _ in Batches(inputs, inputs, 8, seed=1, share=(rank, 2))] for rank in (0, 1)]
    for batch, first, second in zip(whole, *parts, strict=True):
        assert len(first) == len(second) == len(batch) // 2
        assert {*first, *second} <= {*batch} and not {*first} & {*second}
    assert [len(first) for first in parts[0]] == [4, 4, 3]


@pytest.mark.parametrize(("examples", "lengths"), [(18, [4, 4]), (19, [4, 4]), (20, [4, 4, 2]), (3, [1])])
def test_a_last_batch_that_leaves_one_example_a_rank_is_left_out(examples, lengths):
    inputs = torch.arange(float(examples))[:, None]
    batches = Batches(inputs, inputs, 8, seed=1, share=(0, 2))
    assert [len(batch) for batch, _ in batches] == lengths and batches.steps == len(lengths)


def test_batches_of_a_users_loader_are_shared_too():
    loader = DataLoader(TensorDataset(torch.arange(5), torch.arange(5)), 5)
    ((own,),) = PerBatch(loader, share=(1, 2))
    assert [tensor.tolist() for tensor in own] == [[1, 3], [1, 3]]


def test_a_batch_has_an_example_for_every_rank():
    world, recipe = prepared(*PLAIN)
    with pytest.raises(BadInput, match=r"batches.size=3 is too small for 4 devices"):
        Feed(world.task, {**recipe.tree["batches"], "size": 3}, 0, True, share=(0, 4))
